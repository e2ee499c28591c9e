/**
 * What a ternary packing is: a reversible map between weights in {−1, 0, +1} of one tensor `[rows, cols]` and bytes.
 * One file per packing implements it; `registry.ts` lists them. Knows nothing of files, headers or devices.
 */

/** Ternary layouts. `i2_s` is the compute layout of every backend; the others are transcoded into it at load. */
export type PackingId =
  | "i2_s"
  | "i2_s_64"
  | "i2_s_rows4"
  | "tq1_0"
  | "tq2_0"
  | "iq1_bn"
  | "iq2_bn"
  | "q1_0"
  | "q2_0"
  | "q2_0_128"
  | "pq2_0"
  | "ptq1_0"
  | "hf_u8";

/** Ordinary element types, for embeddings, heads and norms. */
export type DenseType = "f32" | "f16" | "bf16" | "q8_0" | "q6_k" | "q4_0" | "trits" | "q4_k";

/** Those that files may have: what no backend computes with is widened when it is loaded. */
export type StoredDenseType = DenseType | WidenedType;

export type WidenedType = "q4_1" | "q5_0" | "q5_1" | "q5_k";

/**
 * How stored trits become weights: `W = T · value`. A tensor has one value, or one per row, or one per group of `size`
 * consecutive columns (then `values` is [rows, cols / size] row-major).
 */
export type Scale =
  | { kind: "tensor"; value: number }
  | { kind: "row"; values: Float32Array }
  | { kind: "group"; size: number; values: Float32Array };

export interface TernaryShape {
  /** Output features. */
  rows: number;
  /** Input features. */
  cols: number;
}

export interface Packing {
  readonly id: PackingId;
  /**
   * Bytes of a whole tensor, its scale included where the layout holds it.
   * @throws BitNetError FORMAT_UNSUPPORTED, with the reason, for a shape that the layout cannot hold.
   */
  byteLength(shape: TernaryShape): number;
  /**
   * Unpacks rows `[first, first + count)` into `out` [count, cols] row-major: −1, 0, +1, and +2 for code 3 of the
   * two-bit layouts, which no valid file contains.
   */
  unpackRows(bytes: Uint8Array, shape: TernaryShape, first: number, count: number, out: Int8Array): void;
  /** The scale that the bytes hold; null where the format stores it in another tensor (`hf_u8`). */
  readScale(bytes: Uint8Array, shape: TernaryShape): Scale | null;
  /**
   * Packs a whole tensor. `trits` is [rows, cols] in {−1, 0, +1}.
   * @throws BitNetError FORMAT_UNSUPPORTED when the layout cannot hold the shape or the kind of scale.
   */
  pack(trits: Int8Array, shape: TernaryShape, scale: Scale): Uint8Array;
}
