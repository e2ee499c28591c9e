/**
 * Reads a byte-level BPE, SentencePiece BPE or unigram tokenizer from the `tokenizer.ggml.*` metadata of a GGUF file. Takes plain values, so that it
 * knows nothing of the file's bytes.
 * Source of the keys, token types and names of split rules: the GGUF specification and llama.cpp's llama-vocab.cpp.
 */
import {
  type ByteStrings,
  byteStringAt,
  byteStringsFrom,
  isByteStrings,
  stringAt,
} from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import { type AddedToken, maxAddedTokens } from "./added-tokens.ts";
import { byLongestEntry, readCharacterMap } from "./character-map.ts";
import { isControlName, turnEndsByName } from "./control-names.ts";
import { asArray, asFlag, asId, asString, isAbsent, type Located, mismatch } from "./json-value.ts";
import { inOrder, prepend, replaceAll, toNormalForm, visibleSpace, withoutOuterSpaces } from "./normalise.ts";
import { byteOfToken } from "./pipeline.ts";
import { pieceScanner, type SplitRule } from "./split.ts";
import { createTokenizer, type Tokenizer, type TokenizerParts } from "./tokenizer.ts";
import { tokenKind } from "./vocabulary.ts";

/** What a tokenizer needs of GGUF metadata; the comment names the key after `tokenizer.ggml.`. */
export interface GgufTokenizerFields {
  readonly model: string; // model
  readonly tokens: ByteStrings; // tokens
  readonly merges: ByteStrings; // merges
  readonly scores?: ArrayLike<number> | undefined; // scores
  readonly tokenTypes?: ArrayLike<number> | undefined; // token_type
  /** Absent in files of the BitNet family, which mean "llama-bpe". */
  readonly pre?: string | undefined; // pre
  readonly bosId?: number | undefined; // bos_token_id
  readonly eosId?: number | undefined; // eos_token_id
  readonly eotId?: number | undefined; // eot_token_id
  readonly eomId?: number | undefined; // eom_token_id
  readonly unknownId?: number | undefined; // unknown_token_id
  readonly addBos?: boolean | undefined; // add_bos_token
  readonly addEos?: boolean | undefined; // add_eos_token
  readonly addSpacePrefix?: boolean | undefined; // add_space_prefix
  readonly removeExtraSpaces?: boolean | undefined; // remove_extra_whitespaces
  /** A table by which SentencePiece changes characters. */
  readonly characterMap?: Uint8Array | undefined; // precompiled_charsmap
}

/** llama.cpp's names of split rules. */
const splitRules: ReadonlyMap<string, SplitRule> = new Map<string, SplitRule>([
  ["llama-bpe", "llama-3"],
  ["llama3", "llama-3"],
  ["llama-v3", "llama-3"],
  ["falcon3", "llama-3"],
  ["falcon-h1", "llama-3"],
  ["falcon_e", "llama-3"], // of bitnet.cpp, in the files of Falcon-E
  ["qwen2", "qwen-2"],
  ["deepseek-r1-qwen", "qwen-2"],
  ["gpt-4o", "gpt-4o"],
  ["llama4", "gpt-4o"],
  ["gpt-2", "gpt-2"],
  ["phi-2", "gpt-2"],
  ["olmo", "gpt-2"],
  ["default", "gpt-2"],
]);

/** Names of SentencePiece vocabularies, and whether a text gets a space in front where the file does not say. */
const sentencePieceModels: ReadonlyMap<string, boolean> = new Map([
  ["llama", true],
  ["gemma", false],
  ["gemma2", false],
  ["gemma3", false],
]);

/** GGUF's name of SentencePiece's unigram vocabularies: those of T5 were the first. */
export const unigramModel = "t5";

/** Whether texts get a space in front, where the vocabulary is SentencePiece's; null where it is another kind. */
export function ggufPrefixesSpace({ model, addSpacePrefix }: GgufTokenizerFields): boolean | null {
  const usual = model === unigramModel ? false : sentencePieceModels.get(model);
  return usual === undefined ? null : (addSpacePrefix ?? usual);
}

