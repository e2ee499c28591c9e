import { describe, expect, test } from "vitest";
import {
  computeRowBytes,
  isComputeLayout,
  rowsToComputeLayout,
  toComputeLayout,
  unpackComputeRow,
} from "./compute-layout.ts";
import type { PackingId, TernaryShape } from "./packing.ts";
import { packings } from "./registry.ts";

/** Reproducible bytes: every code, code 3 included, occurs. */
function randomBytes(n: number): Uint8Array {
  return Uint8Array.from({ length: n }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 15);
}

/** The layout by its definition, one weight at a time. */
function computeLayoutOf(trits: Int8Array, { rows, cols }: TernaryShape): Uint8Array {
  const rowBytes = Math.ceil(cols / 128) * 32;
  const out = new Uint8Array(rows * rowBytes);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < rowBytes * 4; c++) {
      const code = c < cols ? (trits[r * cols + c] ?? 0) + 1 : 1;
      const at = r * rowBytes + 32 * Math.floor(c / 128) + (c % 32);
      out[at] = (out[at] ?? 0) | (code << (6 - 2 * (Math.floor(c / 32) % 4)));
    }
  }
  return out;
}

const cases: [PackingId, TernaryShape][] = [
  ["i2_s", { rows: 3, cols: 256 }],
  ["i2_s", { rows: 32, cols: 100 }],
  ["i2_s_64", { rows: 4, cols: 208 }],
  ["i2_s_rows4", { rows: 8, cols: 130 }],
  ["tq1_0", { rows: 5, cols: 512 }],
  ["tq2_0", { rows: 5, cols: 512 }],
  ["iq1_bn", { rows: 3, cols: 192 }],
  ["iq2_bn", { rows: 3, cols: 192 }],
  ["hf_u8", { rows: 12, cols: 384 }],
  ["hf_u8", { rows: 8, cols: 200 }],
  ["hf_u8", { rows: 4, cols: 1 }],
];

describe.each(cases)("%s %o", (id, shape) => {
  const bytes = randomBytes(packings[id].byteLength(shape) + 3).subarray(3); // unaligned
  const trits = new Int8Array(shape.rows * shape.cols);
  packings[id].unpackRows(bytes, shape, 0, shape.rows, trits);

  test("becomes the same weights in compute layout", () => {
    expect(toComputeLayout(id, bytes, shape)).toEqual(computeLayoutOf(trits, shape));
  });

  test("slices end to end are the whole", () => {
    const whole = new Uint8Array(shape.rows * computeRowBytes(shape.cols));
    let nextRow = 0;
    toComputeLayout(id, bytes, shape, (slice, firstRow, nRows) => {
      expect(firstRow).toBe(nextRow);
      expect(slice.length).toBe(nRows * computeRowBytes(shape.cols));
      whole.set(slice, firstRow * computeRowBytes(shape.cols));
      nextRow += nRows;
    });
    expect(nextRow).toBe(shape.rows);
    expect(whole).toEqual(toComputeLayout(id, bytes, shape));
  });

  test("its rows unpack again", () => {
    const compute = toComputeLayout(id, bytes, shape);
    const row = new Int8Array(shape.cols);
    for (let r = 0; r < shape.rows; r++) {
      unpackComputeRow(compute, r * computeRowBytes(shape.cols), shape.cols, row);
      expect(row).toEqual(trits.subarray(r * shape.cols, (r + 1) * shape.cols));
    }
  });

  test("too few bytes are refused", () => {
    expect(() => toComputeLayout(id, bytes.subarray(1), shape)).toThrow(/expected \d+ bytes, found \d+/);
  });
});

test("tensors larger than a slice come in several, with bounded scratch", () => {
  for (const id of ["hf_u8", "tq2_0", "tq1_0", "iq2_bn", "i2_s"] as const) {
    const shape = { rows: 1028, cols: 2048 };
    const bytes = randomBytes(packings[id].byteLength(shape));
    const whole = toComputeLayout(id, bytes, shape);
    let slices = 0;
    toComputeLayout(id, bytes, shape, (slice, firstRow) => {
      const at = firstRow * computeRowBytes(shape.cols);
      expect(Buffer.compare(slice, whole.subarray(at, at + slice.length))).toBe(0);
      expect(slice.length).toBeLessThanOrEqual(2 ** 18);
      slices++;
    });
    expect(slices).toBe(3);
  }
});

test("i2_s with whole blocks per row is used in place", () => {
  const shape = { rows: 2, cols: 128 };
  const bytes = randomBytes(packings.i2_s.byteLength(shape));
  expect(isComputeLayout("i2_s", shape)).toBe(true);
  expect(isComputeLayout("i2_s", { rows: 4, cols: 96 })).toBe(false);
  expect(isComputeLayout("tq2_0", { rows: 1, cols: 256 })).toBe(false);
  expect(toComputeLayout("i2_s", bytes, shape).buffer).toBe(bytes.buffer);
});

test.each([4099, 2176])("rows of %d from a function are packed like rows from a tensor", (cols) => {
  const shape = { rows: 300, cols };
  const tritAt = (row: number, col: number) => ((row * 7 + col * 5 + (col >> 3)) % 4) - 1;
  const packed = rowsToComputeLayout((first, count, out) => {
    for (let i = 0; i < count * shape.cols; i++) {
      // Code 3, too, is kept.
      out[i] = tritAt(first + Math.floor(i / shape.cols), i % shape.cols);
    }
  }, shape);
  const trits = Int8Array.from({ length: shape.rows * shape.cols }, (_, e) =>
    tritAt(Math.floor(e / shape.cols), e % shape.cols),
  );
  expect(Buffer.compare(packed, computeLayoutOf(trits, shape))).toBe(0);
});
