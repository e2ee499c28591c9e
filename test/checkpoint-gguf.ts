/** Writes a random checkpoint as GGUF, in any packing that can hold it, whole or split. */
import {
  BitNetError,
  byteStringsFrom,
  type DenseType,
  type GgufTensorInput,
  type GgufValue,
  isGroupPacking,
  type PackingId,
  packings,
  writeGguf,
} from "@bitnet.ts/core";
import { byteVocabulary } from "./byte-vocabulary.ts";
import { encodeDense, encodeFloats, type FloatType } from "./dense-encoding.ts";
import { oddMetadata, shuffled } from "./odd-metadata.ts";
import type {
  Checkpoint,
  CheckpointShape,
  DenseMatrix,
  LayerWeights,
  TernaryMatrix,
} from "./random-checkpoint.ts";

/**
 * How ternary matrices are stored: packed, as masters that are to be ternarised, or as the products of trits and scale. What a
 * packing cannot hold is stored as I2_S.
 */
type TernaryStore =
  | { kind: "packed"; packing: Exclude<PackingId, "hf_u8"> }
  | { kind: "masters" | "products"; type: FloatType };

export interface GgufChoices {
  ternary: TernaryStore;
  embedding?: DenseType;
  head?: DenseType;
  norm?: FloatType;
  /** Default: as the family has it. */
  architecture?: "bitnet-25";
  alignment?: number;
  /** Seed of what else may stand in such a file: version 2, tensors in any order, numbers of other types, lists for each layer, no optional keys. */
  oddity?: number;
  /** f32 vectors that are written as well. */
  extra?: Readonly<Record<string, Float32Array>>;
  /** Replaces or, where undefined, removes metadata. */
  metadata?: Readonly<Record<string, GgufValue | undefined>>;
}

const u32 = (value: number): GgufValue => ({ type: "u32", value });
const f32 = (value: number): GgufValue => ({ type: "f32", value });
const text = (value: string): GgufValue => ({ type: "string", value });

export async function ggufBytes(checkpoint: Checkpoint, choices: GgufChoices): Promise<Uint8Array> {
  const bytes = await joined(metadataOf(checkpoint, choices), tensorsOf(checkpoint, choices));
  // Versions 2 and 3 differ in what they allow, not in how it is laid out.
  if (choices.oddity !== undefined && choices.oddity % 2 === 0) bytes[4] = 2;
  return bytes;
}

/** Parts of a split file by the names that they need. */
export async function splitGgufBytes(
  checkpoint: Checkpoint,
  choices: GgufChoices,
  nParts: number,
): Promise<Map<string, Uint8Array>> {
  const tensors = tensorsOf(checkpoint, choices);
  const perPart = Math.ceil(tensors.length / nParts);
  const five = (n: number) => String(n).padStart(5, "0");
  const parts = new Map<string, Uint8Array>();
  for (let part = 0; part < nParts; part++) {
    const metadata = new Map<string, GgufValue>([
      ...(part === 0 ? metadataOf(checkpoint, choices) : []),
      ["split.no", { type: "u16", value: part }],
      ["split.count", { type: "u16", value: nParts }],
      ["split.tensors.count", { type: "i32", value: tensors.length }],
    ]);
    const bytes = await joined(metadata, tensors.slice(part * perPart, (part + 1) * perPart));
    parts.set(`model-${five(part + 1)}-of-${five(nParts)}.gguf`, bytes);
  }
  return parts;
}

async function joined(metadata: Map<string, GgufValue>, tensors: GgufTensorInput[]): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeGguf({ metadata, tensors })) chunks.push(chunk.slice());
  return Buffer.concat(chunks);
}

