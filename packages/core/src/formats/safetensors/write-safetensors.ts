/**
 * Writes one safetensors file as a stream: header, then tensor by tensor as its data arrives. Tensors lie in the order in which they are
 * given; the header is padded with spaces so that data begins at a multiple of eight. Source: the safetensors format description.
 */
import { BitNetError } from "../../base/errors.ts";

export interface SafetensorsInput {
  name: string;
  dtype: "F32" | "F16" | "BF16" | "U8";
  shape: readonly number[];
  /** Asked for when its turn comes; as many bytes as type and shape take. */
  data: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

const elementBytes = { F32: 4, F16: 2, BF16: 2, U8: 1 } as const;

/** @throws BitNetError INVALID_ARGUMENT for names given twice and, while streaming, for data of another length. */
export function writeSafetensors(tensors: readonly SafetensorsInput[]): AsyncIterable<Uint8Array> {
  const header = new Map<string, object>([["__metadata__", { format: "pt" }]]);
  let end = 0;
  for (const tensor of tensors) {
    if (header.has(tensor.name)) invalid(`the name ${JSON.stringify(tensor.name)} is taken`);
    const begin = end;
    end += byteLength(tensor);
    header.set(tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] });
  }
  return stream(new TextEncoder().encode(JSON.stringify(Object.fromEntries(header))), tensors);
}

function byteLength({ name, dtype, shape }: SafetensorsInput): number {
  const bytes = shape.reduce((product, n) => product * n, 1) * elementBytes[dtype];
  if (shape.every((n) => Number.isSafeInteger(n) && n > 0) && Number.isSafeInteger(bytes)) return bytes;
  return invalid(`tensor "${name}" has the shape [${shape.join(", ")}], expected positive dimensions`);
}

async function* stream(json: Uint8Array, tensors: readonly SafetensorsInput[]): AsyncGenerator<Uint8Array> {
  const padded = Math.ceil(json.length / 8) * 8;
  const start = new Uint8Array(8 + padded).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(padded), true);
  start.set(json, 8);
  yield start;
  for (const tensor of tensors) {
    const expected = byteLength(tensor);
    let done = 0;
    for await (const piece of tensor.data()) {
      done += piece.length;
      yield piece;
    }
    if (done !== expected) invalid(`tensor "${tensor.name}" takes ${expected} bytes, its data gave ${done}`);
  }
}

function invalid(problem: string): never {
  throw new BitNetError("INVALID_ARGUMENT", `safetensors writer: ${problem}`);
}
