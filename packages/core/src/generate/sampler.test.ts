import { describe, expect, test } from "vitest";
import { answerHead } from "../backend/reference/head.ts";
import type { HeadWantKind } from "../backend/step.ts";
import { looseAnswer } from "./loose-answer.test.kit.ts";
import type { GenerateOptions } from "./options.ts";
import { chooseFrom, settingsOf } from "./sampler.test.kit.ts";
import { Sampler } from "./sampler.ts";

const f32 = Math.fround;
const withoutDraws = ["top", "above", "winner", "all", "mass"] as const;
const onlyObligatory = ["top", "all"] as const;

const drawn = (parts: object) => expect.objectContaining({ kind: "draw", ...parts });

describe("the smallest request that suffices", () => {
  const vocabSize = 100;
  const kindOf = (
    each: GenerateOptions,
    nReported: number | null = null,
    wants?: readonly HeadWantKind[],
  ) => {
    const settings = settingsOf({ seed: 5, ...each }, vocabSize);
    const sampler = new Sampler(
      settings,
      { vocabSize, contextLength: 50, ...(wants ? { wants } : {}) },
      nReported,
    );
    for (const token of [4, 5, 4]) sampler.see(token);
    return sampler.request(7, 2);
  };
  const plain = { repeatPenalty: 1, topP: 1 };

  test.each<[string, GenerateOptions, number | null, unknown]>([
    ["greedy", { temperature: 0 }, null, { kind: "top", k: 1 }],
    ["greedy with reports", { temperature: 0 }, 4, { kind: "top", k: 4 }],
    ["top-k", { topK: 40 }, null, { kind: "top", k: 40 }],
    ["top-k of everything", { ...plain, topK: 100 }, null, expect.objectContaining({ kind: "winner" })],
    ["top-p", {}, null, { kind: "mass", temperature: f32(0.7), share: 0.95 }],
    ["top-p with its own log-probability", {}, 0, { kind: "mass", temperature: f32(0.7), share: 0.95 }],
    ["top-p with reports", {}, 1, drawn({ topP: 0.9, nBest: 1 })],
    ["top-p and typical-p", { typicalP: 0.9 }, null, drawn({ typicalP: 0.9, nBest: 0 })],
    ["typical-p", { ...plain, typicalP: 0.5 }, null, drawn({ typicalP: 0.5, topP: 1 })],
    ["min-p", { ...plain, minP: 0.1, temperature: 1 }, null, { kind: "mass", temperature: 1, share: 1 }],
    [
      "temperature",
      { ...plain, temperature: 0.5 },
      null,
      { kind: "winner", temperature: 0.5, seed: 5, choice: 0, index: 2 },
    ],
    ["temperature with reports", plain, 1, drawn({ seed: 5, index: 2 })],
  ])("%s", (_, each, nReported, want) => {
    expect(kindOf(each, nReported).want).toEqual(want);
  });

  test.each<[string, GenerateOptions, number | null, readonly HeadWantKind[], unknown]>([
    ["top-p", {}, null, onlyObligatory, { kind: "all" }],
    ["top-p with reports", {}, 1, withoutDraws, { kind: "all" }],
    ["typical-p", { typicalP: 0.5 }, null, withoutDraws, { kind: "all" }],
    [
      "min-p",
      { ...plain, minP: 0.1, temperature: 1 },
      null,
      withoutDraws,
      { kind: "above", margin: expect.closeTo(Math.log(10), 3) },
    ],
    ["min-p", { ...plain, minP: 0.1 }, null, onlyObligatory, { kind: "all" }],
    ["temperature", plain, null, onlyObligatory, { kind: "all" }],
    ["top-k", { topK: 40 }, null, onlyObligatory, { kind: "top", k: 40 }],
  ])("%s, of a backend that offers less", (_, each, nReported, wants, want) => {
    expect(kindOf(each, nReported, wants).want).toEqual(want);
  });

  test("changed ids stand apart, once each", () => {
    const request = kindOf({ topK: 3, logitBias: { 9: 1, 5: 1 } });
    expect(request).toMatchObject({ row: 7 });
    expect([...(request.apart ?? [])].sort()).toEqual([4, 5, 9]);
    expect(kindOf(plain).apart).toBe(undefined);
    expect(kindOf({ topK: 3, repeatLastN: 0 }).apart).toBe(undefined);
    expect([...(kindOf({ topK: 3, repeatLastN: 1 }).apart ?? [])]).toEqual([4]);
  });

  test("after an open choice all logits are asked for, for longer each time", () => {
    const row = Float32Array.from({ length: vocabSize }, (_, id) => (id % 10) / 100);
    const settings = settingsOf({ seed: 5, ...plain, topP: 0.9 }, vocabSize);
    const limits = { vocabSize, contextLength: 50, wants: withoutDraws };
    const sampler = new Sampler(settings, limits, null);
    const kinds: string[] = [];
    for (let index = 0; index < 19; index++) {
      chooseFrom(sampler, index, (request) => {
        kinds.push(request.want.kind);
        return looseAnswer(1, 1)(request, row);
      });
    }
    const runs = kinds.join(" ").split("mass ");
    expect(runs.map((run) => run.split(" ").filter((kind) => kind === "all").length)).toEqual([
      0, 2, 3, 5, 9,
    ]);
  });

  test("log-sum-exp is asked for only to report log-probabilities", () => {
    expect(kindOf({}).logSumExp).toBe(undefined);
    expect(kindOf({}, 0).logSumExp).toBe(true);
  });
});

test("forbidding every token is an error", () => {
  const settings = settingsOf({ logitBias: { 0: -Infinity, 1: -Infinity } }, 2);
  const sampler = new Sampler(settings, { vocabSize: 2, contextLength: 10 }, null);
  const result = answerHead(sampler.request(0, 0), Float32Array.of(1, 2));
  expect(() => sampler.choose(result, 0)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
});

test("draws follow the probabilities", () => {
  const row = Float32Array.of(0, Math.log(2), Math.log(5));
  const settings = settingsOf({ seed: 3, temperature: 1, topP: 1, repeatPenalty: 1 }, 3);
  const sampler = new Sampler(settings, { vocabSize: 3, contextLength: 10 }, null);
  const counts = [0, 0, 0];
  const n = 20_000;
  for (let index = 0; index < n; index++) {
    const id = chooseFrom(sampler, index, (request) => answerHead(request, row));
    counts[id] = (counts[id] ?? 0) + 1;
  }
  // Three standard deviations of a binomial count are below 0.011.
  for (const [id, p] of [1 / 8, 2 / 8, 5 / 8].entries())
    expect(Math.abs((counts[id] ?? 0) / n - p)).toBeLessThan(0.011);
});
