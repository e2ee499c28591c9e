/**
 * Reads a tokenizer (byte-level BPE, SentencePiece-style BPE or unigram) from Hugging Face's tokenizer.json, with tokenizer_config.json and
 * generation_config.json where present. Whatever would change the ids and is not supported here is refused, not ignored.
 * Source: the serialised forms of the tokenizers library.
 */
import { byteStringsFrom } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import { showValue } from "../base/show-value.ts";
import type { AddedToken } from "./added-tokens.ts";
import { isControlName, turnEndsByName } from "./control-names.ts";
import { readPipeline, readPostProcessor } from "./json-pipeline.ts";
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
import { createTokenizer, type Tokenizer, type TokenModel } from "./tokenizer.ts";
import { tokenKind } from "./vocabulary.ts";

/** Parsed JSON files; checked here. */
export interface TokenizerJsonFiles {
  /** tokenizer.json */
  readonly tokenizer: unknown;
  /** tokenizer_config.json */
  readonly config?: unknown;
  /** generation_config.json */
  readonly generationConfig?: unknown;
  /** config.json */
  readonly modelConfig?: unknown;
}

/**
 * @throws BitNetError TOKENIZER_INVALID when a file is malformed or asks for something that is not supported,
 * FORMAT_UNSUPPORTED when it is another kind of tokenizer.
 */
export function tokenizerFromJson(files: TokenizerJsonFiles): Tokenizer {
  const root: Located = { value: files.tokenizer, where: "tokenizer.json:" };
  const config: Located = { value: files.config ?? {}, where: "tokenizer_config.json:" };
  const generation: Located = { value: files.generationConfig ?? {}, where: "generation_config.json:" };
  const modelConfig: Located = { value: files.modelConfig ?? {}, where: "config.json:" };
  const { model, kind } = checkModel(root);
  const { pipeline, spelling, decoding } = readPipeline(root);
  const byteFallback = asFlag(member(model, "byte_fallback"));
  if (byteFallback && spelling === "byte-level")
    mismatch(member(model, "byte_fallback"), "false beside ByteLevel");
  const entries =
    kind === "Unigram" ? readScoredVocab(member(model, "vocab")) : readVocab(member(model, "vocab"));
  const added = withControlNames(readAdded(member(root, "added_tokens")), entries.list);
  const table = readTokens(entries, added, byteFallback);
  const known = new Map(added.map((token) => [token.content, token.id]));
  const idOf = (content: string) => known.get(content) ?? table.idOf(content);
  const { firstId, lastId } = readPostProcessor(root, idOf);
  const addBos = member(config, "add_bos_token");
  const addEos = member(config, "add_eos_token").value;
  const eosIds = readEos(config, [generation, modelConfig], idOf, added);
  return createTokenizer({
    name: "tokenizer.json",
    tokens: byteStringsFrom(table.tokens),
    kinds: table.kinds,
    added,
    spelling,
    pipeline,
    decoding,
    model: kind === "Unigram" ? readUnigram(model, entries, table) : readBpe(model, idOf),
    bosId: readBos(config, [generation, modelConfig], idOf) ?? firstId,
    eosIds,
    endId: addEos === true ? (lastId ?? eosIds[0] ?? null) : addEos === false ? null : lastId,
    addBos: typeof addBos.value === "boolean" ? addBos.value : firstId !== null,
  });
}

type IdOf = (content: string) => number | undefined;

function checkModel(root: Located): { model: Located; kind: "BPE" | "Unigram" } {
  const model = member(root, "model");
  const type = member(model, "type");
  const kind = isAbsent(type) ? "BPE" : type.value;
  if (kind !== "BPE" && kind !== "Unigram") {
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `${type.where}: only "BPE" and "Unigram" tokenizers can be read, found ${showValue(type.value)}`,
    );
  }
  for (const key of ["dropout", "continuing_subword_prefix", "end_of_word_suffix"]) {
    const option = member(model, key);
    if (!isAbsent(option) && option.value !== "" && option.value !== 0) mismatch(option, "null");
  }
  return { model, kind };
}

function readBpe(model: Located, idOf: IdOf): TokenModel {
  const unknown = member(model, "unk_token");
  return {
    kind: "bpe",
    merges: byteStringsFrom(readMerges(member(model, "merges"))),
    ignoreMerges: asFlag(member(model, "ignore_merges")),
    unknownId: namedToken(unknown, idOf) ?? null,
    fuseUnknown: asFlag(member(model, "fuse_unk")),
  };
}

function readUnigram(model: Located, { list }: VocabEntries, { tokens }: TokenTable): TokenModel {
  const unknown = member(model, "unk_id");
  const unknownId = asId(unknown);
  if (unknownId >= list.length) mismatch(unknown, `below ${list.length}`);
  // Added tokens beyond the vocabulary are never found by probability.
  const scores = Float64Array.from(tokens, (_, id) => list[id]?.score ?? 0);
  return { kind: "unigram", scores, unknownId, findsWrittenBytes: true };
}