/** GGUF's token types → how a token takes part. Types 2 (unknown) and 5 (unused) never come from text. */
const kindOfType: readonly number[] = [
  tokenKind.ordinary, // 0 undefined
  tokenKind.ordinary, // 1 normal
  tokenKind.unused, // 2 unknown
  tokenKind.control, // 3 control
  tokenKind.added, // 4 user-defined
  tokenKind.unused, // 5 unused
  tokenKind.byte, // 6 byte
];

/**
 * Picks the tokenizer's fields out of GGUF metadata and checks their types. Numbers may be bigints; lists of strings may
 * be byte-string tables or arrays.
 * @throws BitNetError TOKENIZER_INVALID when a field is missing or has the wrong type.
 */
export function ggufTokenizerFields(metadata: { get(key: string): unknown }): GgufTokenizerFields {
  const field = (key: string): Located => {
    const where = `gguf: tokenizer.ggml.${key}`;
    const value = metadata.get(`tokenizer.ggml.${key}`);
    return { value: typeof value === "bigint" ? Number(value) : value, where };
  };
  const id = (key: string) => (isAbsent(field(key)) ? undefined : asId(field(key)));
  const flag = (key: string) => (isAbsent(field(key)) ? undefined : asFlag(field(key)));
  return {
    model: asString(field("model")),
    tokens: asByteStrings(field("tokens")),
    merges: isAbsent(field("merges")) ? byteStringsFrom([]) : asByteStrings(field("merges")),
    scores: isAbsent(field("scores")) ? undefined : asNumbers(field("scores")),
    tokenTypes: isAbsent(field("token_type")) ? undefined : asNumbers(field("token_type")),
    pre: isAbsent(field("pre")) ? undefined : asString(field("pre")),
    bosId: id("bos_token_id"),
    eosId: id("eos_token_id"),
    eotId: id("eot_token_id"),
    eomId: id("eom_token_id"),
    unknownId: id("unknown_token_id"),
    addBos: flag("add_bos_token"),
    addEos: flag("add_eos_token"),
    addSpacePrefix: flag("add_space_prefix"),
    removeExtraSpaces: flag("remove_extra_whitespaces"),
    characterMap: asBytes(field("precompiled_charsmap")),
  };
}

/** Bytes as converters write them, of either sign; undefined for none. */
function asBytes(located: Located): Uint8Array | undefined {
  const { value } = located;
  if (isAbsent(located)) return undefined;
  if (!(value instanceof Uint8Array || value instanceof Int8Array))
    return mismatch(located, "a list of bytes");
  return value.length === 0 ? undefined : new Uint8Array(value.buffer, value.byteOffset, value.length);
}

function asByteStrings(located: Located): ByteStrings {
  if (isByteStrings(located.value)) return located.value;
  const list = asArray(located);
  return list.every((item) => typeof item === "string")
    ? byteStringsFrom(list)
    : mismatch(located, "strings");
}

function asNumbers(located: Located): ArrayLike<number> {
  const { value } = located;
  if (value instanceof Int32Array || value instanceof Uint32Array || value instanceof Float32Array)
    return value;
  const list = asArray(located);
  return list.every((item) => typeof item === "number") ? list : mismatch(located, "numbers");
}

/**
 * @throws BitNetError FORMAT_UNSUPPORTED when the vocabulary is of another kind, TOKENIZER_INVALID when the fields
 * contradict each other, merges or scores are missing or the split rule is unknown.
 */
export function tokenizerFromGguf(fields: GgufTokenizerFields): Tokenizer {
  const { tokens } = fields;
  const prefixesSpace = sentencePieceModels.get(fields.model);
  const kinds = readKinds(fields);
  if (fields.model === "gpt2")
    for (const [id, kind] of kinds.entries()) if (kind === tokenKind.byte) kinds[id] = tokenKind.unused;
  const added = readAdded(tokens, kinds);
  const shared = {
    name: "gguf tokenizer",
    tokens,
    kinds,
    added,
    bosId: fields.bosId ?? null,
    eosIds: readEos(fields, added),
    endId: (fields.addEos ?? fields.model === unigramModel) ? (fields.eosId ?? null) : null,
  };
  if (fields.model === "gpt2") return createTokenizer({ ...shared, ...readByteLevel(fields, kinds) });
  if (prefixesSpace !== undefined)
    return createTokenizer({ ...shared, ...readSentencePiece(fields, kinds, prefixesSpace) });
  if (fields.model === unigramModel) return createTokenizer({ ...shared, ...readUnigram(fields, kinds) });
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `gguf: tokenizer.ggml.model: expected "gpt2" (byte-level BPE) or ${[...sentencePieceModels.keys()].join(", ")} ` +
      `(SentencePiece BPE) or ${unigramModel} (unigram), found ${JSON.stringify(fields.model.slice(0, 80))}`,
    { details: { model: fields.model } },
  );
}

