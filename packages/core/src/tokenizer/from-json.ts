/**
 * Reads a byte-level BPE tokenizer from Hugging Face's tokenizer.json, with tokenizer_config.json and
 * generation_config.json where present. Whatever would change the ids and is not supported here is refused, not ignored.
 * Source: the serialised forms of the tokenizers library.
 */
import { byteStringsFrom } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import type { AddedToken } from "./added-tokens.ts";
import { readPostProcessor, readSplitRule } from "./json-pipeline.ts";
import {
  asArray,
  asFlag,
  asId,
  asRecord,
  asString,
  elements,
  isAbsent,
  isRecord,
  type Located,
  member,
  mismatch,
} from "./json-value.ts";
import { createTokenizer, type Tokenizer } from "./tokenizer.ts";
import { turnEndNames } from "./turn-ends.ts";
import { tokenKind } from "./vocabulary.ts";

/** Parsed JSON files; checked here. */
export interface TokenizerJsonFiles {
  /** tokenizer.json */
  readonly tokenizer: unknown;
  /** tokenizer_config.json */
  readonly config?: unknown;
  /** generation_config.json */
  readonly generationConfig?: unknown;
}

/**
 * @throws BitNetError TOKENIZER_INVALID when a file is malformed or asks for something that is not supported,
 * FORMAT_UNSUPPORTED when it is another kind of tokenizer.
 */
export function tokenizerFromJson(files: TokenizerJsonFiles): Tokenizer {
  const root: Located = { value: files.tokenizer, where: "tokenizer.json:" };
  const config: Located = { value: files.config ?? {}, where: "tokenizer_config.json:" };
  const generation: Located = { value: files.generationConfig ?? {}, where: "generation_config.json:" };
  const model = checkModel(root);
  const splitRule = readSplitRule(root);
  const added = readAdded(member(root, "added_tokens"));
  const table = readTokens(member(model, "vocab"), added);
  const known = new Map(added.map((token) => [token.content, token.id]));
  const idOf = (content: string) => known.get(content) ?? table.idOf(content);
  const firstId = readPostProcessor(root, idOf);
  const addBos = member(config, "add_bos_token");
  return createTokenizer({
    name: "tokenizer.json",
    tokens: byteStringsFrom(table.tokens),
    kinds: table.kinds,
    added,
    merges: byteStringsFrom(readMerges(member(model, "merges"))),
    splitRule,
    ignoreMerges: asFlag(member(model, "ignore_merges")),
    bosId: readBos(config, generation, idOf) ?? firstId,
    eosIds: readEos(config, generation, idOf, added),
    addBos: typeof addBos.value === "boolean" ? addBos.value : firstId !== null,
  });
}

type IdOf = (content: string) => number | undefined;

function checkModel(root: Located): Located {
  const model = member(root, "model");
  const type = member(model, "type");
  if (!isAbsent(type) && type.value !== "BPE") {
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `${type.where}: only "BPE" tokenizers can be read, found ${JSON.stringify(type.value)}`,
    );
  }
  if (asFlag(member(model, "byte_fallback"))) {
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      "tokenizer.json: is a SentencePiece-style BPE (model.byte_fallback); only byte-level BPE can be read yet",
    );
  }
  for (const key of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"]) {
    const option = member(model, key);
    if (!isAbsent(option) && option.value !== "" && option.value !== 0) mismatch(option, "null");
  }
  return model;
}

interface TokenTable {
  tokens: string[];
  kinds: Uint8Array;
  idOf: IdOf;
}