function metadataOf({ shape }: Checkpoint, choices: GgufChoices): Map<string, GgufValue> {
  const { architecture = shape.family, alignment } = choices;
  const vocabulary = byteVocabulary(shape.tokens);
  const types = new Int32Array(shape.tokens).fill(1).fill(3, vocabulary.bosId);
  const strings = (value: string[]): GgufValue => ({
    type: "array",
    of: "string",
    value: byteStringsFrom(value),
  });
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", text(architecture)],
    ...(alignment === undefined ? [] : ([["general.alignment", u32(alignment)]] as const)),
    [`${architecture}.context_length`, u32(shape.context)],
    [`${architecture}.embedding_length`, u32(shape.hidden)],
    [`${architecture}.block_count`, u32(shape.layers)],
    [`${architecture}.feed_forward_length`, u32(shape.ffn)],
    [`${architecture}.attention.head_count`, u32(shape.heads)],
    [`${architecture}.attention.head_count_kv`, u32(shape.kvHeads)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, f32(shape.eps)],
    [`${architecture}.rope.freq_base`, f32(shape.theta)],
    [`${architecture}.rope.dimension_count`, u32(shape.headDim)],
    [`${architecture}.vocab_size`, u32(shape.vocab)],
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.tokens", strings(vocabulary.tokens)],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", value: types }],
    ["tokenizer.ggml.merges", strings(vocabulary.merges)],
    ["tokenizer.ggml.bos_token_id", u32(vocabulary.bosId)],
    ["tokenizer.ggml.eos_token_id", u32(vocabulary.eosId)],
  ]);
  const { window, yarn, factors, rotation } = shape;
  if (rotation?.kind === "linear") {
    metadata.set(`${architecture}.rope.scaling.type`, text("linear"));
    metadata.set(`${architecture}.rope.scaling.factor`, f32(rotation.factor));
  }
  if (rotation?.kind === "longrope") {
    metadata.set(`${architecture}.rope.scaling.type`, text("longrope"));
    metadata.set(`${architecture}.rope.scaling.original_context_length`, u32(rotation.original));
    metadata.set(`${architecture}.rope.scaling.attn_factor`, f32(rotation.attention));
  }
  if (window) {
    metadata.set(`${architecture}.attention.sliding_window`, u32(window.size));
    metadata.set(`${architecture}.attention.sliding_window_pattern`, u32(window.pattern));
    metadata.set(`${architecture}.rope.freq_base_swa`, f32(window.theta));
  }
  if (yarn) {
    metadata.set(`${architecture}.rope.scaling.type`, text("yarn"));
    metadata.set(`${architecture}.rope.scaling.factor`, f32(yarn.factor));
    metadata.set(`${architecture}.rope.scaling.original_context_length`, u32(yarn.original));
  }
  if (factors) {
    metadata.set(`${architecture}.embedding_scale`, f32(factors.embedding));
    metadata.set(`${architecture}.residual_scale`, f32(factors.residual));
    metadata.set(`${architecture}.logit_scale`, f32(1 / factors.logits));
  }
  if (shape.heads * shape.headDim !== shape.hidden)
    metadata.set(`${architecture}.attention.key_length`, u32(shape.headDim));
  for (const [key, value] of Object.entries(choices.metadata ?? {}))
    if (value === undefined) metadata.delete(key);
    else metadata.set(key, value);
  return choices.oddity === undefined ? metadata : oddMetadata(metadata, shape, choices.oddity);
}

const normNames = {
  attnNorm: "attn_norm",
  attnSubNorm: "attn_sub_norm",
  ffnNorm: "ffn_norm",
  ffnSubNorm: "ffn_sub_norm",
} as const;
const matrixNames = {
  q: "attn_q",
  k: "attn_k",
  v: "attn_v",
  o: "attn_output",
  gate: "ffn_gate",
  up: "ffn_up",
  down: "ffn_down",
} as const;

function tensorsOf(
  { shape, embedding, layers, outputNorm, head }: Checkpoint,
  choices: GgufChoices,
): GgufTensorInput[] {
  const {
    ternary,
    embedding: embeddingType = "f16",
    head: headType = embeddingType,
    norm: normType = "f32",
  } = choices;
  const dense = (name: string, type: DenseType, matrix: DenseMatrix): GgufTensorInput => {
    const { rows, cols, integers, units } = matrix;
    if (shape.isGrouped && ternary.kind === "packed" && isGroupPacking(ternary.packing)) {
      const groupScales = units.filter((_, i) => i % 4 === 0);
      return ternaryTensor(name, { rows, cols, trits: integers, scale: 1, groupScales }, ternary);
    }
    return { name, shape: [rows, cols], type, data: () => encodeDense(type, matrix) };
  };
  const norm = (name: string, values: Float64Array): GgufTensorInput => ({
    name,
    shape: [values.length],
    type: normType,
    data: () => encodeFloats(normType, values),
  });
  const tensors = [dense("token_embd.weight", embeddingType, embedding)];
  layers.forEach((layer: LayerWeights, l) => {
    for (const [key, name] of Object.entries(normNames)) {
      const values = layer[key as keyof typeof normNames];
      if (values !== null) tensors.push(norm(`blk.${l}.${name}.weight`, values));
    }
    for (const [key, name] of Object.entries(matrixNames)) {
      const matrix = layer[key as keyof typeof matrixNames];
      const isRotated = ["llama", "minicpm"].includes(shape.family) && (key === "q" || key === "k");
      const stored = isRotated ? neighbouring(matrix, shape.headDim) : matrix;
      tensors.push(ternaryTensor(`blk.${l}.${name}.weight`, stored, ternary));
    }
  });
  layers.forEach((layer, l) => {
    for (const [name, values] of Object.entries(extraVectors(layer)))
      tensors.push(norm(`blk.${l}.${name}`, values));
  });
  tensors.push(norm("output_norm.weight", outputNorm));
  if (head !== null) tensors.push(dense("output.weight", headType, head));
  for (const [name, values] of Object.entries({ ...rotationTables(shape), ...choices.extra }))
    tensors.push({ name, shape: [values.length], type: "f32", data: () => encodeFloats("f32", values) });
  return choices.oddity === undefined ? tensors : shuffled(tensors, choices.oddity);
}

