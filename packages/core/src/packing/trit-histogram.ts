/** Counts the weights of a packed tensor by value, to show that a file is what it claims to be. */
import { checkBytes } from "./bounds.ts";
import type { PackingId, TernaryShape } from "./packing.ts";
import { packings } from "./registry.ts";

export interface TritHistogram {
  minus: number;
  zero: number;
  plus: number;
  /** Code 3 of the two-bit layouts, which no valid file contains. */
  invalid: number;
}

/** Trits unpacked at a time, unless a single row has more. */
const sliceTrits = 2 ** 20;

/**
 * Counts the weights of a tensor's packed bytes [rows, cols].
 * @throws BitNetError FORMAT_UNSUPPORTED for a shape that the packing cannot hold, FORMAT_TRUNCATED for too few bytes.
 */
export function tritHistogram(id: PackingId, bytes: Uint8Array, shape: TernaryShape): TritHistogram {
  const packing = packings[id];
  checkBytes(id, bytes, packing.byteLength(shape));
  const step = Math.min(shape.rows, Math.max(1, Math.floor(sliceTrits / shape.cols)));
  const trits = new Int8Array(step * shape.cols);
  const counts = new Float64Array(4); // by trit + 1
  for (let first = 0; first < shape.rows; first += step) {
    const count = Math.min(step, shape.rows - first);
    packing.unpackRows(bytes, shape, first, count, trits);
    for (let i = 0; i < count * shape.cols; i++) {
      const code = (trits[i] ?? 0) + 1;
      counts[code] = (counts[code] ?? 0) + 1;
    }
  }
  const [minus = 0, zero = 0, plus = 0, invalid = 0] = counts;
  return { minus, zero, plus, invalid };
}
