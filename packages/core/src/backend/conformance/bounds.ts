/**
 * How far results of an operation may lie from those of the reference where they are computed with the same precision but in another order,
 * and without fusing: bounds from the usual analysis of rounding (Higham, Accuracy and Stability of Numerical Algorithms, ch. 3), with u = 2⁻²⁴. They hold for
 * one operation whose inputs are equal. docs/numerics.md lists them.
 */
import type { BufferId, Op, Program } from "../program.ts";
import type { StepView } from "../reference/reference-backend.ts";

/** Half of the last place, relative. */
const u = 2 ** -24;
/** Subnormals may count as zero. */
export const flushed = 2 ** -126;

/** What has gone through the cache so far, for attention. */
export interface KvReach {
  key: number; // the longest, in the Euclidean norm
  value: number; // the largest in magnitude
  nKeys: number;
}

export interface Bound {
  /** Relative to the expected value. */
  relative: number;
  /** Of element i of the results, in addition. */
  absolute: (i: number) => number;
}

/** Relative error of r in a norm over n elements, that of the weights included. */
export function normBound(n: number): number {
  return (n / 16 + 32) * u;
}

/** Relative error of a scale of a quantiser whose input is exact: a division of 2.5 units in the last place on either side. */
export const divisionBound = 8 * u;

/**
 * @param id The f32 buffer that the operation wrote.
 * @param most The largest magnitude among operands before and after.
 */
export function boundOf(
  op: Op,
  id: BufferId,
  view: StepView,
  { program, most, reach }: { program: Program; most: number; reach: KvReach },
): Bound {
  const tiny = () => flushed * (1 + most);
  switch (op.op) {
    case "rmsNorm":
      return { relative: normBound(view.matrix(op.weight).cols), absolute: tiny };
    case "activation":
    case "gatedActivation":
      if (op.fn === "relu2") return { relative: 0, absolute: tiny };
      // An error of u in the argument, which is at most 88 where exp is finite, becomes one of 88 u.
      return op.fn === "silu"
        ? { relative: 24 * u, absolute: tiny }
        : { relative: 24 * u + 8 * 88 * u, absolute: () => 1e-35 * (1 + most) };
    case "rope":
      return { relative: 0, absolute: () => 8 * u * most + flushed };
    case "bitLinear":
      return productBound(op, id, view, program);
    case "attention": {
      const { key, value, nKeys } = reach;
      const headDim = view.f32(op.q).length / view.nRows / op.nHeads;
      const score = 2 * (headDim + 16) * u * longest(view.f32(op.q), headDim) * key * op.scale;
      const weight = 4 * score + (nKeys + 100) * u;
      // However wrong the weights: both are means of the same values.
      return { relative: 0, absolute: () => value * Math.min(2, 2 * Math.expm1(weight)) + flushed };
    }
    case "lora": {
      const sizes = loraSizes(op, view);
      const { cols } = view.matrix(op.a);
      const factor = (cols + view.matrix(op.b).cols + 32) * u;
      return { relative: 2 * u, absolute: (i) => (sizes[i] ?? 0) * factor + flushed };
    }
    default:
      // One rounded operation for each element.
      return { relative: 0, absolute: tiny };
  }
}

/** With one scale a row nothing but the scale is rounded; else there is a sum of as many products as there are blocks. */
function productBound(
  op: Extract<Op, { op: "bitLinear" }>,
  id: BufferId,
  view: StepView,
  { buffers }: Program,
): Bound {
  const buffer = buffers[op.weights[op.outs.indexOf(id)] ?? -1];
  if (buffer?.class !== "weight" || buffer.tensor.kind !== "ternary")
    throw new RangeError("no ternary weights");
  const { scale, cols } = buffer.tensor;
  const { scales, isGrouped } = view.q8(op.x);
  if (scale.kind !== "group" && !isGrouped) return { relative: divisionBound, absolute: () => flushed };
  const largest = scale.kind === "tensor" ? scale.value : scale.values.reduce((a, b) => Math.max(a, b), 0);
  const smallest = scales.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  // A block adds at most 128 products of at most 2 · 128.
  const sum = (Math.ceil(cols / 128) * 128 * 256 * largest) / smallest;
  return { relative: divisionBound, absolute: () => sum * (cols / 128 + 16) * u };
}

/** Σ |b| · (Σ |a| · |x|) · scale for each element of y, which the rounding of either sum is relative to. */
function loraSizes(op: Extract<Op, { op: "lora" }>, view: StepView): Float64Array {
  const [x, a, b] = [view.f32(op.x), view.matrix(op.a), view.matrix(op.b)];
  const sizes = new Float64Array(view.nRows * b.rows);
  for (let row = 0; row < view.nRows; row++) {
    const hidden = absoluteProduct(a, x.subarray(row * a.cols, (row + 1) * a.cols));
    sizes.set(
      absoluteProduct(b, hidden).map((size) => size * op.scale),
      row * b.rows,
    );
  }
  return sizes;
}

/** Σ |w| · |x| for each row of a matrix. */
function absoluteProduct(
  { values, rows, cols }: { values: Float32Array; rows: number; cols: number },
  x: ArrayLike<number>,
): Float64Array {
  return Float64Array.from({ length: rows }, (_, r) => {
    let sum = 0;
    for (let k = 0; k < cols; k++) sum += Math.abs((values[r * cols + k] ?? 0) * (x[k] ?? 0));
    return sum;
  });
}

/** The longest of the vectors of `width` elements, one behind the other. */
export function longest(values: Float32Array, width: number): number {
  let most = 0;
  for (let at = 0; at < values.length; at += width) {
    let sum = 0;
    for (let i = at; i < at + width; i++) sum += (values[i] ?? 0) ** 2;
    most = Math.max(most, Math.sqrt(sum));
  }
  return most;
}

/** For logits: that of the state and that of the product, for each row of the table. */
export function logitBounds(
  table: { values: Float32Array; rows: number; cols: number },
  state: Float32Array,
): Float64Array {
  const factor = (table.cols + 16) * u * 2 + normBound(table.cols);
  return absoluteProduct(table, state).map((size) => size * factor + flushed);
}
