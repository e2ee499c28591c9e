/**
 * Puts a random checkpoint of the BitNet family together for the GGUF writer: metadata, vocabulary and tensors whose data is made
 * when its turn comes. Knows nothing of disks.
 */
import { byteStringsFrom, type GgufInput, type GgufTensorInput, type GgufValue } from "@bitnet.ts/core";
import {
  type DummyPacking,
  type DummyShape,
  isPacked,
  type PlannedTensor,
  planTensors,
} from "./dummy-shapes.ts";
import { embeddingChunks, normBytes, ternaryChunks } from "./dummy-tensors.ts";
import { makeVocabulary } from "./dummy-vocabulary.ts";
import { RandomBits } from "./random-bits.ts";

/** What a file of BitNet's sizes says it is. `bitnet` is the name that llama.cpp opens; it computes SiLU there, at the same cost. */
export type DummyArchitecture = "bitnet-b1.58" | "bitnet";
export const dummyArchitectures: readonly DummyArchitecture[] = ["bitnet-b1.58", "bitnet"];

/** `general.file_type` of llama.cpp and bitnet.cpp. */
const fileTypes: Readonly<Partial<Record<DummyPacking, number>>> = { i2_s: 40, tq1_0: 36, tq2_0: 37 };

/** The template of bitnet-b1.58-2B-4T. */
const chatTemplate =
  "{% for message in messages %}" +
  "{% if loop.first %}{{ bos_token }}{% endif %}" +
  "{{ message['role'] | capitalize + ': ' + message['content'] | trim + '<|eot_id|>' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";

/** The same seed gives the same file. */
export function dummyGguf(
  shape: DummyShape,
  packing: DummyPacking,
  seed: number,
  architecture: DummyArchitecture = "bitnet-b1.58",
): GgufInput {
  const tensors = planTensors(shape).map((tensor, i) =>
    tensorInput(tensor, packing, new RandomBits(seed, i)),
  );
  return { metadata: metadataOf(shape, packing, architecture), tensors };
}

function tensorInput(tensor: PlannedTensor, packing: DummyPacking, random: RandomBits): GgufTensorInput {
  const { name, shape, kind } = tensor;
  const [rows = 1, cols = rows] = shape;
  if (kind === "norm") return { name, shape, type: "f32", data: () => normBytes(cols, random) };
  return isPacked(tensor, packing)
    ? { name, shape, type: packing, data: ternaryChunks(packing, [rows, cols], random) }
    : { name, shape, type: "f16", data: embeddingChunks(rows, cols, random) };
}

function metadataOf(
  shape: DummyShape,
  packing: DummyPacking,
  named: DummyArchitecture,
): Map<string, GgufValue> {
  const architecture = shape.family === "qwen3" ? "qwen3" : named;
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const text = (value: string): GgufValue => ({ type: "string", value });
  const strings = (value: string[]): GgufValue => ({
    type: "array",
    of: "string",
    value: byteStringsFrom(value),
  });
  const vocabulary = makeVocabulary(shape.vocabSize);
  return new Map<string, GgufValue>([
    ["general.architecture", text(architecture)],
    ["general.name", text(`dummy-${shape.name}`)],
    ["general.description", text("random weights for measuring; it writes nonsense")],
    ...(fileTypes[packing] === undefined ? [] : ([["general.file_type", u32(fileTypes[packing])]] as const)),
    [`${architecture}.vocab_size`, u32(shape.vocabSize)],
    [`${architecture}.context_length`, u32(shape.contextLength)],
    [`${architecture}.embedding_length`, u32(shape.hiddenSize)],
    [`${architecture}.block_count`, u32(shape.nLayers)],
    [`${architecture}.feed_forward_length`, u32(shape.ffnSize)],
    [`${architecture}.rope.dimension_count`, u32(shape.headDim)],
    [`${architecture}.attention.key_length`, u32(shape.headDim)],
    [`${architecture}.attention.value_length`, u32(shape.headDim)],
    [`${architecture}.rope.freq_base`, { type: "f32", value: shape.ropeTheta }],
    [`${architecture}.attention.head_count`, u32(shape.nHeads)],
    [`${architecture}.attention.head_count_kv`, u32(shape.nKvHeads)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, { type: "f32", value: 1e-5 }],
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.pre", text("llama-bpe")],
    ["tokenizer.ggml.tokens", strings(vocabulary.tokens)],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", value: vocabulary.types }],
    ["tokenizer.ggml.merges", strings(vocabulary.merges)],
    ["tokenizer.ggml.bos_token_id", u32(vocabulary.bosId)],
    ["tokenizer.ggml.eos_token_id", u32(vocabulary.eosId)],
    ["tokenizer.ggml.eot_token_id", u32(vocabulary.eotId)],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: true }],
    ["tokenizer.chat_template", text(chatTemplate)],
  ]);
}
