/**
 * Writes a trained model as one GGUF file of the bitnet-b1.58 architecture: the trits of the forward pass in I2_S with their scales,
 * norms in f32, the embedding in f16, or in f32, which computes exactly what training did.
 */
import {
  BitNetError,
  f32ToF16,
  type GgufTensorInput,
  type GgufValue,
  packings,
  writeGguf,
} from "@bitnet.ts/core";
import type { Executor } from "../graph/executor.ts";
import type { TransformerShape } from "../graph/transformer.ts";
import type { Floats } from "../kernels/kernels.ts";
import { writeWhole } from "./write-file.ts";

export interface GgufExport {
  name: string;
  description: string;
  /** `tokenizer.*` */
  tokenizer: ReadonlyMap<string, GgufValue>;
  embeddingType: "f16" | "f32";
}

const architecture = "bitnet-b1.58";
const i2sFileType = 40;

/** @throws BitNetError INVALID_ARGUMENT for a shape that the architecture does not have, IO_FAILED. */
export async function exportGguf(
  path: string,
  executor: Executor,
  shape: TransformerShape,
  options: GgufExport,
): Promise<number> {
  if (shape.form === "float" || !shape.hasSubNorms || shape.activation !== "relu2")
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `export: GGUF files of ${architecture} hold ternary or binary weights, sub-norms and relu²; export Hugging Face's form instead`,
    );
  const tensors = executor.graph.parameters.map((_, id) => tensorOf(executor, id, options.embeddingType));
  const { bytes } = await writeWhole(path, writeGguf({ metadata: metadataOf(shape, options), tensors }));
  return bytes;
}

function tensorOf(executor: Executor, id: number, embedding: "f16" | "f32"): GgufTensorInput {
  const parameter = executor.graph.parameters[id];
  const [rows = 0, cols = 0] = parameter?.shape ?? [];
  const plain = { name: `${parameter?.name}.weight`, shape: parameter?.shape ?? [] };
  const floats = executor.parameters[id] as Floats;
  if (parameter?.form === "float") {
    const isMatrix = plain.shape.length > 1;
    const type = isMatrix ? embedding : "f32";
    return { ...plain, type, data: () => (type === "f16" ? halfBytes(floats) : floatBytes(floats)) };
  }
  const { weights, scale } = executor.formed(id);
  const pack = () =>
    packings.i2_s.pack(Int8Array.from(weights), { rows, cols }, { kind: "tensor", value: scale });
  return { ...plain, type: "i2_s", data: pack };
}

function halfBytes(floats: Floats): Uint8Array {
  const words = new Uint16Array(floats.length);
  for (let i = 0; i < words.length; i++) words[i] = f32ToF16(floats[i] ?? 0);
  return new Uint8Array(words.buffer);
}

function floatBytes(floats: Floats): Uint8Array {
  return new Uint8Array(Float32Array.from(floats).buffer);
}

function metadataOf(
  shape: TransformerShape,
  { name, description, tokenizer }: GgufExport,
): Map<string, GgufValue> {
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const text = (value: string): GgufValue => ({ type: "string", value });
  return new Map<string, GgufValue>([
    ["general.architecture", text(architecture)],
    ["general.name", text(name)],
    ["general.description", text(description)],
    ["general.file_type", u32(i2sFileType)],
    [`${architecture}.vocab_size`, u32(shape.vocabSize)],
    [`${architecture}.context_length`, u32(shape.contextLength)],
    [`${architecture}.embedding_length`, u32(shape.hiddenSize)],
    [`${architecture}.block_count`, u32(shape.nLayers)],
    [`${architecture}.feed_forward_length`, u32(shape.ffnSize)],
    [`${architecture}.rope.dimension_count`, u32(shape.headDim)],
    [`${architecture}.rope.freq_base`, { type: "f32", value: shape.ropeTheta }],
    [`${architecture}.attention.head_count`, u32(shape.nHeads)],
    [`${architecture}.attention.head_count_kv`, u32(shape.nKvHeads)],
    [`${architecture}.attention.key_length`, u32(shape.headDim)],
    [`${architecture}.attention.value_length`, u32(shape.headDim)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, { type: "f32", value: shape.normEps }],
    ...tokenizer,
  ]);
}
