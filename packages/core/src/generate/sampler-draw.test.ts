/** Whole-vocabulary choices: made by the backend or here, the token is the same, and a backend that makes them leaves little to do here. */
import { describe, expect, test } from "vitest";
import { answerHead } from "../backend/reference/head.ts";
import type { HeadRequest, HeadResult } from "../backend/step.ts";
import { FakeExecutable } from "./fake-executable.test.kit.ts";
import { readDrawnLogprob, readLogprob } from "./logprobs.ts";
import type { GenerateOptions } from "./options.ts";
import { settingsOf } from "./sampler.test.kit.ts";
import { Sampler } from "./sampler.ts";
import { Scheduler } from "./scheduler.ts";

const vocabSize = 900;
/** `npm run check` takes two of the seeds. */
const isQuick = process.env.BITNET_QUICK === "1";
const nSeeds = isQuick ? 2 : 6;

/** Logits between 0 and `spread`, every fifth like the one before. */
function logitsOf(seed: number, spread: number): Float32Array {
  let state = seed + 1;
  const logits = new Float32Array(vocabSize);
  for (let id = 0; id < vocabSize; id++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    logits[id] = id % 5 === 1 ? (logits[id - 1] ?? 0) : (state / 2 ** 32) * spread;
  }
  return logits;
}

const samplers: Record<string, GenerateOptions> = {
  default: {},
  "top-p alone": { topP: 0.6, repeatPenalty: 1 },
  "min-p": { topP: 1, minP: 0.05 },
  "typical-p": { typicalP: 0.4 },
  "all filters": { topK: 500, typicalP: 0.9, topP: 0.8, minP: 0.001, temperature: 1.3 },
  "no filter": { topP: 1 },
  greedy: { temperature: 0 },
  "penalties and biases": {
    ...{ repeatPenalty: 1.4, frequencyPenalty: 0.3, presencePenalty: 0.2, typicalP: 0.99 },
    logitBias: { 3: 5, 4: Number.NEGATIVE_INFINITY, 5: -3 },
  },
  "top-k and min-p": { topK: 40, minP: 0.01 },
  DRY: { dryMultiplier: 3, dryAllowedLength: 0, typicalP: 0.99 },
  XTC: { xtcProbability: 0.7, xtcThreshold: 0.001, topP: 1 },
};

const contextLength = 256;

describe.each(Object.entries(samplers))("%s", (_, options) => {
  test.each([0, 0.5, 8, 60])(
    "draws the same with every kind of backend from logits of spread %d",
    (spread) => {
      const allowed = new Uint32Array(Math.ceil(vocabSize / 32)).fill(0x5a5a5a5a);
      for (const nReported of [null, 3])
        for (const mask of [null, allowed])
          for (let seed = 0; seed < nSeeds; seed++) {
            const settings = settingsOf({ ...options, seed }, vocabSize);
            const kinds = [
              [["top", "all"], 1],
              [["top", "all", "draw"], 1],
              [["top", "all", "draw"], 8],
              [undefined, 1],
            ] as const;
            const answers = kinds.map(([wants, mostChained]) => {
              const sampler = new Sampler(
                settings,
                { vocabSize, contextLength, mostChained, ...(wants ? { wants } : {}) },
                nReported,
              );
              const texts: unknown[] = [];
              for (const token of [1, 2, 3, 3, 7]) sampler.see(token);
              for (let index = 0; index < 3; index++) {
                const answered = ask(sampler, index, mask, logitsOf(seed + index, spread), wants);
                sampler.see(answered.id);
                texts.push({ id: answered.id, ...(nReported === null ? {} : answered.report(nReported)) });
              }
              return texts;
            });
            for (const each of answers) expect(each).toEqual(answers[0]);
          }
    },
  );
});

function ask(
  sampler: Sampler,
  index: number,
  mask: Uint32Array | null,
  logits: Float32Array,
  wants: readonly string[] | undefined,
) {
  for (;;) {
    const request = sampler.request(0, index, mask);
    if (wants) expect(wants).toContain(request.want.kind);
    const result = answerHead(request, logits);
    const id = sampler.choose(result, index);
    if (id !== null) return { id, report: (n: number) => reportOf(request, result, id, n) };
  }
}

function reportOf(request: HeadRequest, result: HeadResult, id: number, n: number) {
  return request.want.kind === "draw"
    ? readDrawnLogprob(result, n)
    : readLogprob(result, request.apart ?? new Int32Array(), id, n);
}

describe("the work here", () => {
  const flat = new Float32Array(6000).map((_, id) => (id % 977) / 9770);

  const elementsPerToken = async (options: GenerateOptions, wants?: readonly ("top" | "all")[]) => {
    let elements = 0;
    const fake = new FakeExecutable({
      nPages: 64,
      vocabSize: flat.length,
      logitsOf: () => flat,
      answer: (request, logits) => {
        const result = answerHead(request, logits);
        elements += result.ids.length + result.logits.length + result.apartLogits.length;
        return result;
      },
      ...(wants ? { wants } : {}),
    });
    const scheduler = new Scheduler(fake, { nPages: 64 });
    const generations = Array.from({ length: 16 }, (_, seed) =>
      scheduler.generate(Int32Array.of(1, 2, 3), { maxTokens: 4, seed, ...options }),
    );
    const results = await Promise.all(generations.map(({ result }) => result));
    await scheduler.dispose();
    return { elements: elements / (16 * 4), ids: results.map(({ ids }) => [...ids]) };
  };

  // XTC's share of tokens takes all logits.
  const { XTC: _, ...drawn } = samplers;

  test.each(Object.entries({ ...drawn, reported: { topP: 1, logprobs: 4 }, "top-k": { topK: 5000 } }))(
    "does not grow with the vocabulary for sixteen flat distributions: %s",
    async (_, options) => {
      const { elements } = await elementsPerToken(options);
      // The first short list, once in four tokens, and what is drawn.
      expect(elements).toBeLessThan(2500);
    },
  );

  test("is that of all logits where the backend cannot draw, for the same text", async () => {
    const [here, there] = [await elementsPerToken({}, ["top", "all"]), await elementsPerToken({})];
    expect(here.elements).toBeGreaterThanOrEqual(flat.length);
    expect(there.ids).toEqual(here.ids);
  });
});
