import { describe, expect, test } from "vitest";
import { BitNetError } from "../base/errors.ts";
import { parseGenerateOptions } from "./parse-options.ts";

function problemsOf(options: unknown): unknown {
  try {
    parseGenerateOptions(options, 100);
  } catch (error) {
    if (error instanceof BitNetError && error.code === "INVALID_ARGUMENT") return error.details.problems;
    throw error;
  }
  return [];
}

describe("generation options", () => {
  test("defaults", () => {
    const { sampling, ...rest } = parseGenerateOptions({}, 100);
    expect(sampling).toEqual({
      temperature: Math.fround(0.7),
      topK: 0,
      topP: 0.9,
      minP: 0,
      typicalP: 1,
      repeatPenalty: Math.fround(1.05),
      repeatLastN: 64,
      frequencyPenalty: 0,
      presencePenalty: 0,
      dryMultiplier: 0,
      dryBase: 1.75,
      dryAllowedLength: 2,
      dryPenaltyLastN: -1,
      drySequenceBreakers: ["\n", ":", '"', "*"],
      xtcProbability: 0,
      xtcThreshold: 0.1,
      logitBias: new Map(),
      choice: 0,
      seed: expect.any(Number),
    });
    expect(rest).toEqual({
      maxTokens: 256,
      stop: [],
      stopTokens: new Set(),
      ignoreEos: false,
      logprobs: null,
      promptLogprobs: null,
      promptLogprobsFrom: 1,
      special: false,
      thinking: null,
      thinkingBudget: null,
      mask: null,
      onPrompt: null,
      cacheSalt: "",
      background: false,
      adapter: null,
      signal: null,
    });
  });

  test("a seed is drawn when there is none, and kept when there is", () => {
    const draw = () => parseGenerateOptions(undefined, 100).sampling.seed;
    const seeds = new Set(Array.from({ length: 8 }, draw));
    expect(seeds.size).toBeGreaterThan(1);
    for (const seed of seeds) expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32).toBe(true);
    expect(parseGenerateOptions({ seed: 4294967295 }, 100).sampling.seed).toBe(4294967295);
  });

  test.each<[string, unknown]>([
    ["temperature", -1],
    ["temperature", Number.NaN],
    ["temperature", "0.7"],
    ["temperature", Number.POSITIVE_INFINITY],
    ["temperature", 1e39],
    ["temperature", Number.MAX_VALUE],
    ["topK", 1.5],
    ["topK", -1],
    ["topP", 0],
    ["topP", 1.01],
    ["minP", -0.1],
    ["minP", 2],
    ["typicalP", 0],
    ["repeatPenalty", 0],
    ["repeatPenalty", 1e-60],
    ["repeatLastN", -2],
    ["frequencyPenalty", Number.NaN],
    ["presencePenalty", 1e39],
    ["dryMultiplier", -1],
    ["dryMultiplier", 1e39],
    ["dryBase", 0.9],
    ["dryAllowedLength", -1],
    ["dryPenaltyLastN", -2],
    ["drySequenceBreakers", "\n"],
    ["drySequenceBreakers", [""]],
    ["drySequenceBreakers", ["x".repeat(41)]],
    ["drySequenceBreakers", new Array(17).fill("x")],
    ["xtcProbability", 1.1],
    ["xtcThreshold", -0.1],
    ["seed", -1],
    ["seed", 2 ** 32],
    ["seed", 0.5],
    ["maxTokens", -1],
    ["stop", ""],
    ["stop", ["a", 5]],
    ["stop", new Array(65).fill("x")],
    ["stop", "x".repeat(1025)],
    ["stopTokens", [100]],
    ["stopTokens", [undefined]],
    ["stopTokens", 5],
    ["ignoreEos", 1],
    ["logprobs", -1],
    ["logprobs", 257],
    ["logprobs", true],
    ["promptLogprobs", 1.5],
    ["promptLogprobsFrom", 0],
    ["logitBias", [1, 2]],
    ["logitBias", { 100: 1 }],
    ["logitBias", { "": 1 }],
    ["logitBias", { "1.0": 1 }],
    ["logitBias", { 5: Number.POSITIVE_INFINITY }],
    ["logitBias", { 5: 1e39 }],
    ["logitBias", new Map([[5, Number.NaN]])],
    ["signal", {}],
    ["top_p", 0.9],
    ["__proto__x", 1],
  ])("%s = %s is refused", (name, value) => {
    expect(problemsOf({ [name]: value })).toEqual([
      expect.stringMatching(new RegExp(`^${name}(\\[\\d+\\])?:`)),
    ]);
  });

  test("every problem is listed", () => {
    const problems = problemsOf({ temperature: -1, topP: 0, topK: 0.5, stop: ["", ""], nonsense: 1 });
    expect(problems).toHaveLength(6);
    expect(problemsOf(5)).toEqual(["options: expected an object, found 5"]);
    expect(problemsOf(null)).toHaveLength(1);
  });

  test("biases may be a Map or an object; 0 is none", () => {
    const bias = { 3: 1.1, 4: -Infinity, 5: 0 };
    const expected = new Map([
      [3, Math.fround(1.1)],
      [4, -Infinity],
    ]);
    expect(parseGenerateOptions({ logitBias: bias }, 100).sampling.logitBias).toEqual(expected);
    const map = new Map(Object.entries(bias).map(([id, value]) => [Number(id), value]));
    expect(parseGenerateOptions({ logitBias: map }, 100).sampling.logitBias).toEqual(expected);
  });

  test("one stop text stands for a list of one", () => {
    expect(parseGenerateOptions({ stop: "x" }, 100).stop).toEqual(["x"]);
  });

  test("temperatures near 0 are greedy", () => {
    expect(parseGenerateOptions({ temperature: 1e-30 }, 100).sampling.temperature).toBe(0);
  });
});

describe("messages stay short", () => {
  const many = Array.from({ length: 50_000 }, (_, i) => i);
  test.each<[string, unknown]>([
    ["a long array", many],
    ["many unknown options", Object.fromEntries(many.map((i) => [`x${i}`, i]))],
    ["many biases", { logitBias: new Map(many.map((i) => [i + 100, 1])) }],
    ["many keys of biases", { logitBias: Object.fromEntries(many.map((i) => [`x${i}`, 1])) }],
    ["a long name", { ["y".repeat(1_000_000)]: 1 }],
    ["a long text", { topK: "y".repeat(1_000_000) }],
    ["a long number", { topK: 10n ** 10_000n }],
    ["a function", { topK: Object.assign(() => {}, { toString: () => "y".repeat(1_000_000) }) }],
  ])("for %s", (_, options) => {
    let message = "";
    try {
      parseGenerateOptions(options, 100);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(/^generate: /);
    expect(message.length).toBeLessThan(1200);
    expect(JSON.stringify(problemsOf(options)).length).toBeLessThan(1200);
  });

  test("and say how much they leave out", () => {
    expect(problemsOf(Object.fromEntries(many.slice(0, 20).map((i) => [`x${i}`, i])))).toContain(
      "and 12 more",
    );
  });
});

test("a signal that cannot be left is refused", () => {
  const { signal } = new AbortController();
  const half = { aborted: false, addEventListener: signal.addEventListener.bind(signal) };
  expect(problemsOf({ signal: half })).toEqual(["signal: expected an AbortSignal, found an object"]);
});
