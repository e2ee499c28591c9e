/** Writes the dense matrices of a random checkpoint in ordinary element types, without loss. Layouts from llama.cpp. */
import { type DenseType, f32ToF16 } from "@bitnet.ts/core";
import { type DenseMatrix, denseValue } from "./random-checkpoint.ts";

export type FloatType = "f32" | "f16" | "bf16";

/** Values that the type holds exactly. */
export function encodeFloats(type: FloatType, values: ArrayLike<number>): Uint8Array {
  const bytes = type === "f32" ? 4 : 2;
  const view = new DataView(new ArrayBuffer(values.length * bytes));
  const word = new DataView(new ArrayBuffer(4));
  for (let i = 0; i < values.length; i++) {
    word.setFloat32(0, values[i] ?? 0);
    if (type === "f32") view.setFloat32(4 * i, values[i] ?? 0, true);
    else view.setUint16(2 * i, type === "bf16" ? word.getUint16(0) : f32ToF16(values[i] ?? 0), true);
    if (type === "bf16" && word.getUint16(2) !== 0) throw new Error(`bf16 does not hold ${values[i]}`);
  }
  return new Uint8Array(view.buffer);
}

export function encodeDense(type: DenseType, matrix: DenseMatrix): Uint8Array {
  if (type === "q8_0" || type === "q4_0") return encodeBlocks32(type, matrix);
  if (type === "q6_k") return encodeQ6(matrix);
  if (type === "q4_k") return encodeQ4K(matrix);
  if (type === "trits") throw new Error("tables of trits are written as packings");
  return encodeFloats(
    type,
    Float64Array.from(matrix.integers, (_, i) => denseValue(matrix, i)),
  );
}

/** Blocks of 32: f16 unit, then a byte each, or half a byte each with the first sixteen in the low halves. */
function encodeBlocks32(type: "q8_0" | "q4_0", { integers, units }: DenseMatrix): Uint8Array {
  const blockBytes = type === "q8_0" ? 34 : 18;
  const out = new Uint8Array(units.length * blockBytes);
  const view = new DataView(out.buffer);
  units.forEach((unit, block) => {
    const at = block * blockBytes;
    const code = (i: number) => integers[32 * block + i] ?? 0;
    view.setUint16(at, f32ToF16(unit), true);
    for (let i = 0; i < 32; i++) {
      if (type === "q8_0") view.setInt8(at + 2 + i, code(i));
      else out[at + 2 + (i % 16)] = (out[at + 2 + (i % 16)] ?? 0) | ((code(i) + 8) << (i < 16 ? 0 : 4));
    }
  });
  return out;
}

/**
 * Blocks of 256: 128 bytes of low halves, 64 of high quarters, 16 int8 sub-scales, f16 d. Weight 128h + 32k + l has its low bits in
 * byte 64h + 32(k % 2) + l, the upper half for k ≥ 2, and its high bits in byte 128 + 32h + l at 2k.
 */
function encodeQ6({ integers, units }: DenseMatrix): Uint8Array {
  const nBlocks = integers.length / 256;
  const out = new Uint8Array(nBlocks * 210);
  const view = new DataView(out.buffer);
  for (let block = 0; block < nBlocks; block++) {
    const at = block * 210;
    const smallest = Math.min(...units.subarray(8 * block, 8 * block + 8));
    view.setUint16(at + 208, f32ToF16(smallest), true);
    for (let sub = 0; sub < 16; sub++)
      view.setInt8(at + 192 + sub, (units[8 * block + (sub >> 1)] ?? 0) / smallest);
    for (let i = 0; i < 256; i++) {
      const code = (integers[256 * block + i] ?? 0) + 32;
      const [half, k, l] = [i >> 7, (i >> 5) & 3, i & 31];
      const low = at + 64 * half + 32 * (k % 2) + l;
      const high = at + 128 + 32 * half + l;
      out[low] = (out[low] ?? 0) | ((code & 15) << (k < 2 ? 0 : 4));
      out[high] = (out[high] ?? 0) | ((code >> 4) << (2 * k));
    }
  }
  return out;
}

/**
 * Blocks of 256: f16 d and dmin, 12 bytes of scales and minima, 128 bytes of halves. Integers are stored 8 higher, and 8 units are taken off
 * again as the minimum. Run 2k has the low halves of bytes 32k … 32k + 31, run 2k + 1 the high ones.
 */
function encodeQ4K({ integers, units }: DenseMatrix): Uint8Array {
  const nBlocks = integers.length / 256;
  const out = new Uint8Array(nBlocks * 144);
  const view = new DataView(out.buffer);
  for (let block = 0; block < nBlocks; block++) {
    const at = block * 144;
    const own = units.subarray(8 * block, 8 * block + 8);
    const smallest = Math.min(...own);
    view.setUint16(at, f32ToF16(smallest), true);
    view.setUint16(at + 2, f32ToF16(8 * smallest), true);
    own.forEach((unit, run) => {
      const six = unit / smallest; // both the scale and, of 8 units, the minimum
      if (run < 4) {
        out[at + 4 + run] = (out[at + 4 + run] ?? 0) | six;
        out[at + 8 + run] = (out[at + 8 + run] ?? 0) | six;
      } else {
        out[at + 8 + run] = (six & 15) | ((six & 15) << 4);
        out[at + run] = (out[at + run] ?? 0) | ((six >> 4) << 6);
        out[at + 4 + run] = (out[at + 4 + run] ?? 0) | ((six >> 4) << 6);
      }
    });
    for (let i = 0; i < 256; i++) {
      const code = (integers[256 * block + i] ?? 0) + 8;
      const to = at + 16 + 32 * (i >> 6) + (i & 31);
      out[to] = (out[to] ?? 0) | (code << (i & 32 ? 4 : 0));
    }
  }
  return out;
}
