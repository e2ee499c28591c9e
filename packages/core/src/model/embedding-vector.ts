/**
 * What becomes of a pooled state (docs/numerics.md, "pooling"): dense layers, fewer dimensions, length 1, fewer bits. Sums run in f64 in
 * ascending order and are rounded once. Knows nothing of models.
 */
import { roundTiesToEven } from "../base/elementary.ts";
import { BitNetError } from "../base/errors.ts";

/** y = W x + bias, W [rows, cols] row-major. */
export interface DenseLayer {
  readonly rows: number;
  readonly cols: number;
  readonly weight: Float32Array;
  readonly bias: Float32Array | null;
}

export function applyDense({ rows, cols, weight, bias }: DenseLayer, x: Float32Array): Float32Array {
  return Float32Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < cols; i++) sum += (weight[row * cols + i] as number) * (x[i] as number);
    return sum + (bias?.[row] ?? 0);
  });
}

/** Of length 1; zeros stay zeros. */
export function normalized(x: Float32Array): Float32Array {
  const length = Math.sqrt(sumOfProducts(x, x));
  return length === 0 ? x : x.map((value) => value / length);
}

/** v ≈ values · scale with scale = max|v| / 127. */
export function toInt8(x: Float32Array): { values: Int8Array; scale: number } {
  const most = x.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const steps = most === 0 ? 0 : 127 / most;
  return {
    values: Int8Array.from(x, (value) => roundTiesToEven(value * steps)),
    scale: Math.fround(most / 127),
  };
}

/** A bit for each value, set where it is above 0; the first of eight is the highest of its byte. */
export function toBits(x: Float32Array): Uint8Array {
  const bits = new Uint8Array(x.length / 8);
  for (const [i, value] of x.entries())
    if (value > 0) bits[i >> 3] = (bits[i >> 3] as number) | (128 >> (i & 7));
  return bits;
}

/**
 * The cosine of the angle between two embeddings, from −1 to 1; 0 where one is all zeros. Uint8Arrays are taken as `toBits` makes them:
 * a set bit is 1, a clear one −1.
 * @throws BitNetError INVALID_ARGUMENT for vectors of different lengths or kinds.
 */
export function cosineSimilarity(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const isBinary = a instanceof Uint8Array;
  if (a.length !== b.length || a.length === 0 || isBinary !== b instanceof Uint8Array)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `cosine: expected two embeddings of one kind and length, found lengths ${a.length} and ${b.length}`,
    );
  if (isBinary) {
    let different = 0;
    for (let i = 0; i < a.length; i++)
      for (let bits = (a[i] ?? 0) ^ (b[i] ?? 0); bits !== 0; bits &= bits - 1) different++;
    return 1 - different / (4 * a.length);
  }
  const lengths = Math.sqrt(sumOfProducts(a, a)) * Math.sqrt(sumOfProducts(b, b));
  if (lengths === 0) return 0;
  return Math.min(1, Math.max(-1, sumOfProducts(a, b) / lengths));
}

function sumOfProducts(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}