type VariantParts = Pick<TokenizerParts, "spelling" | "pipeline" | "decoding" | "model" | "addBos">;

function readByteLevel({ pre, merges, addBos }: GgufTokenizerFields, kinds: Uint8Array): VariantParts {
  const splitRule = readSplitRule(pre);
  // Without merges only the 256 bytes can come from text.
  if (merges.count === 0 && kinds.filter((kind) => kind === tokenKind.ordinary).length > 256) {
    throw new BitNetError(
      "TOKENIZER_INVALID",
      "gguf: tokenizer.ggml.merges: expected the merges of a byte-level vocabulary, found none; convert the model again",
    );
  }
  const isLlama = splitRule === "llama-3";
  return {
    spelling: "byte-level",
    pipeline: {
      // Not in the file, but how the vocabulary was made and is used elsewhere.
      normalise: splitRule === "qwen-2" ? toNormalForm("NFC") : null,
      prepare: null,
      steps: [pieceScanner(splitRule)],
    },
    decoding: { showsSpaces: false, leading: "kept" },
    model: { kind: "bpe", merges, ignoreMerges: isLlama, unknownId: null, fuseUnknown: false },
    addBos: addBos ?? isLlama,
  };
}

function readSentencePiece(fields: GgufTokenizerFields, kinds: Uint8Array, prefixes: boolean): VariantParts {
  const { addBos = true, addSpacePrefix = prefixes } = fields;
  const scores = readScores(fields);
  const unknownId = readUnknown(fields, kinds);
  const changes = [replaceAll(" ", visibleSpace)];
  if (addSpacePrefix) changes.unshift(prepend(" "));
  return {
    spelling: "plain",
    pipeline: { normalise: inOrder(changes), prepare: null, steps: [] },
    decoding: { showsSpaces: true, leading: addSpacePrefix ? "dropped" : "kept" },
    model: { kind: "scored-bpe", scores, unknownId },
    addBos,
  };
}

function readUnigram(fields: GgufTokenizerFields, kinds: Uint8Array): VariantParts {
  const { characterMap, addBos = false, addSpacePrefix = false, removeExtraSpaces = false } = fields;
  const scores = readScores(fields);
  const unknownId = readUnknown(fields, kinds);
  if (unknownId === null) {
    throw new BitNetError(
      "TOKENIZER_INVALID",
      "gguf: tokenizer.ggml.unknown_token_id: a unigram vocabulary needs a token for unknown characters, found none",
    );
  }
  const changes = [replaceAll(" ", visibleSpace)];
  if (addSpacePrefix) changes.unshift(prepend(" "));
  if (removeExtraSpaces) changes.unshift(withoutOuterSpaces, (text) => text.replace(/ {2,}/g, " "));
  if (characterMap !== undefined)
    changes.unshift(
      byLongestEntry(readCharacterMap(characterMap, "gguf: tokenizer.ggml.precompiled_charsmap")),
    );
  // The unlikeliest token that text can become says how unlikely unknown characters are; others have no say.
  const reachable = Float64Array.from(kinds, (kind, id) =>
    kind === tokenKind.ordinary ? (scores[id] ?? Number.NaN) : 0,
  );
  return {
    spelling: "plain",
    pipeline: { normalise: inOrder(changes), prepare: null, steps: [] },
    decoding: { showsSpaces: true, leading: addSpacePrefix ? "dropped" : "kept" },
    model: { kind: "unigram", scores: reachable, unknownId, findsWrittenBytes: false },
    addBos,
  };
}

function readScores({ scores, tokens }: GgufTokenizerFields): ArrayLike<number> {
  if (scores !== undefined && scores.length === tokens.count) return scores;
  throw new BitNetError(
    "TOKENIZER_INVALID",
    `gguf: tokenizer.ggml.scores: expected ${tokens.count} entries, one a token, found ${scores?.length ?? "nothing"}`,
  );
}