/** The vocabulary and the added tokens in one table by id. */
function readTokens(vocab: Located, added: readonly AddedToken[]): TokenTable {
  const entries = Object.entries(asRecord(vocab));
  const count = checkedCount(vocab, entries, added);
  const tokens: string[] = new Array(count).fill("");
  const kinds = new Uint8Array(count).fill(tokenKind.unused);
  for (const [content, id] of entries as [string, number][]) {
    if (kinds[id] !== tokenKind.unused) {
      mismatch(
        { value: content, where: `${vocab.where}, id ${id}` },
        `one token, ${JSON.stringify(tokens[id])}`,
      );
    }
    tokens[id] = content;
    kinds[id] = tokenKind.ordinary;
  }
  for (const { id, content, special } of added) {
    const isTaken = kinds[id] !== tokenKind.unused && tokens[id] !== content;
    if (isTaken)
      mismatch({ value: content, where: `tokenizer.json: added token ${id}` }, JSON.stringify(tokens[id]));
    tokens[id] = content;
    // Outside the model's own vocabulary a token is only ever found as an added one.
    if (special) kinds[id] = tokenKind.control;
  }
  const vocabulary = asRecord(vocab);
  const idOf = (content: string) =>
    Object.hasOwn(vocabulary, content) ? (vocabulary[content] as number) : undefined;
  return { tokens, kinds, idOf };
}

/** One more than the highest id; ids may have holes, but not so many that the table outgrows the file. */
function checkedCount(
  vocab: Located,
  entries: readonly (readonly [string, unknown])[],
  added: readonly AddedToken[],
): number {
  let highest = -1;
  for (const [content, id] of entries) {
    highest = Math.max(
      highest,
      asId({ value: id, where: `${vocab.where}[${JSON.stringify(content.slice(0, 40))}]` }),
    );
  }
  for (const { id } of added) highest = Math.max(highest, id);
  const limit = 2 * (entries.length + added.length) + 1024;
  if (highest >= limit) {
    mismatch({ value: highest, where: `${vocab.where}, highest id` }, `less than ${limit} for so few tokens`);
  }
  return highest + 1;
}

function readAdded(list: Located): AddedToken[] {
  if (isAbsent(list)) return [];
  const tokens = elements(list).map((token) => ({
    id: asId(member(token, "id")),
    content: asString(member(token, "content")),
    special: asFlag(member(token, "special")),
    lstrip: asFlag(member(token, "lstrip")),
    rstrip: asFlag(member(token, "rstrip")),
    singleWord: asFlag(member(token, "single_word")),
    normalized: asFlag(member(token, "normalized")),
  }));
  const ids = new Set(tokens.map((token) => token.id));
  if (ids.size !== tokens.length) {
    mismatch({ value: `${tokens.length - ids.size} repeated`, where: list.where }, "every id once");
  }
  return tokens;
}

/** Merges are written "left right" or, in newer files, ["left", "right"]. */
function readMerges(list: Located): string[] {
  return asArray(list).map((merge, index) => {
    if (typeof merge === "string") return merge;
    const [left, right] = Array.isArray(merge) && merge.length === 2 ? merge : [];
    if (typeof left === "string" && typeof right === "string") return `${left} ${right}`;
    return mismatch(
      { value: merge, where: `${list.where}[${index}]` },
      'a merge such as "t h" or ["t", "h"]',
    );
  });
}

/** A token named by its text, or by an object with its text. */
function namedToken(located: Located, idOf: IdOf): number | undefined {
  if (isAbsent(located)) return undefined;
  const content = isRecord(located.value) ? asString(member(located, "content")) : asString(located);
  return idOf(content) ?? mismatch(located, "a token of the vocabulary");
}

function readBos(config: Located, generation: Located, idOf: IdOf): number | null {
  const named = namedToken(member(config, "bos_token"), idOf);
  if (named !== undefined) return named;
  const id = member(generation, "bos_token_id");
  return isAbsent(id) ? null : asId(id);
}

function readEos(
  config: Located,
  generation: Located,
  idOf: IdOf,
  added: readonly AddedToken[],
): readonly number[] {
  const ids = new Set<number>();
  const named = namedToken(member(config, "eos_token"), idOf);
  if (named !== undefined) ids.add(named);
  const listed = member(generation, "eos_token_id");
  if (Array.isArray(listed.value)) {
    for (const id of elements(listed)) ids.add(asId(id));
  } else if (!isAbsent(listed)) {
    ids.add(asId(listed));
  } else {
    // Nobody listed the stops, so take those that are known by name.
    for (const token of added) if (token.special && turnEndNames.has(token.content)) ids.add(token.id);
  }
  return [...ids];
}
