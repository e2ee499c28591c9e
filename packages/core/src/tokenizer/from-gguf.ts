/**
 * Reads a byte-level BPE tokenizer from the `tokenizer.ggml.*` metadata of a GGUF file. Takes plain values, so that it
 * knows nothing of the file's bytes.
 * Source of the keys, token types and names of split rules: the GGUF specification and llama.cpp's llama-vocab.cpp.
 */
import { type ByteStrings, byteStringsFrom, isByteStrings, stringAt } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import { type AddedToken, maxAddedTokens } from "./added-tokens.ts";
import { asArray, asFlag, asId, asString, isAbsent, type Located, mismatch } from "./json-value.ts";
import type { SplitRule } from "./split.ts";
import { createTokenizer, type Tokenizer } from "./tokenizer.ts";
import { turnEndNames } from "./turn-ends.ts";
import { tokenKind } from "./vocabulary.ts";

/** What a byte-level tokenizer needs of GGUF metadata; the comment names the key after `tokenizer.ggml.`. */
export interface GgufTokenizerFields {
  readonly model: string; // model
  readonly tokens: ByteStrings; // tokens
  readonly merges: ByteStrings; // merges
  readonly tokenTypes?: ArrayLike<number> | undefined; // token_type
  /** Absent in files of the BitNet family, which mean "llama-bpe". */
  readonly pre?: string | undefined; // pre
  readonly bosId?: number | undefined; // bos_token_id
  readonly eosId?: number | undefined; // eos_token_id
  readonly eotId?: number | undefined; // eot_token_id
  readonly addBos?: boolean | undefined; // add_bos_token
}

const splitRules: ReadonlyMap<string, SplitRule> = new Map<string, SplitRule>([
  ["llama-bpe", "llama-3"],
  ["llama3", "llama-3"],
  ["llama-v3", "llama-3"],
  ["falcon3", "llama-3"],
  ["gpt-2", "gpt-2"],
  ["default", "gpt-2"],
]);

/** GGUF's token types → how a token takes part. Types 2 (unknown), 5 (unused) and 6 (byte) never come from text here. */
const kindOfType: readonly number[] = [
  tokenKind.ordinary, // 0 undefined
  tokenKind.ordinary, // 1 normal
  tokenKind.unused, // 2 unknown
  tokenKind.control, // 3 control
  tokenKind.added, // 4 user-defined
  tokenKind.unused, // 5 unused
  tokenKind.unused, // 6 byte
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
  return {
    model: asString(field("model")),
    tokens: asByteStrings(field("tokens")),
    merges: isAbsent(field("merges")) ? byteStringsFrom([]) : asByteStrings(field("merges")),
    tokenTypes: isAbsent(field("token_type")) ? undefined : asNumbers(field("token_type")),
    pre: isAbsent(field("pre")) ? undefined : asString(field("pre")),
    bosId: id("bos_token_id"),
    eosId: id("eos_token_id"),
    eotId: id("eot_token_id"),
    addBos: isAbsent(field("add_bos_token")) ? undefined : asFlag(field("add_bos_token")),
  };
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
  if (value instanceof Int32Array || value instanceof Uint32Array) return value;
  const list = asArray(located);
  return list.every((item) => typeof item === "number") ? list : mismatch(located, "whole numbers");
}

/**
 * @throws BitNetError FORMAT_UNSUPPORTED when the vocabulary is not byte-level BPE, TOKENIZER_INVALID when the fields
 * contradict each other or name an unknown split rule.
 */
export function tokenizerFromGguf(fields: GgufTokenizerFields): Tokenizer {
  checkModel(fields.model);
  const splitRule = readSplitRule(fields.pre);
  const kinds = readKinds(fields);
  const added = readAdded(fields.tokens, kinds);
  return createTokenizer({
    name: "gguf tokenizer",
    tokens: fields.tokens,
    kinds,
    added,
    merges: fields.merges,
    splitRule,
    ignoreMerges: splitRule === "llama-3",
    bosId: fields.bosId ?? null,
    eosIds: readEos(fields, added),
    addBos: fields.addBos ?? splitRule === "llama-3",
  });
}

function checkModel(model: string): void {
  if (model === "gpt2") return;
  const kind = model === "llama" ? " (SentencePiece)" : "";
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `gguf: tokenizer.ggml.model: only "gpt2" (byte-level BPE) can be read yet, found ${JSON.stringify(model.slice(0, 80))}${kind}`,
    { details: { model } },
  );
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

function readKinds({ tokens, tokenTypes, bosId, eosId, eotId }: GgufTokenizerFields): Uint8Array {
  const kinds = new Uint8Array(tokens.count);
  if (tokenTypes === undefined) {
    // Without types, at least the tokens that the file names must not come from user text.
    for (const id of [bosId, eosId, eotId])
      if (id !== undefined && id < tokens.count) kinds[id] = tokenKind.control;
    return kinds;
  }
  if (tokenTypes.length !== tokens.count) {
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `gguf: tokenizer.ggml.token_type: expected ${tokens.count} entries, one a token, found ${tokenTypes.length}`,
    );
  }
  for (let id = 0; id < tokens.count; id++) {
    const kind = kindOfType[tokenTypes[id] ?? -1];
    if (kind === undefined) {
      throw new BitNetError(
        "TOKENIZER_INVALID",
        `gguf: tokenizer.ggml.token_type[${id}]: expected 0 to ${kindOfType.length - 1}, found ${tokenTypes[id]}`,
      );
    }
    kinds[id] = isEmpty(tokens, id) ? tokenKind.unused : kind;
  }
  return kinds;
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

function readEos({ eosId, eotId }: GgufTokenizerFields, added: readonly AddedToken[]): readonly number[] {
  const ids = new Set([eosId, eotId].filter((id) => id !== undefined));
  for (const token of added) if (token.special && turnEndNames.has(token.content)) ids.add(token.id);
  return [...ids];
}
