import { describe, expect, it } from "vitest";
import { limits } from "./config-fields.ts";
import { ropeTable } from "./rope-table.ts";

/** Calls `visit` with every cosine and sine of the table and its angle as mathematics has it. */
function forEachAngle(
  { contextLength, headDim, theta }: { contextLength: number; headDim: number; theta: number },
  visit: (found: { cos: number; sin: number }, position: number, frequency: number) => void,
): void {
  const table = ropeTable({ contextLength, headDim, theta, scaling: null });
  expect(table).toHaveLength(contextLength * headDim);
  for (let position = 0; position < contextLength; position++) {
    for (let i = 0; i < headDim / 2; i++) {
      const at = position * headDim + i;
      const found = { cos: table[at] ?? Number.NaN, sin: table[at + headDim / 2] ?? Number.NaN };
      visit(found, position, theta ** ((-2 * i) / headDim));
    }
  }
}

describe.each([
  { contextLength: 1, headDim: 2, theta: 10000 },
  { contextLength: 33, headDim: 16, theta: 1.5 },
  { contextLength: 257, headDim: 48, theta: 10000 },
  { contextLength: 100, headDim: 80, theta: 1e11 },
  { contextLength: 4096, headDim: 128, theta: 500000 },
])("$contextLength positions, heads of $headDim, base $theta", (shape) => {
  it("holds cosine and sine of position · base^(−2i / headDim)", () => {
    let worst = 0;
    forEachAngle(shape, ({ cos, sin }, position, frequency) => {
      const angle = position * frequency;
      // The frequency and the angle are rounded to f32, half of 2⁻²³ each, and so is the result.
      const bound = angle * 2 ** -23 + 2 ** -24;
      const error = Math.max(Math.abs(cos - Math.cos(angle)), Math.abs(sin - Math.sin(angle)));
      worst = Math.max(worst, error / bound);
    });
    expect(worst).toBeLessThan(1);
  });

  it("rounds where the numerics say", () => {
    let nDifferent = 0;
    forEachAngle(shape, ({ cos, sin }, position, frequency) => {
      const angle = Math.fround(position * Math.fround(frequency));
      nDifferent += Number(cos !== Math.fround(Math.cos(angle)));
      nDifferent += Number(sin !== Math.fround(Math.sin(angle)));
    });
    // The engine's own functions may differ in the last place of f64, which reaches f32 about never.
    expect(nDifferent).toBeLessThanOrEqual((shape.contextLength * shape.headDim) / 1e5);
  });
});

it("of a shorter context is the beginning of that of a longer one", () => {
  expect(ropeTable({ contextLength: 40, headDim: 64, theta: 10000, scaling: null })).toEqual(
    ropeTable({ contextLength: 100, headDim: 64, theta: 10000, scaling: null }).subarray(0, 40 * 64),
  );
});

it("is exact up to the longest context there may be", () => {
  const table = ropeTable({ contextLength: limits.contextLength, headDim: 2, theta: 10000, scaling: null });
  let worst = 0;
  for (let position = 0; position < limits.contextLength; position++) {
    const cosError = Math.abs((table[2 * position] ?? Number.NaN) - Math.cos(position));
    const sinError = Math.abs((table[2 * position + 1] ?? Number.NaN) - Math.sin(position));
    worst = Math.max(worst, cosError, sinError);
  }
  expect(worst).toBeLessThanOrEqual(2 ** -25 + 2 ** -40);
});
