/**
 * Ordinary element types: their sizes and their exact widening to f32. A quantised weight is (d · sub) · q, each product
 * rounded to f32, of Q4_K less a minimum dmin · min. Block layouts from llama.cpp. Knows nothing of names or files.
 */

import { BitNetError } from "../base/errors.ts";
import { bf16ToF32, f16ToF32 } from "../base/float16.ts";
import { checkRows } from "./bounds.ts";
import { halfWords, nPatterns } from "./half-words.ts";
import type { StoredDenseType, WidenedType } from "./packing.ts";

/** Elements and bytes of one block; plain types have blocks of one element. */
const blocks: Readonly<Record<StoredDenseType, { elements: number; bytes: number }>> = {
  f32: { elements: 1, bytes: 4 },
  f16: { elements: 1, bytes: 2 },
  bf16: { elements: 1, bytes: 2 },
  q8_0: { elements: 32, bytes: 34 }, // f16 d, i8 q[32]
  q4_0: { elements: 32, bytes: 18 }, // f16 d, u4 q[32]
  q6_k: { elements: 256, bytes: 210 }, // u4 low[256], u2 high[256], i8 sub[16], f16 d
  trits: { elements: 128, bytes: 34 }, // f16 d, u2 q[128]: as PQ2_0
  q4_k: { elements: 256, bytes: 144 }, // f16 d, f16 dmin, u6 scales and minima [8], u4 q[256]
  q4_1: { elements: 32, bytes: 20 }, // f16 d, f16 m, u4 q[32]
  q5_0: { elements: 32, bytes: 22 }, // f16 d, u1 high[32], u4 low[32]
  q5_1: { elements: 32, bytes: 24 }, // f16 d, f16 m, u1 high[32], u4 low[32]
  q5_k: { elements: 256, bytes: 176 }, // f16 d, f16 dmin, u6 scales and minima [8], u1 high[256], u4 low[256]
};

/** Types that no backend computes with. */
export const widenedTypes: readonly WidenedType[] = ["q4_1", "q5_0", "q5_1", "q5_k"];

/**
 * Bytes of `nElements` consecutive elements.
 * @throws BitNetError FORMAT_UNSUPPORTED when they do not fill whole blocks.
 */
export function denseByteLength(type: StoredDenseType, nElements: number): number {
  const { elements, bytes } = blocks[type];
  if (!Number.isSafeInteger(nElements) || nElements < 0 || nElements % elements !== 0) {
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `${type}: ${nElements} elements do not fill blocks of ${elements}`,
    );
  }
  return (nElements / elements) * bytes;
}

/**
 * Widens rows `[firstRow, firstRow + nRows)` of a matrix with `cols` columns, each row contiguous, to `out`
 * [nRows, cols].
 * @throws BitNetError FORMAT_UNSUPPORTED when a row does not fill whole blocks, FORMAT_TRUNCATED when `bytes` ends
 * before the rows do, INVALID_ARGUMENT when `out` is too small.
 */
export function widenRows(
  type: StoredDenseType,
  bytes: Uint8Array,
  cols: number,
  firstRow: number,
  nRows: number,
  out: Float32Array,
): void {
  const rowBytes = denseByteLength(type, cols);
  const shape = { rows: rowBytes === 0 ? 0 : Math.floor(bytes.byteLength / rowBytes), cols };
  if (firstRow + nRows > shape.rows) {
    throw new BitNetError(
      "FORMAT_TRUNCATED",
      `${type}: rows ${firstRow}…${firstRow + nRows} of ${cols} need ${(firstRow + nRows) * rowBytes} bytes, found ${bytes.byteLength}`,
    );
  }
  checkRows(type, shape, firstRow, nRows, out.length);
  const rows = bytes.subarray(firstRow * rowBytes, (firstRow + nRows) * rowBytes);
  widen[type](rows, out.subarray(0, nRows * cols));
}

