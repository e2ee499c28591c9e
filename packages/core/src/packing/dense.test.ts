import { describe, expect, test } from "vitest";
import { bf16ToF32, f16ToF32 } from "../base/float16.ts";
import { denseByteLength, widenRows } from "./dense.ts";
import type { StoredDenseType } from "./packing.ts";

function randomBytes(n: number): Uint8Array {
  return Uint8Array.from({ length: n }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 15);
}

/** Element e of a run, by the formats' definitions in exact arithmetic, rounded once. */
const definitions: Record<StoredDenseType, (view: DataView, e: number) => number> = {
  f32: (v, e) => v.getFloat32(4 * e, true),
  f16: (v, e) => f16ToF32(v.getUint16(2 * e, true)),
  bf16: (v, e) => bf16ToF32(v.getUint16(2 * e, true)),
  q8_0: (v, e) => f16ToF32(v.getUint16(34 * (e >> 5), true)) * v.getInt8(34 * (e >> 5) + 2 + (e % 32)),
  q4_0(v, e) {
    const at = 18 * (e >> 5);
    const pair = v.getUint8(at + 2 + (e % 16));
    return f16ToF32(v.getUint16(at, true)) * ((e % 32 < 16 ? pair % 16 : pair >> 4) - 8);
  },
  q6_k(v, e) {
    const at = 210 * (e >> 8);
    const [half, k, l] = [(e >> 7) % 2, (e >> 5) % 4, e % 32];
    const low = (v.getUint8(at + 64 * half + 32 * (k % 2) + l) >> (k >= 2 ? 4 : 0)) % 16;
    const high = (v.getUint8(at + 128 + 32 * half + l) >> (2 * k)) % 4;
    const sub = v.getInt8(at + 192 + Math.floor((e % 256) / 16));
    return f16ToF32(v.getUint16(at + 208, true)) * sub * (low + 16 * high - 32);
  },
  trits(v, e) {
    const at = 34 * (e >> 7);
    return (
      f16ToF32(v.getUint16(at, true)) * (((v.getUint8(at + 2 + ((e % 128) >> 2)) >> (2 * (e % 4))) % 4) - 1)
    );
  },
  q4_k(v, e) {
    const at = 144 * (e >> 8);
    const run = (e >> 5) % 8;
    const packed = (i: number) => v.getUint8(at + 4 + i);
    const scale = run < 4 ? packed(run) % 64 : (packed(run + 4) % 16) + 16 * (packed(run - 4) >> 6);
    const least = run < 4 ? packed(run + 4) % 64 : (packed(run + 4) >> 4) + 16 * (packed(run) >> 6);
    const byte = v.getUint8(at + 16 + 32 * Math.floor(run / 2) + (e % 32));
    const q = run % 2 === 0 ? byte % 16 : byte >> 4;
    return f16ToF32(v.getUint16(at, true)) * scale * q - f16ToF32(v.getUint16(at + 2, true)) * least;
  },
  q4_1(v, e) {
    const at = 20 * (e >> 5);
    const pair = v.getUint8(at + 4 + (e % 16));
    const q = e % 32 < 16 ? pair % 16 : pair >> 4;
    return f16ToF32(v.getUint16(at, true)) * q + f16ToF32(v.getUint16(at + 2, true));
  },
  q5_0(v, e) {
    const at = 22 * (e >> 5);
    const pair = v.getUint8(at + 6 + (e % 16));
    const fifth = Math.floor(v.getUint8(at + 2 + ((e % 32) >> 3)) / 2 ** (e % 8)) % 2;
    return f16ToF32(v.getUint16(at, true)) * ((e % 32 < 16 ? pair % 16 : pair >> 4) + 16 * fifth - 16);
  },
  q5_1(v, e) {
    const at = 24 * (e >> 5);
    const pair = v.getUint8(at + 8 + (e % 16));
    const fifth = Math.floor(v.getUint8(at + 4 + ((e % 32) >> 3)) / 2 ** (e % 8)) % 2;
    const q = (e % 32 < 16 ? pair % 16 : pair >> 4) + 16 * fifth;
    return f16ToF32(v.getUint16(at, true)) * q + f16ToF32(v.getUint16(at + 2, true));
  },
  q5_k(v, e) {
    const at = 176 * (e >> 8);
    const run = (e >> 5) % 8;
    const packed = (i: number) => v.getUint8(at + 4 + i);
    const scale = run < 4 ? packed(run) % 64 : (packed(run + 4) % 16) + 16 * (packed(run - 4) >> 6);
    const least = run < 4 ? packed(run + 4) % 64 : (packed(run + 4) >> 4) + 16 * (packed(run) >> 6);
    const byte = v.getUint8(at + 48 + 32 * Math.floor(run / 2) + (e % 32));
    const fifth = Math.floor(v.getUint8(at + 16 + (e % 32)) / 2 ** run) % 2;
    const q = (run % 2 === 0 ? byte % 16 : byte >> 4) + 16 * fifth;
    return f16ToF32(v.getUint16(at, true)) * scale * q - f16ToF32(v.getUint16(at + 2, true)) * least;
  },
};