/** A vocabulary as read: where it stands, its tokens, and their ids. */
interface VocabEntries {
  readonly where: Located;
  readonly list: readonly { content: string; id: number; score: number }[];
  readonly idOf: IdOf;
}

function readVocab(vocab: Located): VocabEntries {
  const record = asRecord(vocab);
  const list = Object.entries(record).map(([content, id]) => {
    const where = `${vocab.where}[${JSON.stringify(content.slice(0, 40))}]`;
    return { content, id: asId({ value: id, where }), score: 0 };
  });
  const idOf = (content: string) =>
    Object.hasOwn(record, content) ? (record[content] as number) : undefined;
  return { where: vocab, list, idOf };
}

/** Unigram vocabularies are lists of [token, log-probability]; the index is the id. */
function readScoredVocab(vocab: Located): VocabEntries {
  const ids = new Map<string, number>();
  const list = asArray(vocab).map((entry, id) => {
    const [content, score] = Array.isArray(entry) && entry.length === 2 ? entry : [];
    if (typeof content !== "string" || typeof score !== "number")
      return mismatch(
        { value: entry, where: `${vocab.where}[${id}]` },
        'a token and its score, such as ["a", -3.2]',
      );
    if (!ids.has(content)) ids.set(content, id);
    return { content, id, score };
  });
  return { where: vocab, list, idOf: (content) => ids.get(content) };
}

interface TokenTable {
  tokens: string[];
  kinds: Uint8Array;
  idOf: IdOf;
}

/** The vocabulary and the added tokens in one table by id. */
function readTokens(
  { where, list, idOf }: VocabEntries,
  added: readonly AddedToken[],
  byteFallback: boolean,
): TokenTable {
  const count = checkedCount(where, list, added);
  const tokens: string[] = new Array(count).fill("");
  const kinds = new Uint8Array(count).fill(tokenKind.unused);
  for (const { content, id } of list) {
    if (kinds[id] !== tokenKind.unused) {
      mismatch(
        { value: content, where: `${where.where}, id ${id}` },
        `one token, ${JSON.stringify(tokens[id])}`,
      );
    }
    tokens[id] = content;
    const isByte = byteFallback && /^<0x[0-9A-F]{2}>$/.test(content);
    kinds[id] = isByte ? tokenKind.byte : tokenKind.ordinary;
  }
  for (const { id, content, special } of added) {
    const isTaken = kinds[id] !== tokenKind.unused && tokens[id] !== content;
    if (isTaken)
      mismatch({ value: content, where: `tokenizer.json: added token ${id}` }, JSON.stringify(tokens[id]));
    tokens[id] = content;
    // Outside the model's own vocabulary a token is only ever found as an added one.
    if (special) kinds[id] = tokenKind.control;
  }
  return { tokens, kinds, idOf };
}

/** One more than the highest id; ids may have holes, but not so many that the table outgrows the file. */
function checkedCount(vocab: Located, list: VocabEntries["list"], added: readonly AddedToken[]): number {
  let highest = -1;
  for (const { id } of list) highest = Math.max(highest, id);
  for (const { id } of added) highest = Math.max(highest, id);
  const limit = 2 * (list.length + added.length) + 1024;
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

function readBos(config: Located, others: readonly Located[], idOf: IdOf): number | null {
  const named = namedToken(member(config, "bos_token"), idOf);
  if (named !== undefined) return named;
  const listed = others.map((file) => member(file, "bos_token_id")).find((id) => !isAbsent(id));
  return listed === undefined ? null : asId(listed);
}

/** All tokens that any of the files, or their own name, says end a text. */
function readEos(
  config: Located,
  others: readonly Located[],
  idOf: IdOf,
  added: readonly AddedToken[],
): readonly number[] {
  const named = namedToken(member(config, "eos_token"), idOf);
  const ids = new Set(named === undefined ? [] : [named]);
  for (const file of others) {
    const listed = member(file, "eos_token_id");
    if (isAbsent(listed)) continue;
    for (const id of Array.isArray(listed.value) ? elements(listed) : [listed]) ids.add(asId(id));
  }
  for (const id of turnEndsByName(added)) ids.add(id);
  return [...ids];
}

/** Control tokens are known by name: also where the list says that they are none, or leaves them out. */
function withControlNames(added: readonly AddedToken[], vocabulary: VocabEntries["list"]): AddedToken[] {
  const listed = new Set(added.map(({ content }) => content));
  const unlisted = vocabulary.filter(
    ({ content }) => content[0] === "<" && !listed.has(content) && isControlName(content),
  );
  const flags = { special: true, lstrip: false, rstrip: false, singleWord: false, normalized: false };
  return [
    ...added.map((token) => ({ ...token, special: token.special || isControlName(token.content) })),
    ...unlisted.map(({ content, id }) => ({ content, id, ...flags })),
  ];
}
