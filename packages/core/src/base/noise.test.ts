import { describe, expect, it } from "vitest";
import { gumbel, threefry } from "./noise.ts";

describe("threefry", () => {
  // Known answers of the authors' Random123 distribution for threefry2x32, 20 rounds.
  it.each([
    [0, 0, 0, 0, 0x6b200159],
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x1cb996fc],
    [0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3, 0xc4923a9c],
  ])("key %i %i, counter %i %i", (key0, key1, c0, c1, expected) => {
    expect(threefry(key0, key1, c0, c1)).toBe(expected);
  });
});

describe("gumbel", () => {
  const draws = Array.from({ length: 100_000 }, (_, id) => gumbel({ seed: 7, choice: 0, index: 5 }, id));

  it("has the mean and variance of the standard Gumbel distribution", () => {
    const mean = draws.reduce((sum, x) => sum + x, 0) / draws.length;
    const variance = draws.reduce((sum, x) => sum + (x - mean) ** 2, 0) / draws.length;
    expect(mean).toBeCloseTo(0.5772, 1);
    expect(variance).toBeCloseTo(Math.PI ** 2 / 6, 1);
    expect(draws.every(Number.isFinite)).toBe(true);
  });

  it("depends on every part of its key and counter", () => {
    const point = { seed: 1, choice: 2, index: 3 };
    const others = [
      { ...point, seed: 2 },
      { ...point, choice: 1 },
      { ...point, index: 4 },
    ];
    for (const other of others) expect(gumbel(other, 9)).not.toBe(gumbel(point, 9));
    expect(gumbel(point, 9)).toBe(gumbel({ ...point }, 9));
  });
});
