/**
 * f32 rows to ordinary element types: rounding to half-width floats, and the block quantisers of llama.cpp for Q8_0, Q4_0 and Q6_K.
 * Knows nothing of names or files.
 */
import { BitNetError } from "../base/errors.ts";
import { f16ToF32, f32ToBf16, f32ToF16 } from "../base/float16.ts";
import { denseByteLength } from "./dense.ts";
import type { DenseType } from "./packing.ts";

/**
 * Encodes consecutive f32 values, whole blocks of them.
 * @throws BitNetError FORMAT_UNSUPPORTED when they do not fill blocks, or a value is beyond f16.
 */
export function encodeDense(type: DenseType, values: Float32Array): Uint8Array {
  const out = new Uint8Array(denseByteLength(type, values.length));
  encoders[type](values, out, new DataView(out.buffer));
  return out;
}

type Encoder = (values: Float32Array, out: Uint8Array, view: DataView) => void;

const encoders: Readonly<Record<DenseType, Encoder>> = {
  f32(values, _, view) {
    values.forEach((value, i) => {
      view.setFloat32(4 * i, value, true);
    });
  },
  f16(values, _, view) {
    values.forEach((value, i) => {
      view.setUint16(2 * i, halfOf(value), true);
    });
  },
  bf16(values, _, view) {
    values.forEach((value, i) => {
      view.setUint16(2 * i, f32ToBf16(value), true);
    });
  },
  q8_0: encodeQ8,
  q4_0: encodeQ4,
  q6_k: encodeQ6,
  trits: refuse,
  q4_k: refuse,
};

/** Types that are read and not written: trits come from packings, Q4_K from llama-quantize. */
function refuse(): never {
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    "tables in trits or Q4_K are read here, not written; choose another type",
  );
}

function halfOf(value: number): number {
  const bits = f32ToF16(value);
  if (Number.isFinite(value) && !Number.isFinite(f16ToF32(bits)))
    throw new BitNetError("FORMAT_UNSUPPORTED", `f16: ${value} does not fit (at most 65504); use bf16`);
  return bits;
}

/** d = absmax / 127; halves are rounded away from zero. */
function encodeQ8(values: Float32Array, _: Uint8Array, view: DataView): void {
  for (let from = 0, at = 0; from < values.length; from += 32, at += 34) {
    const d = Math.fround(Math.abs(extreme(values, from, 32)) / 127);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    view.setUint16(at, halfOf(d), true);
    for (let j = 0; j < 32; j++) {
      const x = Math.fround((values[from + j] ?? 0) * inverse);
      view.setInt8(at + 2 + j, Math.sign(x) * Math.floor(Math.abs(x) + 0.5));
    }
  }
}

/** d = (the value of largest magnitude) / −8, so that it takes code 0; the others are rounded up at halves. */
function encodeQ4(values: Float32Array, out: Uint8Array, view: DataView): void {
  for (let from = 0, at = 0; from < values.length; from += 32, at += 18) {
    const d = Math.fround(extreme(values, from, 32) / -8);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    const code = (i: number) =>
      Math.min(15, Math.floor(Math.fround(Math.fround((values[from + i] ?? 0) * inverse) + 8.5)));
    view.setUint16(at, halfOf(d), true);
    for (let j = 0; j < 16; j++) out[at + 2 + j] = code(j) | (code(16 + j) << 4);
  }
}

/** The value of largest magnitude, the first of equals. */
function extreme(values: Float32Array, from: number, count: number): number {
  let found = 0;
  for (let i = from; i < from + count; i++) {
    const value = values[i] ?? 0;
    if (Math.abs(value) > Math.abs(found)) found = value;
  }
  return found;
}

/** Sixteen groups of sixteen: a scale each by search, those as int8 of the largest one, then the codes anew. Layout: dense.ts. */
function encodeQ6(values: Float32Array, out: Uint8Array, view: DataView): void {
  const scales = new Float32Array(16);
  for (let from = 0, at = 0; from < values.length; from += 256, at += 210) {
    for (let group = 0; group < 16; group++) scales[group] = searchScale(values, from + 16 * group);
    const largest = extreme(scales, 0, 16);
    if (Math.abs(largest) < 1e-15) {
      writeQ6Codes(out, at, () => 0);
      continue;
    }
    const inverse = -128 / largest;
    view.setUint16(at + 208, halfOf(Math.fround(1 / inverse)), true);
    const d = f16ToF32(view.getUint16(at + 208, true));
    for (let group = 0; group < 16; group++)
      view.setInt8(at + 192 + group, Math.min(127, nearest(inverse * (scales[group] ?? 0))));
    writeQ6Codes(out, at, (i) => {
      const step = d * view.getInt8(at + 192 + (i >> 4));
      return step === 0 ? 0 : clamp(nearest((values[from + i] ?? 0) / step), -32, 31);
    });
  }
}

function writeQ6Codes(out: Uint8Array, at: number, codeOf: (i: number) => number): void {
  out.fill(0, at, at + 192);
  for (let i = 0; i < 256; i++) {
    const code = codeOf(i) + 32;
    const [half, k, l] = [i >> 7, (i >> 5) & 3, i & 31];
    const low = at + 64 * half + 32 * (k % 2) + l;
    const high = at + 128 + 32 * half + l;
    out[low] = (out[low] ?? 0) | ((code & 15) << (k < 2 ? 0 : 4));
    out[high] = (out[high] ?? 0) | ((code >> 4) << (2 * k));
  }
}

/** The scale whose six-bit codes leave the smallest squared error weighted by x², among nineteen around the obvious one. */
function searchScale(values: Float32Array, from: number): number {
  const largest = extreme(values, from, 16);
  if (Math.abs(largest) < 1e-15) return 0;
  let best = 0;
  let bestScale = 0;
  for (const shift of [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
    const inverse = -(32 + 0.1 * shift) / largest;
    let sumProducts = 0;
    let sumSquares = 0;
    for (let i = from; i < from + 16; i++) {
      const x = values[i] ?? 0;
      const code = clamp(nearest(inverse * x), -32, 31);
      sumProducts += x * x * x * code;
      sumSquares += x * x * code * code;
    }
    if (sumSquares > 0 && sumProducts * sumProducts > best * sumSquares) {
      bestScale = sumProducts / sumSquares;
      best = bestScale * sumProducts;
    }
  }
  return bestScale;
}

/** Halves to even. */
function nearest(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

function clamp(x: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, x));
}