/** The token for what no other stands for. Where the file has no types, tokens of bytes are known by their text, which changes `kinds`. */
function readUnknown(fields: GgufTokenizerFields, kinds: Uint8Array): number | null {
  const { tokens, tokenTypes } = fields;
  let unknownId = fields.unknownId ?? null;
  for (let id = 0; id < tokens.count; id++) {
    if (tokenTypes === undefined && byteOfToken(byteStringAt(tokens, id)) !== null)
      kinds[id] = tokenKind.byte;
    if (unknownId === null && (tokenTypes?.[id] === 2 || stringAt(tokens, id) === "<unk>")) unknownId = id;
  }
  if (unknownId !== null && unknownId >= tokens.count) {
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `gguf: tokenizer.ggml.unknown_token_id: expected below ${tokens.count}, found ${unknownId}`,
    );
  }
  return unknownId;
}

function readSplitRule(pre: string | undefined): SplitRule {
  const rule = splitRules.get(pre ?? "llama-bpe");
  if (rule !== undefined) return rule;
  throw new BitNetError(
    "TOKENIZER_INVALID",
    `gguf: tokenizer.ggml.pre: expected one of ${[...splitRules.keys()].join(", ")}, found ${JSON.stringify(pre?.slice(0, 80))}`,
    { details: { pre } },
  );
}

/** Control tokens are known by id and by name, whatever their type says: users' text must not become one. */
function readKinds({ tokens, tokenTypes, ...ids }: GgufTokenizerFields): Uint8Array {
  const kinds = new Uint8Array(tokens.count);
  if (tokenTypes !== undefined && tokenTypes.length !== tokens.count) {
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `gguf: tokenizer.ggml.token_type: expected ${tokens.count} entries, one a token, found ${tokenTypes.length}`,
    );
  }
  for (let id = 0; id < tokens.count; id++) {
    const kind = tokenTypes === undefined ? tokenKind.ordinary : kindOfType[tokenTypes[id] ?? -1];
    if (kind === undefined) {
      throw new BitNetError(
        "TOKENIZER_INVALID",
        `gguf: tokenizer.ggml.token_type[${id}]: expected 0 to ${kindOfType.length - 1}, found ${tokenTypes?.[id]}`,
      );
    }
    kinds[id] = isEmpty(tokens, id) ? tokenKind.unused : kind;
    const mayBeControl = kind === tokenKind.ordinary || kind === tokenKind.added;
    if (mayBeControl && startsTag(tokens, id) && isControlName(stringAt(tokens, id)))
      kinds[id] = tokenKind.control;
  }
  for (const id of [ids.bosId, ids.eosId, ids.eotId, ids.eomId]) {
    // Damaged files name letters; those are needed as letters.
    if (id !== undefined && id < tokens.count && byteStringAt(tokens, id).length > 2)
      kinds[id] = tokenKind.control;
  }
  return kinds;
}

/** Whether a token begins with "<": most do not, and need no look at their text. */
function startsTag({ bytes, offsets }: ByteStrings, id: number): boolean {
  return bytes[offsets[id] ?? 0] === 0x3c;
}

function isEmpty({ offsets }: ByteStrings, id: number): boolean {
  return offsets[id] === offsets[id + 1];
}

function readAdded(tokens: ByteStrings, kinds: Uint8Array): AddedToken[] {
  const added: AddedToken[] = [];
  // One more than allowed is enough for the check that follows.
  for (let id = 0; id < tokens.count && added.length <= maxAddedTokens; id++) {
    const kind = kinds[id] ?? 0;
    if (kind !== tokenKind.control && kind !== tokenKind.added) continue;
    added.push({
      id,
      content: stringAt(tokens, id),
      special: kind === tokenKind.control,
      lstrip: false,
      rstrip: false,
      singleWord: false,
      normalized: false,
    });
  }
  return added;
}

function readEos(
  { eosId, eotId, eomId }: GgufTokenizerFields,
  added: readonly AddedToken[],
): readonly number[] {
  const named = [eosId, eotId, eomId].filter((id) => id !== undefined);
  return [...new Set([...named, ...turnEndsByName(added)])];
}
