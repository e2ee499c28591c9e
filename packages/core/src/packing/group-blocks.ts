/**
 * Packings whose rows are runs of equal blocks, each with its weights and one f16 scale. A layout says how one block lies; everything
 * around it, checks and scales, is here. (TQ1_0 and TQ2_0 are of the same kind, with fast paths of their own.)
 */
import { f16ToF32 } from "../base/float16.ts";
import { checkBytes, checkRows, checkTrits, elementCount, refuseShape } from "./bounds.ts";
import type { Packing, PackingId } from "./packing.ts";
import { groupScale, scalePerGroup, scaleToF16 } from "./scales.ts";

export interface GroupBlock {
  /** Weights of a block. */
  weights: number;
  /** Bytes of a block, its scale included. */
  bytes: number;
  /** Where in the block its scale lies. */
  scaleByte: number;
  /** Unpacks the block at `bytes[from]` to `out[to]`: −1, 0, +1, and +2 for a code that no ternary file contains. */
  unpack(bytes: Uint8Array, from: number, out: Int8Array, to: number): void;
  /** Packs the block at `trits[from]` to `out[to]`, where the bytes are zero. */
  pack(trits: Int8Array, from: number, out: Uint8Array, to: number): void;
}

export function groupBlockPacking(id: PackingId, block: GroupBlock): Packing {
  const { weights, bytes: blockBytes, scaleByte } = block;
  const packing: Packing = {
    id,
    byteLength(shape) {
      const n = elementCount(id, shape);
      if (shape.cols % weights !== 0) refuseShape(id, shape, `needs columns in multiples of ${weights}`);
      return (n / weights) * blockBytes;
    },
    unpackRows(bytes, shape, first, count, out) {
      checkBytes(id, bytes, packing.byteLength(shape));
      checkRows(id, shape, first, count, out.length);
      const perRow = shape.cols / weights;
      for (let i = 0; i < count * perRow; i++)
        block.unpack(bytes, (first * perRow + i) * blockBytes, out, i * weights);
    },
    readScale(bytes, shape) {
      const length = packing.byteLength(shape);
      checkBytes(id, bytes, length);
      const view = new DataView(bytes.buffer, bytes.byteOffset, length);
      const values = new Float32Array(length / blockBytes);
      for (let i = 0; i < values.length; i++)
        values[i] = f16ToF32(view.getUint16(i * blockBytes + scaleByte, true));
      const trits = new Int8Array(weights);
      return groupScale(values, weights, (i) => {
        block.unpack(bytes, i * blockBytes, trits, 0);
        return trits.every((trit) => trit === 0);
      });
    },
    pack(trits, shape, scale) {
      const bytes = new Uint8Array(packing.byteLength(shape));
      checkTrits(id, trits, shape);
      const view = new DataView(bytes.buffer);
      scalePerGroup(id, scale, shape, weights).forEach((value, i) => {
        block.pack(trits, i * weights, bytes, i * blockBytes);
        view.setUint16(i * blockBytes + scaleByte, scaleToF16(id, value), true);
      });
      return bytes;
    },
  };
  return packing;
}