/** What every pattern of a 16-bit type stands for. Not to be modified. */
export function patternValues(type: "f16" | "bf16"): Float32Array {
  return type === "f16" ? f16Table() : Float32Array.from({ length: nPatterns }, (_, bits) => bf16ToF32(bits));
}

/** Widens all of `bytes` into all of `out`. */
type Widen = (bytes: Uint8Array, out: Float32Array) => void;

const widen: Readonly<Record<StoredDenseType, Widen>> = {
  f32: widenF32,
  f16: widenF16,
  bf16: widenBf16,
  q8_0: widenQ8,
  q4_0: widenQ4,
  q6_k: widenQ6,
  trits: widenTrits,
  q4_k: (bytes, out) => widenRuns(bytes, out, false),
  q4_1: (bytes, out) => widenOlder(bytes, out, { hasFifthBit: false, hasMinimum: true }),
  q5_0: (bytes, out) => widenOlder(bytes, out, { hasFifthBit: true, hasMinimum: false }),
  q5_1: (bytes, out) => widenOlder(bytes, out, { hasFifthBit: true, hasMinimum: true }),
  q5_k: (bytes, out) => widenRuns(bytes, out, true),
};

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function widenF32(bytes: Uint8Array, out: Float32Array): void {
  const view = viewOf(bytes);
  for (let i = 0; i < out.length; i++) out[i] = view.getFloat32(4 * i, true);
}

let f16Values: Float32Array | undefined;

/** The value of every f16 pattern, built at first use: a look-up is several times faster than the conversion. */
function f16Table(): Float32Array {
  f16Values ??= Float32Array.from({ length: nPatterns }, (_, bits) => f16ToF32(bits));
  return f16Values;
}

function widenF16(bytes: Uint8Array, out: Float32Array): void {
  const table = f16Table();
  const words = halfWords(bytes, 0, out.length);
  for (let i = 0; i < words.length; i++) out[i] = table[words[i] ?? 0] ?? 0;
}

function widenBf16(bytes: Uint8Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  const words = halfWords(bytes, 0, out.length);
  for (let i = 0; i < words.length; i++) bits[i] = (words[i] ?? 0) << 16;
}

function widenQ8(bytes: Uint8Array, out: Float32Array): void {
  const view = viewOf(bytes);
  for (let i = 0; i < out.length; i += 32) {
    const at = (i / 32) * 34;
    const d = f16ToF32(view.getUint16(at, true));
    for (let j = 0; j < 32; j++) out[i + j] = d * view.getInt8(at + 2 + j);
  }
}

function widenQ4(bytes: Uint8Array, out: Float32Array): void {
  const view = viewOf(bytes);
  for (let i = 0; i < out.length; i += 32) {
    const at = (i / 32) * 18;
    const d = f16ToF32(view.getUint16(at, true));
    for (let j = 0; j < 16; j++) {
      const pair = bytes[at + 2 + j] ?? 0;
      out[i + j] = d * ((pair & 15) - 8);
      out[i + 16 + j] = d * ((pair >> 4) - 8);
    }
  }
}

/**
 * Q4_1, Q5_0 and Q5_1, which llama.cpp takes for rows that do not fill blocks of 256: 32 weights of four or five bits, the fifth ones in a word of their
 * own, times d, and above a minimum or, without one, above −16.
 */
function widenOlder(
  bytes: Uint8Array,
  out: Float32Array,
  { hasFifthBit, hasMinimum }: { hasFifthBit: boolean; hasMinimum: boolean },
): void {
  const view = viewOf(bytes);
  const highAt = hasMinimum ? 4 : 2;
  const lowAt = highAt + (hasFifthBit ? 4 : 0);
  for (let i = 0; i < out.length; i += 32) {
    const block = (i / 32) * (lowAt + 16);
    const d = f16ToF32(view.getUint16(block, true));
    const minimum = hasMinimum ? f16ToF32(view.getUint16(block + 2, true)) : 0;
    const high = hasFifthBit ? view.getUint32(block + highAt, true) : 0;
    for (let j = 0; j < 32; j++) {
      const pair = bytes[block + lowAt + (j % 16)] ?? 0;
      const q = (j < 16 ? pair & 15 : pair >> 4) | (((high >>> j) & 1) << 4);
      out[i + j] = hasMinimum ? Math.fround(d * q) + minimum : d * (q - 16);
    }
  }
}

