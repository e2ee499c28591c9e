/**
 * TQ1_0 (GGUF type 34): 256 weights in 54 bytes: qs[48], qh[4], f16 scale. Five trits to a byte of qs, four to a byte of
 * qh, most significant digit first; qs[0…31] hold weights 0…159 in steps of 32, qs[32…47] weights 160…239 in steps of 16,
 * qh weights 240…255 in steps of 4. Source: llama.cpp.
 */
import { f16ToF32 } from "../base/float16.ts";
import { base3Byte, base3Digits } from "./base-three.ts";
import { checkBytes, checkRows, checkTrits, elementCount, refuseShape } from "./bounds.ts";
import type { Packing } from "./packing.ts";
import { groupScale, scalePerGroup, scaleToF16 } from "./scales.ts";

const id = "tq1_0";
const blockWeights = 256;
export const tq1BlockBytes = 54;

/** Runs of bytes with one stride: `count` bytes from `byte`, whose digit d holds weight `weight` + d · count + i. */
const sections = [
  { byte: 0, count: 32, weight: 0, digits: 5 },
  { byte: 32, count: 16, weight: 160, digits: 5 },
  { byte: 48, count: 4, weight: 240, digits: 4 },
] as const;
const scaleByte = 52;

export const tq1: Packing = {
  id,
  byteLength(shape) {
    const n = elementCount(id, shape);
    if (shape.cols % blockWeights !== 0) refuseShape(id, shape, "needs columns in multiples of 256");
    return (n / blockWeights) * tq1BlockBytes;
  },
  unpackRows(bytes, shape, first, count, out) {
    checkBytes(id, bytes, tq1.byteLength(shape));
    checkRows(id, shape, first, count, out.length);
    const perRow = shape.cols / blockWeights;
    for (let block = 0; block < count * perRow; block++) {
      unpackBlock(bytes, (first * perRow + block) * tq1BlockBytes, out, block * blockWeights);
    }
  },
  readScale(bytes, shape) {
    const length = tq1.byteLength(shape);
    checkBytes(id, bytes, length);
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    const values = new Float32Array(length / tq1BlockBytes);
    for (let block = 0; block < values.length; block++) {
      values[block] = f16ToF32(view.getUint16(block * tq1BlockBytes + scaleByte, true));
    }
    const trits = new Int8Array(blockWeights);
    return groupScale(values, blockWeights, (block) => {
      unpackBlock(bytes, block * tq1BlockBytes, trits, 0);
      return trits.every((trit) => trit === 0);
    });
  },
  pack(trits, shape, scale) {
    const bytes = new Uint8Array(tq1.byteLength(shape));
    checkTrits(id, trits, shape);
    const view = new DataView(bytes.buffer);
    scalePerGroup(id, scale, shape, blockWeights).forEach((value, block) => {
      packBlock(trits, block * blockWeights, bytes, block * tq1BlockBytes);
      view.setUint16(block * tq1BlockBytes + scaleByte, scaleToF16(id, value), true);
    });
    return bytes;
  },
};

function unpackBlock(bytes: Uint8Array, from: number, out: Int8Array, to: number): void {
  for (const { byte, count, weight, digits } of sections) {
    for (let i = 0; i < count; i++) {
      const fields = base3Digits[bytes[from + byte + i] ?? 0] ?? 0;
      for (let digit = 0; digit < digits; digit++) {
        out[to + weight + digit * count + i] = ((fields >> (2 * digit)) & 3) - 1;
      }
    }
  }
}

function packBlock(trits: Int8Array, from: number, out: Uint8Array, to: number): void {
  for (const { byte, count, weight, digits } of sections) {
    for (let i = 0; i < count; i++) {
      let value = 0;
      for (let digit = 0; digit < 5; digit++) {
        const trit = digit < digits ? (trits[from + weight + digit * count + i] ?? 0) + 1 : 0;
        value = value * 3 + trit;
      }
      out[to + byte + i] = base3Byte(value);
    }
  }
}