const sizes: Record<StoredDenseType, { cols: number; rowBytes: number }> = {
  f32: { cols: 5, rowBytes: 20 },
  f16: { cols: 5, rowBytes: 10 },
  bf16: { cols: 5, rowBytes: 10 },
  q8_0: { cols: 96, rowBytes: 102 },
  q4_0: { cols: 96, rowBytes: 54 },
  q6_k: { cols: 512, rowBytes: 420 },
  trits: { cols: 384, rowBytes: 102 },
  q4_k: { cols: 512, rowBytes: 288 },
  q4_1: { cols: 96, rowBytes: 60 },
  q5_0: { cols: 96, rowBytes: 66 },
  q5_1: { cols: 96, rowBytes: 72 },
  q5_k: { cols: 512, rowBytes: 352 },
};

describe.each(Object.keys(sizes) as StoredDenseType[])("%s", (type) => {
  const { cols, rowBytes } = sizes[type];
  const rows = 7;
  const bytes = randomBytes(rows * rowBytes + 1).subarray(1); // unaligned
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

  test("widens every element as defined", () => {
    expect(denseByteLength(type, rows * cols)).toBe(bytes.length);
    const out = new Float32Array(rows * cols);
    widenRows(type, bytes, cols, 0, rows, out);
    const expected = Float32Array.from(out, (_, e) => definitions[type](view, e));
    expect(new Uint32Array(out.buffer)).toEqual(new Uint32Array(expected.buffer));
  });

  test("widens a run of rows and nothing beyond it", () => {
    const out = new Float32Array(2 * cols + 1).fill(9);
    widenRows(type, bytes, cols, 3, 2, out);
    const expected = Float32Array.from({ length: 2 * cols }, (_, i) => definitions[type](view, 3 * cols + i));
    expect(out.subarray(0, 2 * cols)).toEqual(expected);
    expect(out.at(-1)).toBe(9);
  });

  test("refuses rows past the end, a small output, broken blocks", () => {
    const out = new Float32Array(2 * cols);
    expect(() => widenRows(type, bytes, cols, 6, 2, out)).toThrow(/need \d+ bytes, found/);
    expect(() => widenRows(type, bytes, cols, -1, 2, out)).toThrow(/rows -1/);
    expect(() => widenRows(type, bytes, cols, 0, 3, out)).toThrow(/the output holds/);
    if (cols >= 32) expect(() => denseByteLength(type, cols + 1)).toThrow(/do not fill blocks/);
    expect(() => denseByteLength(type, -1)).toThrow(/do not fill blocks/);
  });
});

test("every f16 and bf16 pattern widens to the bits of the scalar conversion", () => {
  const patterns = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
  const bytes = new Uint8Array(patterns.buffer);
  for (const [type, scalar] of [
    ["f16", f16ToF32],
    ["bf16", bf16ToF32],
  ] as const) {
    const out = new Float32Array(0x10000);
    widenRows(type, bytes, 0x10000, 0, 1, out);
    expect(patterns.findIndex((bits) => !Object.is(out[bits], scalar(bits)))).toBe(-1);
  }
});
