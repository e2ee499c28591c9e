/** What a Program costs in bytes: its weights, a decoded token's share of them, a token of context. */
import { type BufferDecl, denseByteLength, type KvType, type Program } from "@bitnet.ts/core";

/** Bytes of a weight in the layout that kernels read. */
function tensorBytes(buffer: BufferDecl): number {
  if (buffer.class !== "weight") return 0;
  const { tensor } = buffer;
  return tensor.kind === "ternary"
    ? tensor.rows * Math.ceil(tensor.cols / 128) * 32
    : denseByteLength(tensor.type, tensor.rows * tensor.cols);
}

/** Bytes of all sources: mapped files and memory. */
export function weightBytes(program: Program): number {
  return program.sources.reduce(
    (sum, source) => sum + (source.kind === "file" ? source.size : source.bytes.byteLength),
    0,
  );
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

export function kvBytesPerToken(program: Program, kvType: KvType): number {
  const elementBytes = kvType === "f16" ? 2 : 4;
  let total = 0;
  for (const buffer of program.buffers)
    if (buffer.class === "kv") total += 2 * buffer.nKvHeads * buffer.headDim * elementBytes;
  return total;
}
