import { describe, expect, it } from "vitest";
import { expF32, logF32, roundTiesToEven } from "./elementary.ts";
import { pow64, sinCos64 } from "./elementary64.ts";

const f32 = Math.fround;

/** Largest |found / exact − 1| over `steps` points. */
function worstError(
  steps: number,
  point: (t: number) => number,
  found: (x: number) => number,
  exact: (x: number) => number,
) {
  let worst = 0;
  for (let i = 0; i <= steps; i++) {
    const x = f32(point(i / steps));
    const truth = exact(x);
    if (truth !== 0) worst = Math.max(worst, Math.abs(found(x) / truth - 1));
  }
  return worst;
}

describe("expF32", () => {
  it("stays within 1.2e-7 of e^x over its normal range", () => {
    expect(worstError(500_000, (t) => -87.2 + 175.5 * t, expF32, Math.exp)).toBeLessThan(1.2e-7);
  });

  it("is exact at 0, and 0 or infinite beyond its bounds", () => {
    expect(expF32(0)).toBe(1);
    expect(expF32(-0)).toBe(1);
    expect(expF32(f32(-87.31))).toBe(0);
    expect(expF32(Number.NEGATIVE_INFINITY)).toBe(0);
    expect(expF32(f32(88.38))).toBe(Number.POSITIVE_INFINITY);
    expect(expF32(f32(-87.3))).toBeGreaterThan(1e-38);
  });
});

describe("logF32", () => {
  it("stays within 1.2e-7 of ln x from 1e-17 to 1e38", () => {
    expect(worstError(300_000, (t) => Math.exp(-39 + 126 * t), logF32, Math.log)).toBeLessThan(1.2e-7);
  });

  it("keeps its relative accuracy around 1", () => {
    expect(worstError(300_000, (t) => 0.7 + 0.7 * t, logF32, Math.log)).toBeLessThan(1.2e-7);
    expect(logF32(1)).toBe(0);
    expect(logF32(f32(1 - 2 ** -24))).toBe(f32(Math.log(1 - 2 ** -24)));
  });

  it("gives −Infinity at 0", () => {
    expect(logF32(0)).toBe(Number.NEGATIVE_INFINITY);
  });
});

describe("roundTiesToEven", () => {
  it.each([
    [0.5, 0],
    [1.5, 2],
    [2.5, 2],
    [-0.5, 0],
    [-1.5, -2],
    [-2.5, -2],
    [126.5, 126],
    [127.49, 127],
    [-3.7, -4],
  ])("%f → %i", (x, expected) => {
    expect(roundTiesToEven(f32(x)) + 0).toBe(expected);
  });
});

describe("f64 tables", () => {
  it("sin and cos agree with the engine to 4e-16 over angles up to 131072", () => {
    for (let i = 0; i < 50_000; i++) {
      const x = f32(i * 2.62);
      const { sin, cos } = sinCos64(x);
      expect(Math.abs(sin - Math.sin(x)) + Math.abs(cos - Math.cos(x))).toBeLessThan(4e-16);
    }
  });

  it("pow agrees with the engine to 4e-15", () => {
    for (const base of [1e4, 5e5, 1e6, 1.5])
      for (let i = 0; i <= 128; i++)
        expect(Math.abs(pow64(base, -i / 128) / base ** (-i / 128) - 1)).toBeLessThan(4e-15);
  });
});
