import { describe, expect, test } from "vitest";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../base/float16.ts";
import { widenRows } from "./dense.ts";
import type { Scale } from "./packing.ts";
import { type MasterType, type TernariseOptions, ternarise } from "./ternarise.ts";

const stored: Record<MasterType, { bytes: number; write: (v: DataView, i: number, x: number) => void }> = {
  f32: { bytes: 4, write: (v, i, x) => v.setFloat32(4 * i, x, true) },
  f16: { bytes: 2, write: (v, i, x) => v.setUint16(2 * i, f32ToF16(x), true) },
  bf16: { bytes: 2, write: (v, i, x) => v.setUint16(2 * i, f32ToBf16(x), true) },
};

function bytesOf(type: MasterType, weights: ArrayLike<number>): Uint8Array {
  const view = new DataView(new ArrayBuffer(weights.length * stored[type].bytes));
  for (let i = 0; i < weights.length; i++) stored[type].write(view, i, weights[i] ?? 0);
  return new Uint8Array(view.buffer);
}

function trits(type: MasterType, weights: ArrayLike<number>, rows: number, options: TernariseOptions = {}) {
  const shape = { rows, cols: weights.length / rows };
  const ternarised = ternarise(type, bytesOf(type, weights), shape, options);
  const out = new Int8Array(weights.length);
  ternarised.unpackRows(0, rows, out);
  return { scale: tensorValue(ternarised.scale), trits: Array.from(out) };
}

function tensorValue(scale: Scale): number {
  if (scale.kind !== "tensor") throw new Error(`one scale was expected, found one for each ${scale.kind}`);
  return scale.value;
}

describe.each(["f32", "f16", "bf16"] as const)("%s", (type) => {
  test("rounds half to even against the mean magnitude", () => {
    // Mean magnitude 1: the trits are the weights rounded, halves to zero.
    const weights = [0.5, -0.5, 0.50390625, -0.50390625, 1.5, -2.5, 2, 0, -0, 0.25, 3.5, -0.2421875];
    const sum = weights.reduce((total, w) => total + Math.abs(w), 0);
    expect(sum).toBe(12);
    expect(trits(type, weights, 2)).toEqual({ scale: 1, trits: [0, 0, 1, -1, 1, -1, 1, 0, 0, 0, 1, 0] });
  });

  test("the scale is rounded to the checkpoint's type", () => {
    const { scale } = trits(type, [1, 1, 0], 1);
    const mean = Math.fround(2 / 3);
    const expected = { f32: mean, f16: f16ToF32(f32ToF16(mean)), bf16: bf16ToF32(f32ToBf16(mean)) };
    expect(scale).toBe(expected[type]);
  });

  test("binary masters are told by their own mean, and have the scale of their magnitude", () => {
    // Mean 0.5, mean magnitude 1: what lies at or below the mean is −1.
    const weights = [2, 0.5, 1, -0.5, -0.5, 0.5, 1, 0, 2.5, -1, 1.5, -1];
    expect(trits(type, weights, 2, { isBinary: true })).toEqual({
      scale: 1,
      trits: [1, -1, 1, -1, -1, -1, 1, -1, 1, -1, 1, -1],
    });
  });

  test("a tensor of zeros gives zeros and scale zero", () => {
    expect(trits(type, new Float32Array(6), 2)).toEqual({ scale: 0, trits: [0, 0, 0, 0, 0, 0] });
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])("%s among the weights is refused", (bad) => {
    expect(() => trits(type, [1, bad, 2, 3], 1)).toThrow(/NaN or infinity/);
  });

  test("products of trits and a scale are told from masters where they may be", () => {
    const products = [0.375, -0.375, 0, 0.375, -0, 0, -0.375, 0.375, 0, 0];
    const exact = { scale: 0.375, trits: [1, -1, 0, 1, 0, 0, -1, 1, 0, 0] };
    expect(trits(type, products, 2, { mayBeProducts: true })).toEqual(exact);
    expect(trits(type, products, 2)).toEqual({ ...exact, scale: 0.1875 });
    // One other magnitude anywhere, and they are masters.
    for (const at of [0, 4, 40]) {
      const masters = Array.from({ length: 50 }, (_, i) => (i === at ? 0.5 : i % 2 === 0 ? 0.375 : -0.375));
      expect(trits(type, masters, 5, { mayBeProducts: true })).toEqual(trits(type, masters, 5));
    }
    const zeros = new Float32Array(20);
    expect(trits(type, zeros, 2, { mayBeProducts: true })).toEqual(trits(type, zeros, 2));
  });

  test("products too small for masters keep their trits", () => {
    const small = type === "f16" ? 2 ** -24 : 2 ** -126;
    const found = trits(type, [small, 0, -small, 0], 1, { mayBeProducts: true });
    expect(found).toEqual({ scale: small, trits: [1, 0, -1, 0] });
  });

  test("products may have a magnitude for each row, or for each 128 columns", () => {
    const options = { mayBeProducts: true };
    const inRows = Float32Array.from({ length: 30 }, (_, i) => ((i % 3) - 1) * (i < 20 ? 0.5 : 0.25));
    const rows = ternarise(type, bytesOf(type, inRows), { rows: 3, cols: 10 }, options);
    expect(rows).toMatchObject({
      isProduct: true,
      scale: { kind: "row", values: Float32Array.of(0.5, 0.5, 0.25) },
    });
    const scales = [0.5, 0.25, 2, 0, 0.5, 1]; // a group of zeros
    const shape = { rows: 2, cols: 384 };
    const inGroups = Float32Array.from({ length: 768 }, (_, i) => ((i % 3) - 1) * (scales[i >> 7] ?? 0));
    const groups = ternarise(type, bytesOf(type, inGroups), shape, options);
    expect(groups.scale).toEqual({ kind: "group", size: 128, values: Float32Array.from(scales) });
    const out = new Int8Array(768);
    groups.unpackRows(0, 2, out);
    expect(out).toEqual(Int8Array.from(inGroups, Math.sign));
    inGroups[700] = 3;
    expect(ternarise(type, bytesOf(type, inGroups), shape, options).isProduct).toBe(false);
    inGroups[700] = Number.NaN;
    expect(() => ternarise(type, bytesOf(type, inGroups), shape, options)).toThrow(/NaN/);
  });

  test("too few bytes are refused", () => {
    expect(() => ternarise(type, bytesOf(type, [1, 2, 3]), { rows: 2, cols: 2 })).toThrow(/found/);
  });
});

