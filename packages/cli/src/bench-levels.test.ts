import type { BackendReport } from "bitnet.ts";
import { describe, expect, it } from "vitest";
import { describeLevels, planLevels, summariseLevel } from "./bench-levels.ts";

const native: BackendReport = {
  name: "native",
  isAvailable: true,
  detail: "/somewhere/bitnet.node",
  threads: 8,
  variants: [],
};

describe("plan", () => {
  it("forces the slow level and leaves the fast one to the machine", () => {
    const [baseline, optimized, aggressive] = planLevels(undefined, [native]);
    const plain = { backend: "native", screening: false };
    expect(baseline).toMatchObject({ load: { ...plain, isa: "scalar", threads: 1 } });
    expect(optimized).toMatchObject({ level: "optimized", load: plain });
    expect(aggressive).toMatchObject({
      level: "aggressive",
      load: { backend: "native", screening: true },
    });
  });

  it("has only the reference where native is missing or unwanted, and says why", () => {
    const absent = { ...native, isAvailable: false, detail: "there is no binary" };
    for (const [plans, reason] of [
      [planLevels(undefined, [absent]), /there is no binary/],
      [planLevels("reference", [native]), /the reference backend was asked for/],
    ] as const) {
      expect(plans.map((plan) => ("load" in plan ? plan.load : null))).toEqual([
        { backend: "reference" },
        null,
        null,
      ]);
      expect(plans[1]).toMatchObject({ unavailable: expect.stringMatching(reason) });
    }
  });
});

const samples = [
  { promptTokensPerSecond: 100, decodeTokensPerSecond: 20, firstTokenMs: 50, joulesPerToken: 2 },
  { promptTokensPerSecond: 300, decodeTokensPerSecond: 10, firstTokenMs: 70, joulesPerToken: 4 },
  { promptTokensPerSecond: 200, decodeTokensPerSecond: 40, firstTokenMs: 60, joulesPerToken: 3 },
];
const measured = {
  info: { backend: "native", isa: "avx2", threads: 4 },
  stats: { privateBytes: 0.5e9, mappedBytes: 1.5e9 },
  samples,
  nPrompt: 100,
  nGen: 10,
};

describe("summary", () => {
  it("takes medians and derives the rest from them", () => {
    expect(summariseLevel("optimized", measured)).toEqual({
      level: "optimized",
      backend: "native",
      isa: "avx2",
      threads: 4,
      promptTokensPerSecond: 200,
      decodeTokensPerSecond: 20,
      tokenMs: 50,
      firstTokenMs: 60,
      requestsPerMinute: 60, // half a second for the prompt, half a second for the text
      memoryBytes: 2e9,
      efficiency: 10,
      energy: { joulesPerToken: 3 },
    });
  });

  it("has no energy where none was measured", () => {
    const without = samples.map((sample) => ({ ...sample, joulesPerToken: null }));
    expect(summariseLevel("optimized", { ...measured, samples: without }).energy).toBeNull();
  });
});

it("shows a column per level that ran and a line for each that did not", () => {
  const missing = { level: "aggressive", summary: "", unavailable: "nothing optional" } as const;
  const text = describeLevels([
    summariseLevel("baseline", measured),
    summariseLevel("optimized", measured),
    missing,
  ]);
  expect(text).toMatch(/^ +baseline +optimized\n/);
  expect(text).toMatch(/^Efficiency +10.0 tok\/s per GB +10.0 tok\/s per GB$/m);
  expect(text).toMatch(/\naggressive: not available: nothing optional$/);
});
