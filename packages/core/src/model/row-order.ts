/**
 * The order of the rows of q and k within a head: where the first half is rotated with the second, or neighbours with each other. Files
 * of either order hold the same weights.
 */
import type { Scale } from "../packing/packing.ts";
import type { ModelConfig } from "./model-config.ts";

type Pairing = ModelConfig["pairing"];

/** Rows that a change of pairing moves: the projections onto queries and keys. */
export function isRotated(name: string): boolean {
  return /^blk\.\d+\.attn_[qk]$/.test(name);
}

/** For each row of the result the row that it comes from. */
export function rowOrder(rows: number, headDim: number, from: Pairing, to: Pairing): Int32Array {
  const half = headDim / 2;
  return Int32Array.from({ length: rows }, (_, row) => {
    if (from === to) return row;
    const head = row - (row % headDim);
    const i = row % headDim;
    // Adjacent (2i, 2i + 1) are half (i, half + i).
    return head + (to === "adjacent" ? (i >> 1) + (i & 1) * half : 2 * (i % half) + Number(i >= half));
  });
}

/** Rows of `values` [rows, cols] in another order. */
export function reorderRows(values: Int8Array, cols: number, order: Int32Array): Int8Array {
  const out = new Int8Array(values.length);
  order.forEach((from, row) => {
    out.set(values.subarray(from * cols, (from + 1) * cols), row * cols);
  });
  return out;
}

/** Scales of a matrix with `rows` rows that come in another order. */
export function reorderScales(scale: Scale, rows: number, order: Int32Array): Scale {
  if (scale.kind === "tensor") return scale;
  const perRow = scale.values.length / rows;
  const values = new Float32Array(scale.values.length);
  order.forEach((from, row) => {
    values.set(scale.values.subarray(from * perRow, (from + 1) * perRow), row * perRow);
  });
  return { ...scale, values };
}
