/**
 * Master weights to trits (BitNet b1.58, "The Era of 1-bit LLMs", §2): m = mean |W| summed in f64 and rounded to f32,
 * T = clamp(round-half-even(W · f32(1 / max(m, 1e-5))), −1, 1). The scale that multiplies the trits is m rounded to the
 * checkpoint's own type, so that bf16 masters give the scale of the packed file. Weights that are products T · v already
 * are not masters: their mean would be v times the share of non-zeros. Binary masters ("BitNet: Scaling 1-bit Transformers", §2.1) become +1
 * where they are above their mean and else −1, with the same scale.
 */

import { BitNetError } from "../base/errors.ts";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../base/float16.ts";
import { checkRows } from "./bounds.ts";
import type { RowUnpacker } from "./compute-layout.ts";
import { denseByteLength, patternValues, widenRows } from "./dense.ts";
import { halfWords, nPatterns } from "./half-words.ts";
import type { Scale, TernaryShape } from "./packing.ts";
import { productScale } from "./products.ts";

/** Element types that master weights are stored in. */
export type MasterType = "f32" | "f16" | "bf16";

export interface Ternarised {
  scale: Scale;
  /** Whether the weights were products of trits and the scale. */
  isProduct: boolean;
  /** Ternarises rows `[first, first + count)` into `out` [count, cols]. Reads the bytes given to `ternarise`. */
  unpackRows: RowUnpacker;
}

export interface TernariseOptions {
  /** Take weights that are −v, 0 and v, and nothing else, with v of the tensor, of a row or of 128 columns, for products: T = W / v. */
  mayBeProducts?: boolean;
  /** Of binary models: two values, no zero. */
  isBinary?: boolean;
}

/** Elements widened at a time. */
const sliceElements = 2 ** 18;
/** A type of 16 bits, whose large tensors are looked up by their patterns. */
type HalfType = "f16" | "bf16";

function isLookedUp(type: MasterType, nElements: number): type is HalfType {
  return type !== "f32" && nElements > nPatterns;
}

/**
 * Finds the scale of a master tensor [rows, cols] in one pass over its bytes; its trits are made when rows are asked for,
 * so that neither f32 weights nor trits of the whole tensor ever exist.
 * @throws BitNetError FORMAT_TRUNCATED for too few bytes, NUMERIC_FAILURE when a weight is NaN or infinite.
 */
export function ternarise(
  type: MasterType,
  bytes: Uint8Array,
  shape: TernaryShape,
  { mayBeProducts = false, isBinary = false }: TernariseOptions = {},
): Ternarised {
  const nElements = shape.rows * shape.cols;
  const product = mayBeProducts ? productScale(type, bytes, shape) : null;
  const found = product ?? { kind: "tensor", value: meanMagnitude(type, bytes, nElements) };
  // Of products the sign says it all.
  const inverse =
    product === null && found.kind === "tensor"
      ? Math.fround(1 / Math.max(found.value, Math.fround(1e-5)))
      : Number.POSITIVE_INFINITY;
  const scratch = new Float32Array(Math.min(sliceElements, nElements));
  const split = isBinary && product === null ? mean(type, bytes, nElements) : null;
  const tritOf = (weight: number) => {
    if (split !== null) return weight > split ? 1 : -1;
    const x = Math.fround(weight * inverse);
    // Half goes to the even neighbour, zero; everything beyond rounds to at least one and is clamped.
    return Number(x > 0.5) - Number(x < -0.5);
  };
  let table: Int8Array | undefined;
  return {
    scale: found.kind === "tensor" ? { kind: "tensor", value: roundTo(type, found.value) } : found,
    isProduct: product !== null,
    unpackRows(first, count, out) {
      checkRows(type, shape, first, count, out.length);
      const start = first * shape.cols;
      if (isLookedUp(type, nElements)) {
        table ??= Int8Array.from(patternValues(type), tritOf);
        const words = halfWords(bytes, start, count * shape.cols);
        for (let i = 0; i < words.length; i++) out[i] = table[words[i] ?? 0] ?? 0;
        return;
      }
      forEachSlice(type, bytes, start, start + count * shape.cols, scratch, (weights, at) => {
        for (let i = 0; i < weights.length; i++) out[at - start + i] = tritOf(weights[i] ?? 0);
      });
    },
  };
}

