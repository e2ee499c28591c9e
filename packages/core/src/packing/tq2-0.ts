/**
 * TQ2_0 (GGUF type 35): 256 weights in 66 bytes: qs[64], f16 scale. Each half of qs is a block of 128 weights in 32 bytes,
 * byte p holds weights p, 32 + p, 64 + p, 96 + p, low bits first (I2_S has the high bits first). Source: llama.cpp.
 */
import { f16ToF32 } from "../base/float16.ts";
import { checkBytes, checkRows, checkTrits, elementCount, refuseShape } from "./bounds.ts";
import type { Packing, TernaryShape } from "./packing.ts";
import { groupScale, scalePerGroup, scaleToF16 } from "./scales.ts";
import { packTwoBit, reversedFields, type TwoBitLayout, unpackTwoBit } from "./two-bit.ts";

const id = "tq2_0";
const blockWeights = 256;
export const tq2BlockBytes = 66;
const scaleByte = 64;
/** Four weights of zero. */
const allZeros = 0b01010101;
const layout: TwoBitLayout = { lanes: 32, highFirst: false };

export const tq2: Packing = {
  id,
  byteLength(shape) {
    const n = elementCount(id, shape);
    if (shape.cols % blockWeights !== 0) refuseShape(id, shape, "needs columns in multiples of 256");
    return (n / blockWeights) * tq2BlockBytes;
  },
  unpackRows(bytes, shape, first, count, out) {
    checkBytes(id, bytes, tq2.byteLength(shape));
    checkRows(id, shape, first, count, out.length);
    const perRow = shape.cols / blockWeights;
    for (let block = 0; block < count * perRow; block++) {
      const from = (first * perRow + block) * tq2BlockBytes;
      const to = block * blockWeights;
      unpackTwoBit(bytes.subarray(from, from + scaleByte), layout, 0, out.subarray(to, to + blockWeights));
    }
  },
  readScale(bytes, shape) {
    const length = tq2.byteLength(shape);
    checkBytes(id, bytes, length);
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    const values = new Float32Array(length / tq2BlockBytes);
    for (let block = 0; block < values.length; block++) {
      values[block] = f16ToF32(view.getUint16(block * tq2BlockBytes + scaleByte, true));
    }
    return groupScale(values, blockWeights, (block) => {
      const from = block * tq2BlockBytes;
      return bytes.subarray(from, from + scaleByte).every((byte) => byte === allZeros);
    });
  },
  pack(trits, shape, scale) {
    const bytes = new Uint8Array(tq2.byteLength(shape));
    checkTrits(id, trits, shape);
    const view = new DataView(bytes.buffer);
    scalePerGroup(id, scale, shape, blockWeights).forEach((value, block) => {
      const to = block * tq2BlockBytes;
      const from = block * blockWeights;
      packTwoBit(trits.subarray(from, from + blockWeights), layout, 0, bytes.subarray(to, to + scaleByte));
      view.setUint16(to + scaleByte, scaleToF16(id, value), true);
    });
    return bytes;
  },
};

/**
 * A tensor with one scale from its rows in the compute layout, whose blocks have their fields in the reverse order, without its trits in between.
 * @throws BitNetError FORMAT_UNSUPPORTED as `pack`.
 */
export function tq2FromComputeRows(rows: Uint8Array, shape: TernaryShape, scale: number): Uint8Array {
  const bytes = new Uint8Array(tq2.byteLength(shape));
  const view = new DataView(bytes.buffer);
  const bits = scaleToF16(id, scale);
  for (let from = 0, to = 0; to < bytes.length; from += scaleByte, to += tq2BlockBytes) {
    for (let p = 0; p < scaleByte; p++) bytes[to + p] = reversedFields[rows[from + p] ?? 0] ?? 0;
    view.setUint16(to + scaleByte, bits, true);
  }
  return bytes;
}