test.each(["f16", "bf16"] as const)("large tensors in %s give what small ones give", (type) => {
  const cols = 257;
  const weights = Float32Array.from(
    { length: 300 * cols },
    (_, i) => ((Math.imul(i + 1, 0x9e3779b1) >>> 8) / 2 ** 24 - 0.5) * 0.1,
  );
  for (const options of [{}, { isBinary: true }]) {
    const whole = ternarise(type, bytesOf(type, weights), { rows: 300, cols }, options);
    const out = new Int8Array(7 * cols);
    whole.unpackRows(113, 7, out);
    const stored = new Float32Array(7 * cols);
    widenRows(type, bytesOf(type, weights.subarray(113 * cols, 120 * cols)), cols, 0, 7, stored);
    const mean = weights.length;
    const all = new Float32Array(mean);
    widenRows(type, bytesOf(type, weights), mean, 0, 1, all);
    const middle = Math.fround(all.reduce((sum, w) => sum + w, 0) / mean);
    const magnitude = Math.fround(all.reduce((sum, w) => sum + Math.abs(w), 0) / mean);
    const expected = Int8Array.from(stored, (w) => {
      if ("isBinary" in options) return w > middle ? 1 : -1;
      const x = Math.fround(w * Math.fround(1 / magnitude));
      return x > 0.5 ? 1 : x < -0.5 ? -1 : 0;
    });
    expect(out).toEqual(expected);
    // Off their alignment the same bytes are read another way.
    const moved = new Uint8Array(2 * weights.length + 1);
    moved.set(bytesOf(type, weights), 1);
    const unaligned = ternarise(type, moved.subarray(1), { rows: 300, cols }, options);
    const again = new Int8Array(7 * cols);
    unaligned.unpackRows(113, 7, again);
    expect([unaligned.scale, again]).toEqual([whole.scale, out]);
    // The sum in four chains over runs of 2^18, as small tensors and f32 have it.
    const widened = ternarise("f32", bytesOf("f32", all), { rows: 300, cols }, options);
    const rounded = (value: number) =>
      type === "bf16" ? bf16ToF32(f32ToBf16(value)) : f16ToF32(f32ToF16(value));
    expect(tensorValue(whole.scale)).toBe(rounded(tensorValue(widened.scale)));
  }
});

test.each(["f16", "bf16"] as const)("the last weights of a large tensor in %s count", (type) => {
  for (const rows of [257, 259, 261, 263]) {
    const cols = 301;
    const weights = new Float32Array(rows * cols);
    for (let last = 1; last <= 4; last++) weights[weights.length - last] = 1024 * last;
    const { scale } = ternarise(type, bytesOf(type, weights), { rows, cols });
    const mean = Math.fround(10240 / (rows * cols));
    expect(tensorValue(scale)).toBe(type === "bf16" ? bf16ToF32(f32ToBf16(mean)) : f16ToF32(f32ToF16(mean)));
  }
});

test("tensors of several slices and runs of rows give what single elements give", () => {
  const shape = { rows: 300, cols: 1001 };
  const weights = Float32Array.from(
    { length: shape.rows * shape.cols },
    (_, i) => ((Math.imul(i + 1, 0x9e3779b1) >>> 8) / 2 ** 24 - 0.5) * 0.1,
  );
  const ternarised = ternarise("f32", bytesOf("f32", weights), shape);
  const mean = Math.fround(weights.reduce((sum, w) => sum + Math.abs(w), 0) / weights.length);
  expect(tensorValue(ternarised.scale)).toBe(mean);
  const inverse = Math.fround(1 / mean);
  const expected = Int8Array.from(weights, (w) => {
    const x = Math.fround(w * inverse);
    return x >= 1 ? 1 : x <= -1 ? -1 : Math.round(Math.abs(x) - 2 ** -40) * Math.sign(x);
  });
  const out = new Int8Array(weights.length);
  ternarised.unpackRows(0, shape.rows, out);
  expect(out.findIndex((trit, i) => trit !== expected[i])).toBe(-1);
  const part = new Int8Array(7 * shape.cols);
  ternarised.unpackRows(113, 7, part);
  expect(part.findIndex((trit, i) => trit !== expected[113 * shape.cols + i])).toBe(-1);
  expect(() => ternarised.unpackRows(299, 2, part)).toThrow(/but the tensor has 300/);
});
