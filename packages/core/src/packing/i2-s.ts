/**
 * I2_S (GGUF type 36): 128 weights per 32-byte block, byte p holds weights p, 32 + p, 64 + p, 96 + p, high bits first.
 * The tensor is one flat run of weights, so that rows start inside a block where cols is not a multiple of 128. After the
 * n/4 bytes of weights stands one f32 scale and 28 bytes without meaning, written as zeros. Source: bitnet.cpp.
 */
import { checkBytes, checkRows, checkTrits, elementCount, refuseShape } from "./bounds.ts";
import type { Packing, PackingId } from "./packing.ts";
import { tensorScaleValue } from "./scales.ts";
import { packTwoBit, type TwoBitLayout, unpackTwoBit } from "./two-bit.ts";

/** The f32 scale and the undefined bytes behind it. */
export const i2sTailBytes = 32;

/** An I2_S packing with blocks of 4 · `lanes` weights. */
export function i2sPacking(id: PackingId, lanes: number): Packing {
  const layout: TwoBitLayout = { lanes, highFirst: true };
  const packing: Packing = {
    id,
    byteLength(shape) {
      const n = elementCount(id, shape);
      if (n % (4 * lanes) !== 0) refuseShape(id, shape, `does not fill blocks of ${4 * lanes} weights`);
      return n / 4 + i2sTailBytes;
    },
    unpackRows(bytes, shape, first, count, out) {
      checkBytes(id, bytes, packing.byteLength(shape));
      checkRows(id, shape, first, count, out.length);
      unpackTwoBit(bytes, layout, first * shape.cols, out.subarray(0, count * shape.cols));
    },
    readScale(bytes, shape) {
      const length = packing.byteLength(shape);
      checkBytes(id, bytes, length);
      return { kind: "tensor", value: readI2sScale(bytes, length) };
    },
    pack(trits, shape, scale) {
      const bytes = new Uint8Array(packing.byteLength(shape));
      checkTrits(id, trits, shape);
      writeI2sScale(bytes, tensorScaleValue(id, scale));
      packTwoBit(trits, layout, 0, bytes);
      return bytes;
    },
  };
  return packing;
}

/** Reads the scale of a tensor of `length` bytes, its tail included. */
export function readI2sScale(bytes: Uint8Array, length: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, length).getFloat32(length - i2sTailBytes, true);
}

/** Writes the scale in front of the tail's undefined bytes. */
export function writeI2sScale(bytes: Uint8Array, scale: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setFloat32(bytes.byteLength - i2sTailBytes, scale, true);
}

export const i2s = i2sPacking("i2_s", 32);