/**
 * Q6_K: a block is two halves of 128 weights; weight 32k + l of a half takes four low bits from low[32(k % 2) + l] (the
 * upper four for k ≥ 2), two high bits from high[l] at 2k, minus 32, and the sub-scale 2k + l / 16.
 */
function widenQ6(bytes: Uint8Array, out: Float32Array): void {
  const view = viewOf(bytes);
  for (let i = 0; i < out.length; i += 128) {
    const block = Math.floor(i / 256) * 210;
    const half = (i / 128) % 2;
    const d = f16ToF32(view.getUint16(block + 208, true));
    for (let k = 0; k < 4; k++) {
      for (let l = 0; l < 32; l++) {
        const low = ((bytes[block + 64 * half + 32 * (k % 2) + l] ?? 0) >> (k < 2 ? 0 : 4)) & 15;
        const high = ((bytes[block + 128 + 32 * half + l] ?? 0) >> (2 * k)) & 3;
        const sub = view.getInt8(block + 192 + 8 * half + 2 * k + (l >> 4));
        out[i + 32 * k + l] = Math.fround(d * sub) * ((low | (high << 4)) - 32);
      }
    }
  }
}

/** Trits in pairs of bits, four to a byte, low bits first, code = trit + 1. */
function widenTrits(bytes: Uint8Array, out: Float32Array): void {
  const view = viewOf(bytes);
  for (let i = 0; i < out.length; i += 128) {
    const at = (i / 128) * 34;
    const d = f16ToF32(view.getUint16(at, true));
    for (let j = 0; j < 128; j++)
      out[i + j] = d * ((((bytes[at + 2 + (j >> 2)] ?? 0) >> (2 * (j & 3))) & 3) - 1);
  }
}

/**
 * Q4_K: a block is eight runs of 32 weights, each with a scale and a minimum of six bits; runs 2k and 2k + 1 are the low and the high halves of
 * bytes 32k … 32k + 31. Q5_K has 32 bytes before these, of whose byte l bit r is the fifth bit of weight l of run r. All products are exact in f32,
 * so that only the difference is rounded.
 */
function widenRuns(bytes: Uint8Array, out: Float32Array, hasFifthBit: boolean): void {
  const view = viewOf(bytes);
  const blockBytes = hasFifthBit ? 176 : 144;
  const halves = hasFifthBit ? 48 : 16;
  for (let i = 0; i < out.length; i += 32) {
    const block = Math.floor(i / 256) * blockBytes;
    const run = (i / 32) % 8;
    const six = (at: number) => bytes[block + 4 + at] ?? 0;
    const [scale, least] =
      run < 4
        ? [six(run) & 63, six(run + 4) & 63]
        : [(six(run + 4) & 15) | ((six(run - 4) >> 6) << 4), (six(run + 4) >> 4) | ((six(run) >> 6) << 4)];
    const d = f16ToF32(view.getUint16(block, true)) * scale;
    const minimum = f16ToF32(view.getUint16(block + 2, true)) * least;
    for (let l = 0; l < 32; l++) {
      const pair = bytes[block + halves + 32 * (run >> 1) + l] ?? 0;
      const fifth = hasFifthBit ? (((bytes[block + 16 + l] ?? 0) >> run) & 1) << 4 : 0;
      out[i + l] = d * ((run % 2 === 0 ? pair & 15 : pair >> 4) | fifth) - minimum;
    }
  }
}
