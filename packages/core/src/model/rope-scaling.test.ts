import { expect, it } from "vitest";
import { type RopeScaling, type RopeShape, ropeFrequencies } from "./rope-scaling.ts";

const shape: RopeShape = { contextLength: 4096, headDim: 128, theta: 500000, scaling: null };
const usual = (i: number) => 500000 ** ((-2 * i) / 128);

function expectFrequencies(
  scaling: RopeScaling,
  expected: (i: number) => number,
  factor = 1,
  rest = {},
): void {
  const found = ropeFrequencies({ ...shape, ...rest, scaling });
  expect(found.inverse).toHaveLength(64);
  for (const [i, frequency] of found.inverse.entries())
    expect(Math.abs(frequency / expected(i) - 1), `frequency ${i}`).toBeLessThan(1e-7);
  expect(found.factor).toBeCloseTo(factor, 12);
}

it("linear scaling divides every frequency", () => {
  expectFrequencies({ type: "linear", factor: 4 }, (i) => usual(i) / 4);
});

it("dynamic scaling raises the base beyond the context of training only", () => {
  const scaling: RopeScaling = { type: "dynamic", factor: 2, originalContext: 2048 };
  const base = 500000 * (2 * (4096 / 2048) - 1) ** (128 / 126);
  expectFrequencies(scaling, (i) => base ** ((-2 * i) / 128));
  expectFrequencies(scaling, usual, 1, { contextLength: 2048 });
});

it("Llama 3's rule keeps short wavelengths, divides long ones, and blends between", () => {
  const scaling: RopeScaling = {
    type: "llama3",
    ...{ factor: 8, originalContext: 8192, lowFreqFactor: 1, highFreqFactor: 4 },
  };
  const kinds = new Set<string>();
  expectFrequencies(scaling, (i) => {
    const turns = (8192 * usual(i)) / (2 * Math.PI); // within the context of training
    kinds.add(turns < 1 ? "long" : turns > 4 ? "short" : "between");
    if (turns < 1) return usual(i) / 8;
    if (turns > 4) return usual(i);
    const share = (turns - 1) / 3;
    return usual(i) * (share + (1 - share) / 8);
  });
  expect(kinds.size).toBe(3);
});

it("YaRN keeps what turns often, interpolates what turns less than once, and sharpens attention", () => {
  const scaling: RopeScaling = {
    type: "yarn",
    ...{ factor: 4, originalContext: 32768, betaFast: 32, betaSlow: 1, attentionFactor: null },
  };
  const { inverse, factor } = ropeFrequencies({ ...shape, theta: 1e6, scaling });
  expect(factor).toBeCloseTo(0.1 * Math.log(4) + 1, 12);
  const ratio = Array.from(inverse, (frequency, i) => frequency / 1e6 ** ((-2 * i) / 128));
  expect(ratio[0]).toBeCloseTo(1, 6);
  expect(ratio[63]).toBeCloseTo(0.25, 6);
  for (let i = 1; i < 64; i++) expect(ratio[i]).toBeLessThanOrEqual((ratio[i - 1] ?? 0) + 1e-6);
  expect(ropeFrequencies({ ...shape, scaling: { ...scaling, attentionFactor: 1.5 } }).factor).toBe(1.5);
});

it("LongRoPE takes the short divisors up to the context of training", () => {
  const shortFactors = Array.from({ length: 64 }, (_, i) => 1 + i / 64);
  const longFactors = shortFactors.map((factor) => 3 * factor);
  const scaling: RopeScaling = {
    type: "longrope",
    ...{ originalContext: 4096, shortFactors, longFactors, attentionFactor: 1.19 },
  };
  expectFrequencies(scaling, (i) => usual(i) / (1 + i / 64), 1.19);
  expectFrequencies(scaling, (i) => usual(i) / (3 + (3 * i) / 64), 1.19, { contextLength: 4097 });
});
