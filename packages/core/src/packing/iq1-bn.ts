/**
 * IQ1_BN (GGUF type 134 of ik_llama.cpp): a row is one f16 scale, then 64 weights per 13 bytes. Weights go in runs of 16:
 * the first 15 of run g fill bytes 3g … 3g + 2, five to a byte with the least significant digit first; the sixteenth is
 * digit g of byte 12.
 */
import { f16ToF32 } from "../base/float16.ts";
import { base3Byte, base3Digits } from "./base-three.ts";
import { checkBytes, checkRows, checkTrits, elementCount, refuseShape } from "./bounds.ts";
import type { Packing } from "./packing.ts";
import { rowScale, scalePerGroup, scaleToF16 } from "./scales.ts";

const id = "iq1_bn";
const scaleBytes = 2;
const blockBytes = 13;
const blockWeights = 64;

const rowBytes = (cols: number) => scaleBytes + (cols / blockWeights) * blockBytes;

export const iq1bn: Packing = {
  id,
  byteLength(shape) {
    elementCount(id, shape);
    if (shape.cols % blockWeights !== 0) refuseShape(id, shape, "needs columns in multiples of 64");
    return shape.rows * rowBytes(shape.cols);
  },
  unpackRows(bytes, shape, first, count, out) {
    checkBytes(id, bytes, iq1bn.byteLength(shape));
    checkRows(id, shape, first, count, out.length);
    const perRow = shape.cols / blockWeights;
    for (let block = 0; block < count * perRow; block++) {
      const row = first + Math.floor(block / perRow);
      const from = row * rowBytes(shape.cols) + scaleBytes + (block % perRow) * blockBytes;
      unpackBlock(bytes, from, out, block * blockWeights);
    }
  },
  readScale(bytes, shape) {
    const length = iq1bn.byteLength(shape);
    checkBytes(id, bytes, length);
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    const values = new Float32Array(shape.rows);
    for (let r = 0; r < shape.rows; r++) values[r] = f16ToF32(view.getUint16(r * rowBytes(shape.cols), true));
    const trits = new Int8Array(shape.cols);
    return rowScale(values, (row) => {
      iq1bn.unpackRows(bytes, shape, row, 1, trits);
      return trits.every((trit) => trit === 0);
    });
  },
  pack(trits, shape, scale) {
    const bytes = new Uint8Array(iq1bn.byteLength(shape));
    checkTrits(id, trits, shape);
    const view = new DataView(bytes.buffer);
    const perRow = shape.cols / blockWeights;
    scalePerGroup(id, scale, shape, shape.cols).forEach((value, r) => {
      const at = r * rowBytes(shape.cols);
      view.setUint16(at, scaleToF16(id, value), true);
      for (let b = 0; b < perRow; b++) {
        packBlock(trits, (r * perRow + b) * blockWeights, bytes, at + scaleBytes + b * blockBytes);
      }
    });
    return bytes;
  },
};

function unpackBlock(bytes: Uint8Array, from: number, out: Int8Array, to: number): void {
  const last = base3Digits[bytes[from + 12] ?? 0] ?? 0;
  for (let g = 0; g < 4; g++) {
    for (let k = 0; k < 3; k++) {
      const fields = base3Digits[bytes[from + 3 * g + k] ?? 0] ?? 0;
      const at = to + 16 * g + 5 * k;
      for (let j = 0; j < 5; j++) out[at + j] = ((fields >> (8 - 2 * j)) & 3) - 1;
    }
    out[to + 16 * g + 15] = ((last >> (8 - 2 * g)) & 3) - 1;
  }
}

function packBlock(trits: Int8Array, from: number, out: Uint8Array, to: number): void {
  const digit = (at: number) => (trits[from + at] ?? 0) + 1;
  let last = 0;
  for (let g = 3; g >= 0; g--) {
    for (let k = 0; k < 3; k++) {
      let value = 0;
      for (let j = 4; j >= 0; j--) value = value * 3 + digit(16 * g + 5 * k + j);
      out[to + 3 * g + k] = base3Byte(value);
    }
    last = last * 3 + digit(16 * g + 15);
  }
  out[to + 12] = base3Byte(last);
}
