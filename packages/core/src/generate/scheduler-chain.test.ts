/** Steps that a backend runs one behind the other without asking: the same tokens as one by one, whatever ends a text meanwhile. */
import { describe, expect, test } from "vitest";
import { pageTokens } from "../backend/backend.ts";
import { BitNetError } from "../base/errors.ts";
import { FakeExecutable, type FakeOptions, generateAlone, peak } from "./fake-executable.test.kit.ts";
import type { GenerateOptions } from "./options.ts";
import { parseGenerateOptions } from "./parse-options.ts";
import { Scheduler } from "./scheduler.ts";

const greedy = { temperature: 0, repeatPenalty: 1 } as const;
const prompt = Int32Array.of(5, 9, 33, 7);

function setUp(options: FakeOptions, nPages = options.nPages) {
  const fake = new FakeExecutable({ mostChained: 8, ...options });
  return { fake, scheduler: new Scheduler(fake, { nPages }) };
}

function alone(options: GenerateOptions, contextLength = 4096): number[] {
  return generateAlone([...prompt], parseGenerateOptions(options, 64), { contextLength });
}

describe("foreseen tokens", () => {
  test("are those of the plain loop, over the ends of pages", async () => {
    const { fake, scheduler } = setUp({ nPages: 8 });
    const options = { ...greedy, maxTokens: 3 * pageTokens };
    const { ids } = await scheduler.generate(prompt, options).result;
    expect([...ids]).toEqual(alone(options));
    // The first comes with the prompt; no chain goes beyond what was asked for.
    expect(fake.chains).toEqual([...new Array(11).fill(8), 7]);
    expect(fake.rowsRun).toBe(prompt.length + options.maxTokens - 1);
    expect(scheduler.stats()).toMatchObject({ steps: options.maxTokens, pagesInUse: 0 });
  });

  test("behind a stop token are dropped, and what comes next is not mistaken for them", async () => {
    const all = alone({ ...greedy, maxTokens: 30 });
    const stop = all.find((id, i) => i > 3 && all.indexOf(id) === i) ?? -1;
    const { fake, scheduler } = setUp({ nPages: 8 });
    const options = { ...greedy, maxTokens: 30, stopTokens: [stop] };
    const { ids, stopReason } = await scheduler.generate(prompt, options).result;
    expect([...ids]).toEqual(all.slice(0, all.indexOf(stop)));
    expect(stopReason).toBe("stop");
    // The prompt and its answer are cached; rows of dropped tokens are not.
    const longer = Int32Array.of(...prompt, ...ids, 1, 2, 3);
    const next = await scheduler.generate(longer, { ...greedy, maxTokens: 9 }).result;
    expect([...next.ids]).toEqual(
      generateAlone([...longer], parseGenerateOptions({ ...greedy, maxTokens: 9 }, 64)),
    );
    expect(next.cachedTokens).toBeLessThanOrEqual(prompt.length + ids.length);
    expect(fake.chains.length).toBeGreaterThan(1);
  });

  test("of several requests that end apart", async () => {
    const { fake, scheduler } = setUp({ nPages: 16 });
    const wanted = [3, 17, 9, 30].map((maxTokens) => ({
      ...greedy,
      maxTokens,
      logitBias: { 4: Number.NEGATIVE_INFINITY },
    }));
    const results = await Promise.all(wanted.map((options) => scheduler.generate(prompt, options).result));
    for (const [i, { ids }] of results.entries()) expect([...ids]).toEqual(alone(wanted[i] ?? {}));
    expect(fake.chains.every((count) => count <= 8)).toBe(true);
    expect(fake.chains.length).toBeGreaterThan(2);
  });

  test("of one that stops in the middle of a chain are dropped, those beside it are not", async () => {
    const other = Int32Array.of(8, 2, 8);
    const options = { ...greedy, maxTokens: 30 };
    const all = alone(options);
    const stop = all.find((id, i) => i > 2 && all.indexOf(id) === i) ?? -1;
    const { fake, scheduler } = setUp({ nPages: 16 });
    const [first, second] = await Promise.all([
      scheduler.generate(prompt, { ...options, stopTokens: [stop] }).result,
      scheduler.generate(other, options).result,
    ]);
    expect([...first.ids]).toEqual(all.slice(0, all.indexOf(stop)));
    expect([...second.ids]).toEqual(generateAlone([...other], parseGenerateOptions(options, 64)));
    expect(fake.chains[0]).toBe(8);
  });

  test("need pages: without them requests go on one by one, and give way to one another as ever", async () => {
    const { fake, scheduler } = setUp({ nPages: 3 });
    const options = { ...greedy, maxTokens: 55 };
    const prompts = [prompt, Int32Array.of(8, 2, 8)];
    const results = await Promise.all(prompts.map((each) => scheduler.generate(each, options).result));
    for (const [i, { ids }] of results.entries())
      expect([...ids]).toEqual(generateAlone([...(prompts[i] ?? [])], parseGenerateOptions(options, 64)));
    expect(fake.chains.length).toBeGreaterThan(2);
    expect(scheduler.stats().preemptions).toBe(1);
  });

  test("end where the context ends", async () => {
    const { scheduler } = setUp({ nPages: 2, contextLength: 20 });
    const { ids, stopReason } = await scheduler.generate(prompt, { ...greedy, maxTokens: 40 }).result;
    expect([...ids]).toEqual(alone({ ...greedy, maxTokens: 40 }, 20));
    expect(stopReason).toBe("context");
  });

  test.each<[string, GenerateOptions]>([
    ["the default sampler", {}],
    ["without a window", { repeatPenalty: 1 }],
    ["greedy, with penalties", { temperature: 0, frequencyPenalty: 0.7, repeatLastN: 6 }],
    ["greedy, with a bias", { ...greedy, logitBias: { 3: 4, 5: Number.NEGATIVE_INFINITY } }],
    ["a window that fills and moves on", { frequencyPenalty: 2, presencePenalty: 1, repeatLastN: 9 }],
    ["a window shorter than a chain", { frequencyPenalty: 2, repeatLastN: 3 }],
    ["a window over everything", { frequencyPenalty: 0.4, repeatLastN: -1 }],
    ["top-k", { topK: 5, topP: 1 }],
    ["min-p and typical-p", { minP: 0.05, typicalP: 0.9, temperature: 1.5 }],
  ])("are drawn as the plain loop draws them: %s", async (_, options) => {
    for (const seed of [1, 2]) {
      const { fake, scheduler } = setUp({ nPages: 8 });
      const wanted = { maxTokens: 40, seed, ...options };
      expect([...(await scheduler.generate(prompt, wanted).result).ids]).toEqual(alone(wanted));
      expect(fake.chains[0]).toBe(options.repeatLastN === 3 ? 4 : options.repeatLastN === 6 ? 7 : 8);
      expect(fake.chains.length).toBeLessThan(40);
    }
  });

  test("are not for requests that look at every token, nor drawn where the backend does not draw", async () => {
    for (const [options, wants] of [
      [{ ...greedy, logprobs: 2 }],
      [{ ...greedy, dryMultiplier: 1 }],
      [{ xtcProbability: 0.5 }],
      [{ temperature: 0.7, repeatPenalty: 1 }, ["top", "all"]],
      [{ temperature: 0, repeatPenalty: 1.1 }, ["top", "all"]],
      [{ ...greedy, logitBias: { 3: 1.5 } }, ["top", "all"]],
    ] as const) {
      const { fake, scheduler } = setUp({ nPages: 8, ...(wants ? { wants } : {}) });
      const wanted = { maxTokens: 10, seed: 1, ...options };
      expect([...(await scheduler.generate(prompt, wanted).result).ids]).toEqual(alone(wanted));
      expect(fake.chains).toEqual([]);
    }
  });

  test("are not taken while another request's prompt is to be read, nor beside one that looks at every token", async () => {
    const { fake, scheduler } = setUp({ nPages: 16 });
    const reported = { seed: 3, maxTokens: 12, logprobs: 1 };
    const results = await Promise.all(
      [{ ...greedy, maxTokens: 40 }, reported].map((options) => scheduler.generate(prompt, options).result),
    );
    expect([...(results[0]?.ids ?? [])]).toEqual(alone({ ...greedy, maxTokens: 40 }));
    expect([...(results[1]?.ids ?? [])]).toEqual(alone(reported));
    // As long as both run, step by step.
    expect(fake.chains[0]).toBe(8);
    expect(fake.chains.length).toBeLessThanOrEqual(4);
  });

  test("of greedy requests beside drawn ones are those of each alone", async () => {
    const { fake, scheduler } = setUp({ nPages: 16 });
    const wanted = [
      { ...greedy, maxTokens: 30 },
      { seed: 3, maxTokens: 30 },
    ];
    const results = await Promise.all(wanted.map((options) => scheduler.generate(prompt, options).result));
    for (const [i, { ids }] of results.entries()) expect([...ids]).toEqual(alone(wanted[i] ?? {}));
    expect(fake.chains[0]).toBe(8);
  });

  test("go as far as the pages do", async () => {
    const { fake, scheduler } = setUp({ nPages: 1 });
    const { ids } = await scheduler.generate(prompt, { ...greedy, maxTokens: 100 }).result;
    expect([...ids]).toEqual(alone({ ...greedy, maxTokens: 100 }, pageTokens));
    expect(fake.steps.length).toBe(pageTokens - prompt.length);
  });

  test("before one that fails are given, and it fails as it would alone", async () => {
    const fails = (history: readonly number[]) =>
      history.length === prompt.length + 12 ? new BitNetError("NUMERIC_FAILURE", "NaN") : null;
    const { scheduler } = setUp({
      nPages: 8,
      failsOn: fails,
      logitsOf: (history) => peak(history.length, 64),
    });
    const generation = scheduler.generate(prompt, { ...greedy, maxTokens: 40 });
    const given: number[] = [];
    const error = await (async () => {
      for await (const { id } of generation) given.push(id);
    })().catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: "NUMERIC_FAILURE" });
    expect(given).toEqual(Array.from({ length: 12 }, (_, i) => prompt.length + i));
    await generation.result.catch(() => {});
  });

  test("of a request that is aborted between chains stop there", async () => {
    const { scheduler } = setUp({ nPages: 8 });
    const controller = new AbortController();
    const generation = scheduler.generate(prompt, { ...greedy, maxTokens: 100, signal: controller.signal });
    let n = 0;
    for await (const _ of generation) if (++n === 3) controller.abort();
    const { ids, stopReason } = await generation.result;
    expect(stopReason).toBe("abort");
    expect(alone({ ...greedy, maxTokens: 100 }).slice(0, ids.length)).toEqual([...ids]);
    // Once the chain in flight has ended, too.
    const next = await scheduler.generate(prompt, { ...greedy, maxTokens: 5 }).result;
    expect([...next.ids]).toEqual(alone({ ...greedy, maxTokens: 5 }));
    expect(scheduler.stats()).toMatchObject({ pagesInUse: 0 });
  });
});
