/**
 * SentencePiece BPE from tokenizer.json as GGUF keeps it: tokens with scores and types. A merge made earlier has the higher score; tokens that
 * no merge makes never come from text. Source: llama.cpp's converter, and transformers' of the other direction.
 */
import { type ByteStrings, byteStringsFrom } from "../base/byte-strings.ts";
import type { GgufValue } from "../formats/gguf/values.ts";
import { ggufTokenTypes, putAddedTokens } from "./token-types.ts";

type Json = Record<string, unknown>;

/** Below every merge. */
const lowestScore = -1e9;

/** Whether tokenizer.json holds a vocabulary of this kind: whole characters, what is left over spelled in bytes. */
export function isSentencePieceBpe(json: Json): boolean {
  const model = json.model as Json;
  return (model.type ?? "BPE") === "BPE" && Array.isArray(model.merges) && model.byte_fallback === true;
}

/** @param count Tokens, added ones included. */
export function sentencePieceFields(json: Json, count: number): Map<string, GgufValue> {
  const model = json.model as Json;
  const vocab = Object.entries(model.vocab as Record<string, number>);
  const rankOf = new Map<string, number>();
  for (const [rank, merge] of (model.merges as (string | string[])[]).entries()) {
    const whole = (Array.isArray(merge) ? merge : merge.split(" ")).join("");
    if (!rankOf.has(whole)) rankOf.set(whole, rank);
  }
  const tokens = Array.from({ length: count }, (_, id) => `[PAD${id}]`);
  const kinds = new Int32Array(count).fill(ggufTokenTypes.unused);
  const scores = new Float32Array(count).fill(lowestScore);
  for (const [token, id] of vocab) {
    const rank = rankOf.get(token);
    tokens[id] = token;
    if (/^<0x[0-9A-F]{2}>$/.test(token)) kinds[id] = ggufTokenTypes.byte;
    else if (token === model.unk_token) kinds[id] = ggufTokenTypes.unknown;
    else if (rank !== undefined || [...token].length === 1) kinds[id] = ggufTokenTypes.normal;
    if (rank !== undefined) scores[id] = -rank;
  }
  putAddedTokens(json, tokens, kinds, model.unk_token);
  const unknownId = vocab.find(([token]) => token === model.unk_token)?.[1];
  const strings: ByteStrings = byteStringsFrom(tokens);
  return new Map<string, GgufValue>([
    ["tokenizer.ggml.model", { type: "string", value: "llama" }],
    ["tokenizer.ggml.pre", { type: "string", value: "default" }],
    ["tokenizer.ggml.tokens", { type: "array", of: "string", value: strings }],
    ["tokenizer.ggml.scores", { type: "array", of: "f32", value: scores }],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", value: kinds }],
    ...(unknownId === undefined
      ? []
      : ([["tokenizer.ggml.unknown_token_id", { type: "u32", value: unknownId }]] as const)),
    ["tokenizer.ggml.add_space_prefix", { type: "bool", value: prefixesSpace(json) }],
  ]);
}

/** Whether a text gets a space in front: by the normalizer in older files, by the pre-tokenizer in newer ones. */
export function prefixesSpace(json: Json): boolean {
  return spaceSteps(json).some(
    (step) =>
      step.type === "Prepend" ||
      (step.type === "Metaspace" &&
        (step.prepend_scheme ?? (step.add_prefix_space === false ? "never" : "always")) !== "never"),
  );
}

/** The steps of normalizer and pre-tokenizer. */
export function spaceSteps({ normalizer, pre_tokenizer }: Json): Json[] {
  return [normalizer, pre_tokenizer].flatMap(flatten);
}

function flatten(step: unknown): Json[] {
  if (typeof step !== "object" || step === null) return [];
  const { normalizers, pretokenizers } = step as Json;
  const inner = normalizers ?? pretokenizers;
  return Array.isArray(inner) ? inner.flatMap(flatten) : [step as Json];
}