function meanMagnitude(type: MasterType, bytes: Uint8Array, nElements: number): number {
  let sum = 0;
  if (isLookedUp(type, nElements)) {
    const magnitudes = patternValues(type); // of patterns without the sign
    for (let at = 0; at < nElements; at += sliceElements)
      sum += sumPatterns(halfWords(bytes, at, Math.min(sliceElements, nElements - at)), magnitudes);
  } else {
    const scratch = new Float32Array(Math.min(sliceElements, nElements));
    forEachSlice(type, bytes, 0, nElements, scratch, (weights) => {
      sum += sumMagnitudes(weights);
    });
  }
  if (!Number.isFinite(sum)) {
    throw new BitNetError(
      "NUMERIC_FAILURE",
      `master weights (${type}) hold NaN or infinity; the file is damaged`,
    );
  }
  return Math.fround(sum / nElements);
}

/** f32, summed as the magnitudes are. */
function mean(type: MasterType, bytes: Uint8Array, nElements: number): number {
  let sum = 0;
  const scratch = new Float32Array(Math.min(sliceElements, nElements));
  forEachSlice(type, bytes, 0, nElements, scratch, (weights) => {
    const chains = [0, 0, 0, 0];
    weights.forEach((weight, i) => {
      chains[i & 3] = (chains[i & 3] ?? 0) + weight;
    });
    const [a = 0, b = 0, c = 0, d = 0] = chains;
    sum += a + b + (c + d);
  });
  return Math.fround(sum / nElements);
}

/** Four chains, so that an addition need not wait for the one before. */
function sumMagnitudes(weights: Float32Array): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let i = 0; i < weights.length; i += 4) {
    a += Math.abs(weights[i] ?? 0);
    b += Math.abs(weights[i + 1] ?? 0);
    c += Math.abs(weights[i + 2] ?? 0);
    d += Math.abs(weights[i + 3] ?? 0);
  }
  return a + b + (c + d);
}

/** The same sum in the same order, by patterns. */
function sumPatterns(words: Uint16Array, magnitudes: Float32Array): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  const whole = words.length - (words.length % 4);
  const at = (i: number) => (i < words.length ? (magnitudes[(words[i] ?? 0) & 0x7fff] ?? 0) : 0);
  for (let i = 0; i < whole; i += 4) {
    a += magnitudes[(words[i] ?? 0) & 0x7fff] ?? 0;
    b += magnitudes[(words[i + 1] ?? 0) & 0x7fff] ?? 0;
    c += magnitudes[(words[i + 2] ?? 0) & 0x7fff] ?? 0;
    d += magnitudes[(words[i + 3] ?? 0) & 0x7fff] ?? 0;
  }
  a += at(whole);
  b += at(whole + 1);
  c += at(whole + 2);
  return a + b + (c + d);
}

/** Widens elements `[start, end)` piece by piece; `visit` gets each piece and the index of its first element. */
function forEachSlice(
  type: MasterType,
  bytes: Uint8Array,
  start: number,
  end: number,
  scratch: Float32Array,
  visit: (weights: Float32Array, at: number) => void,
): void {
  for (let at = start; at < end; at += scratch.length) {
    const count = Math.min(scratch.length, end - at);
    const slice = bytes.subarray(denseByteLength(type, at));
    widenRows(type, slice, count, 0, 1, scratch);
    visit(scratch.subarray(0, count), at);
  }
}

function roundTo(type: MasterType, value: number): number {
  if (type === "bf16") return bf16ToF32(f32ToBf16(value));
  return type === "f16" ? f16ToF32(f32ToF16(value)) : value;
}
