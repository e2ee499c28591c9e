/**
 * Recognises floats that are products T · v of trits and scales: of one for the whole tensor, as bitnet.cpp's converter writes them, of one for each
 * row, or of one for each 128 columns, as "unpacked" checkpoints of Ternary Bonsai have them. Masters are none: no run of theirs has one magnitude.
 */
import { denseByteLength, widenRows } from "./dense.ts";
import type { Scale, TernaryShape } from "./packing.ts";
import { groupScale, rowScale } from "./scales.ts";

const groupSize = 128;
/** Elements widened at a time. */
const sliceElements = 2 ** 18;

/** Null where the weights are no products, or all zero. */
export function productScale(
  type: "f32" | "f16" | "bf16",
  bytes: Uint8Array,
  { rows, cols }: TernaryShape,
): Scale | null {
  const perRow = cols % groupSize === 0 ? cols / groupSize : 0;
  const ofRows = new Float32Array(rows);
  const ofGroups = new Float32Array(rows * perRow);
  let areRows = true;
  let areGroups = perRow > 0;
  const rowBytes = denseByteLength(type, cols);
  // A short first slice: masters show two magnitudes at once.
  for (let first = 0, n = 1; first < rows; first += n, n = slice(2 * n, cols)) {
    const count = Math.min(n, rows - first);
    const weights = new Float32Array(count * cols);
    widenRows(type, bytes.subarray(first * rowBytes), cols, 0, count, weights);
    for (let r = 0; r < count; r++) {
      const row = first + r;
      for (let g = 0; areGroups && g < perRow; g++) {
        const at = r * cols + g * groupSize;
        const magnitude = singleMagnitude(weights, at, at + groupSize);
        if (magnitude === null) areGroups = false;
        ofGroups[row * perRow + g] = magnitude ?? 0;
      }
      const magnitude = areRows ? singleMagnitude(weights, r * cols, (r + 1) * cols) : null;
      if (magnitude === null) areRows = false;
      ofRows[row] = magnitude ?? 0;
      if (!areRows && !areGroups) return null;
    }
  }
  // Groups where there are any, as the packings with groups have it: the same weights are then scaled in the same order.
  const scale = areGroups
    ? groupScale(ofGroups, groupSize, (group) => ofGroups[group] === 0)
    : rowScale(ofRows, (row) => ofRows[row] === 0);
  return scale.kind === "tensor" && scale.value === 0 ? null : scale;
}

function slice(n: number, cols: number): number {
  return Math.max(1, Math.min(n, Math.floor(sliceElements / cols)));
}

/** Of all weights but zeros; 0 where there are only zeros, null where there are several or one is not finite. */
function singleMagnitude(weights: Float32Array, from: number, to: number): number | null {
  let magnitude = 0;
  for (let i = from; i < to; i++) {
    const value = Math.abs(weights[i] ?? 0);
    if (value === 0 || value === magnitude) continue;
    if (magnitude !== 0 || !(value < Number.POSITIVE_INFINITY)) return null;
    magnitude = value;
  }
  return magnitude;
}
