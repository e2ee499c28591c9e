/**
 * Unigram vocabularies as either kind of file keeps them: [token, score] in the order of ids in tokenizer.json, tokens with scores and types in
 * GGUF, both with SentencePiece's rules for spaces. Source: llama.cpp's converter (vocabularies of T5), transformers' of the other direction.
 */
import { byteStringsFrom, stringAt } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import type { GgufValue } from "../formats/gguf/values.ts";
import { type GgufTokenizerFields, unigramModel } from "../tokenizer/from-gguf.ts";
import { manySpaces, outerSpaces } from "../tokenizer/normalise.ts";
import { prefixesSpace, spaceSteps } from "./sentencepiece-files.ts";
import { ggufTokenTypes, putAddedTokens } from "./token-types.ts";

type Json = Record<string, unknown>;

/** Of the table of changed characters. */
export const tableKey = "tokenizer.ggml.precompiled_charsmap";

export function isUnigram(json: Json): boolean {
  return (json.model as Json | undefined)?.type === "Unigram";
}

/** @param count Tokens, added ones included. */
export function unigramFields(json: Json, count: number): Map<string, GgufValue> {
  const model = json.model as Json;
  const vocab = model.vocab as [string, number][];
  const unknownId = model.unk_id as number;
  const tokens = Array.from({ length: count }, (_, id) => vocab[id]?.[0] ?? `[PAD${id}]`);
  const scores = Float32Array.from({ length: count }, (_, id) => vocab[id]?.[1] ?? 0);
  const kinds = new Int32Array(count)
    .fill(ggufTokenTypes.unused)
    .fill(ggufTokenTypes.normal, 0, vocab.length);
  if (model.byte_fallback === true)
    for (const [id, [token]] of vocab.entries())
      if (/^<0x[0-9A-F]{2}>$/.test(token)) kinds[id] = ggufTokenTypes.byte;
  putAddedTokens(json, tokens, kinds);
  kinds[unknownId] = ggufTokenTypes.unknown;
  return new Map<string, GgufValue>([
    ["tokenizer.ggml.model", { type: "string", value: unigramModel }],
    ["tokenizer.ggml.pre", { type: "string", value: "default" }],
    ["tokenizer.ggml.tokens", { type: "array", of: "string", value: byteStringsFrom(tokens) }],
    ["tokenizer.ggml.scores", { type: "array", of: "f32", value: scores }],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", value: kinds }],
    ["tokenizer.ggml.unknown_token_id", { type: "u32", value: unknownId }],
    ["tokenizer.ggml.add_space_prefix", { type: "bool", value: prefixesSpace(json) }],
    ["tokenizer.ggml.remove_extra_whitespaces", { type: "bool", value: removesSpaces(json) }],
    ["tokenizer.ggml.add_eos_token", { type: "bool", value: false }], // said, since readers would take it for true
    ...characterMapOf(json),
  ]);
}

/**
 * The table of changed characters as llama.cpp's converter takes it over, before everything else as SentencePiece has it.
 * @throws BitNetError FORMAT_UNSUPPORTED where it is not the first step.
 */
function characterMapOf(json: Json): [string, GgufValue][] {
  const steps = spaceSteps(json);
  const at = steps.map(({ type }) => type).lastIndexOf("Precompiled");
  if (at < 0) return [];
  if (at > 0)
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      "tokenizer.json: normalizer: a table of changed characters that is not the first step has no place in GGUF",
    );
  const letters = atob(String(steps[0]?.precompiled_charsmap));
  const value = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
  return [[tableKey, { type: "array", of: "u8", value }]];
}

function removesSpaces(json: Json): boolean {
  const steps = spaceSteps(json);
  const patterns = steps.map(({ pattern }) => (pattern as Json | undefined)?.Regex);
  return patterns.includes(manySpaces) || steps.some(({ type }) => type === "WhitespaceSplit");
}

/** `normalizer`, `decoder` and `model` of tokenizer.json. */
export function unigramJson(
  fields: GgufTokenizerFields,
  { unknownId, isControl }: { unknownId: number; isControl: (id: number) => boolean },
): { normalizer: Json; decoder: Json; model: Json } {
  const { tokens, tokenTypes, characterMap, scores = [] } = fields;
  const { addSpacePrefix = false, removeExtraSpaces = false } = fields;
  const isIn = (id: number, type: number) => tokenTypes?.[id] === type;
  const vocab: [string, number][] = [];
  let nBytes = 0;
  for (let id = 0; id < tokens.count; id++) {
    const content = stringAt(tokens, id);
    if (isIn(id, ggufTokenTypes.unused) && !isControl(id))
      throw new BitNetError(
        "FORMAT_UNSUPPORTED",
        `tokenizer.ggml.tokens[${id}]: tokenizer.json has no place for tokens of a unigram vocabulary that never come from text`,
      );
    const isByte =
      /^<0x[0-9A-F]{2}>$/.test(content) && (tokenTypes === undefined || isIn(id, ggufTokenTypes.byte));
    if (isByte) nBytes++;
    // Only what text can become says how unlikely unknown characters are.
    vocab.push([content, isByte || isControl(id) || id === unknownId ? 0 : (scores[id] ?? 0)]);
  }
  const visible = "\u2581";
  const replace = (pattern: Json, content: string) => ({ type: "Replace", pattern, content });
  const steps = [
    ...(characterMap === undefined
      ? []
      : [{ type: "Precompiled", precompiled_charsmap: base64(characterMap) }]),
    ...(removeExtraSpaces ? [replace({ Regex: outerSpaces }, ""), replace({ Regex: manySpaces }, " ")] : []),
    ...(addSpacePrefix ? [{ type: "Prepend", prepend: visible }] : []),
    replace({ String: " " }, visible),
  ];
  const decoders = [
    replace({ String: visible }, " "),
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(addSpacePrefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ];
  return {
    normalizer: { type: "Sequence", normalizers: steps },
    decoder: { type: "Sequence", decoders },
    model: { type: "Unigram", unk_id: unknownId, vocab, byte_fallback: nBytes === 256 },
  };
}

function base64(bytes: Uint8Array): string {
  let letters = "";
  for (const byte of bytes) letters += String.fromCharCode(byte);
  return btoa(letters);
}