/** Divisors of rotations, as llama.cpp's converter computes them. */
function rotationTables({ rotation, headDim, theta }: CheckpointShape): Record<string, Float32Array> {
  if (rotation?.kind === "longrope")
    return {
      "rope_factors_long.weight": Float32Array.from(rotation.long),
      "rope_factors_short.weight": Float32Array.from(rotation.short),
    };
  if (rotation?.kind !== "llama3") return {};
  const { factor, low, high, original } = rotation;
  const divisors = Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / headDim);
    if (wavelength < original / high) return 1;
    if (wavelength > original / low) return factor;
    const smooth = (original / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
  return { "rope_freqs.weight": divisors };
}

/** What only some families have. */
function extraVectors({
  headNorms,
  postNorms,
  biases,
  innerNorms,
}: LayerWeights): Record<string, Float64Array> {
  const inner = Object.entries(innerNorms ?? {}).map(([key, values]) => [
    `${matrixNames[key as keyof typeof matrixNames]}_norm_in.weight`,
    values,
  ]);
  return {
    ...(headNorms ? { "attn_q_norm.weight": headNorms.q, "attn_k_norm.weight": headNorms.k } : {}),
    ...(postNorms
      ? { "post_attention_norm.weight": postNorms.attention, "post_ffw_norm.weight": postNorms.ffn }
      : {}),
    ...(biases ? { "attn_q.bias": biases.q, "attn_k.bias": biases.k, "attn_v.bias": biases.v } : {}),
    ...Object.fromEntries(inner),
  };
}

/** Rows i and i + headDim / 2 of each head come to stand beside each other, as converters do for Llama. */
function neighbouring(matrix: TernaryMatrix, headDim: number): TernaryMatrix {
  const { rows, cols, trits, groupScales } = matrix;
  const moved = new Int8Array(trits.length);
  const movedScales = new Float64Array(groupScales?.length ?? 0);
  const perRow = cols / 128;
  for (let row = 0; row < rows; row++) {
    const i = row % headDim;
    const to = row - i + (i < headDim / 2 ? 2 * i : 2 * (i - headDim / 2) + 1);
    moved.set(trits.subarray(row * cols, (row + 1) * cols), to * cols);
    if (groupScales) movedScales.set(groupScales.subarray(row * perRow, (row + 1) * perRow), to * perRow);
  }
  return { ...matrix, trits: moved, ...(groupScales ? { groupScales: movedScales } : {}) };
}

function ternaryTensor(name: string, matrix: TernaryMatrix, store: TernaryStore): GgufTensorInput {
  const { rows, cols, trits, scale, groupScales } = matrix;
  const shape = [rows, cols];
  const scales = groupScales
    ? ({ kind: "group", size: 128, values: Float32Array.from(groupScales) } as const)
    : ({ kind: "tensor", value: scale } as const);
  if (store.kind !== "packed") {
    const { type } = store;
    const floats =
      store.kind === "masters" ? masterWeights(matrix) : Float64Array.from(trits, (trit) => trit * scale);
    return { name, shape, type, data: () => encodeFloats(type, floats) };
  }
  const packing = canHold(store.packing, { rows, cols }) ? store.packing : "i2_s";
  return {
    name,
    shape,
    type: packing,
    data: () => packings[packing].pack(trits, { rows, cols }, scales),
  };
}

/**
 * Weights whose mean magnitude is the scale: half of them are zero, a quarter each 1.5 and 2.5 times the scale; or, where none is zero, half
 * each 0.5 and 1.5 times.
 */
export function masterWeights({ trits, scale }: TernaryMatrix): Float64Array {
  const [small, large] = trits.includes(0) ? [1.5, 2.5] : [0.5, 1.5];
  let nSeen = 0;
  return Float64Array.from(trits, (trit) => trit * scale * (trit !== 0 && nSeen++ % 2 === 0 ? small : large));
}

function canHold(packing: PackingId, shape: { rows: number; cols: number }): boolean {
  try {
    packings[packing].byteLength(shape);
    return true;
  } catch (error) {
    if (error instanceof BitNetError && error.code === "FORMAT_UNSUPPORTED") return false;
    throw error;
  }
}
