/**
 * What a trainer computes with: one function per unfused operation and one per gradient, over flat buffers and sizes. The reference
 * (reference/) says what each gives, bit for bit in f32; the native kernels must give the same for any number of threads.
 *
 * Every `d…` buffer that a gradient writes is added to. Knows nothing of graphs, models or optimisers' schedules.
 */

export type Floats = Float32Array | Float64Array;

/** Columns of a product that are summed in one chain; a longer sum is a sum of such chains, in order. Rows of gradients likewise. */
export const chainLength = 256;

export type GateFn = "relu2" | "silu";
/** How master weights become those that the forward pass multiplies with; `float` leaves them. */
export type WeightForm = "b1.58" | "b1" | "float";

interface Product {
  /** [m, k], or [k, m] when `transA`. */
  a: Floats;
  /** [k, n], or [n, k] when `transB`. */
  b: Floats;
  /** [m, n] */
  out: Floats;
  m: number;
  n: number;
  k: number;
  transA?: boolean;
  transB?: boolean;
  /** Factor of every sum; with `rowDivisors` it is divided by that of the row first. */
  factor?: number;
  rowDivisors?: Floats; // [m]
  /** Every element of `a` is multiplied with 1 / that of its column first. */
  innerDivisors?: Floats; // [k]
  /** Add to `out`, chain by chain, rather than replace it. */
  adds?: boolean;
  /** `a` holds whole numbers −128 … 127 and `b` −1, 0 and 1: sums may be made of integers, which give the same bits. */
  isTernary?: boolean;
  /** Round both operands to bf16 first, for speed; without `transB`. The order within a chain is the instruction set's. */
  isBrain?: boolean;
}

/** Rows of several documents one after another; document d holds rows `starts[d] … starts[d + 1])`, and attends to itself only. */
interface AttentionShape {
  starts: Int32Array; // [nDocuments + 1]
  nHeads: number;
  nKvHeads: number;
  headDim: number;
}

export interface AttentionForward extends AttentionShape {
  q: Floats; // [rows, nHeads · headDim]
  k: Floats; // [rows, nKvHeads · headDim]
  v: Floats;
  out: Floats; // as q
  /** Highest scaled score and sum of exponentials of every row and head, for the way back. */
  stats: Floats; // [rows, nHeads, 2]
}

export interface AttentionBackward extends AttentionForward {
  dOut: Floats;
  dQ: Floats;
  dK: Floats;
  dV: Floats;
}

interface CrossEntropy {
  /** [rows, vocab]; becomes its own gradient when `scale` is given. */
  logits: Floats;
  rows: number;
  vocab: number;
  labels: Int32Array; // [rows]
  /** 0 leaves a row out. */
  weights: Floats; // [rows]
  /** −log p of each row's label, not weighted; 0 for rows left out. */
  losses: Floats; // [rows]
  /** Factor of the gradient: 1 / the weights of the whole batch. */
  scale?: number;
}

interface Dropout {
  x: Floats; // [rows, width]
  width: number;
  out: Floats; // as x
  /** A row's mask depends on these and on its number within the optimiser's step, however the step is cut. */
  seed: number;
  step: number;
  /** Which of the graph's dropouts. */
  site: number;
  firstRow: number;
  /** Share that becomes 0; the rest is divided by 1 − share. */
  share: number;
  /** Add to `out` rather than replace it. */
  adds?: boolean;
}

interface AdamwStep {
  weights: Floats;
  gradient: Floats;
  /** First and second moment. */
  m: Floats;
  v: Floats;
  rate: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** Factor of the gradient, from clipping. */
  gradientFactor: number;
  /** Counts from 1. */
  step: number;
}

export interface Kernels {
  /** For reports: `reference f64`, `native avx512bf16`. */
  readonly name: string;
  /** Whether products take `isBrain`. */
  readonly hasBrains: boolean;
  /** Zeros. */
  allocate(n: number): Floats;

  embed(table: Floats, ids: Int32Array, width: number, out: Floats): void;
  embedGradient(ids: Int32Array, dOut: Floats, width: number, dTable: Floats): void;
  /** @param r 1 / root mean square per row, for the way back. */
  rmsNorm(x: Floats, weight: Floats, eps: number, out: Floats, r: Floats): void;
  rmsNormGradient(p: {
    x: Floats;
    weight: Floats;
    r: Floats;
    dOut: Floats;
    dX: Floats;
    dWeight: Floats;
  }): void;
  /** Whole numbers −128 … 127 and the factor s of every row: q = x · s. @throws BitNetError NUMERIC_FAILURE */
  quantise(x: Floats, width: number, q: Floats, s: Floats): void;
  /** Trits, or signs, of master weights. Returns their scale. @throws BitNetError NUMERIC_FAILURE */
  formWeights(master: Floats, form: WeightForm, out: Floats): number;
  product(p: Product): void;
  /** out[i, j] = dot(a[i], b[j]) in the 16 stripes of the engine's head. a [m, k], b [n, k]. */
  stripedProduct(p: { a: Floats; b: Floats; out: Floats; m: number; n: number; k: number }): void;
  /** Rotates every head of every row, backwards when `isInverse`; in place. */
  rope(p: {
    x: Floats;
    starts: Int32Array;
    nHeads: number;
    headDim: number;
    table: Floats;
    isInverse: boolean;
  }): void;
  attention(p: AttentionForward): void;
  attentionGradient(p: AttentionBackward): void;
  gate(fn: GateFn, gate: Floats, up: Floats, out: Floats): void;
  gateGradient(p: { fn: GateFn; gate: Floats; up: Floats; dOut: Floats; dGate: Floats; dUp: Floats }): void;
  add(a: Floats, b: Floats, out: Floats): void;
  /** out = a + b · factor, each rounded; `out` may be `a`. */
  addScaled(a: Floats, b: Floats, factor: number, out: Floats): void;
  dropout(p: Dropout): void;
  crossEntropy(p: CrossEntropy): void;
  /** Sum of squares, in f64. */
  sumSquares(x: Floats): number;
  adamw(p: AdamwStep): void;
  dispose(): void;
}
