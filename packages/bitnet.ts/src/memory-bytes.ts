/** What a model costs in bytes: its weights, a decoded token's share of them, a token of context. */
import {
  type BufferDecl,
  denseByteLength,
  type KvType,
  type ModelConfig,
  type Program,
  type TensorInfo,
} from "@bitnet.ts/core";

/** Bytes of a weight in the layout that kernels read. */
function tensorBytes(buffer: BufferDecl): number {
  if (buffer.class !== "weight") return 0;
  const { tensor } = buffer;
  return tensor.kind === "ternary"
    ? tensor.rows * Math.ceil(tensor.cols / 128) * 32
    : denseByteLength(tensor.type, tensor.rows * tensor.cols);
}

/** Bytes of all tensors in the files. */
export function weightBytes(tensors: ReadonlyMap<string, TensorInfo>): number {
  let total = 0;
  for (const { byteLength } of tensors.values()) total += byteLength;
  return total;
}

/** Bytes of weights that computing one token reads: all ternary matrices, norms, and the head. */
export function bytesPerToken({ ops, buffers }: Program): number {
  const bytesOf = (id: number) => {
    const buffer = buffers[id];
    return buffer ? tensorBytes(buffer) : 0;
  };
  let total = 0;
  for (const op of ops) {
    if (op.op === "bitLinear") for (const id of op.weights) total += bytesOf(id);
    if (op.op === "rmsNormQuant") total += bytesOf(op.weight);
    if (op.op === "head") total += bytesOf(op.weight) + bytesOf(op.table);
  }
  return total;
}

/** The table of the head, all zero where a program has none. */
export interface HeadTable {
  tableBytes: number;
  rowBytes: number;
}

export function describeHead({ ops, buffers, vocabSize }: Program): HeadTable {
  for (const op of ops) {
    const table = op.op === "head" ? buffers[op.table] : undefined;
    if (table) return { tableBytes: tensorBytes(table), rowBytes: tensorBytes(table) / vocabSize };
  }
  return { tableBytes: 0, rowBytes: 0 };
}

export function kvBytesPerToken({ nLayers, nKvHeads, headDim }: ModelConfig, kvType: KvType): number {
  return 2 * nLayers * nKvHeads * headDim * (kvType === "f16" ? 2 : 4);
}

/** Bytes of the cosines and sines of all positions. */
export function ropeTableBytes({ contextLength, headDim }: ModelConfig): number {
  return contextLength * headDim * Float32Array.BYTES_PER_ELEMENT;
}
