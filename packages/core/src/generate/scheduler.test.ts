import { describe, expect, test } from "vitest";
import { pageTokens } from "../backend/backend.ts";
import { FakeExecutable, type FakeOptions, generateAlone } from "./fake-executable.test.kit.ts";
import { looseAnswer } from "./loose-answer.test.kit.ts";
import type { GenerateOptions } from "./options.ts";
import { parseGenerateOptions } from "./parse-options.ts";
import { Scheduler } from "./scheduler.ts";
import type { SchedulerOptions } from "./scheduler-options.ts";

/** A fake and a scheduler over it. */
function setUp(options: FakeOptions & Partial<SchedulerOptions>) {
  const fake = new FakeExecutable(options);
  const { nPages, maxRows, prefillChunk, prefillChunkWhileDecoding, maxUnread } = options;
  const given = { nPages, maxRows, prefillChunk, prefillChunkWhileDecoding, maxUnread };
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { fake, scheduler: new Scheduler(fake, { nPages, ...present }) };
}

function promptOf(seed: number, n: number): Int32Array {
  return Int32Array.from({ length: n }, (_, i) => (Math.imul(seed * 7919 + i, 2654435761) >>> 12) % 64);
}

function alone(prompt: Int32Array, options: GenerateOptions, contextLength = 4096): number[] {
  return generateAlone([...prompt], parseGenerateOptions(options, 64), { contextLength });
}

/** Small seeded generator for tests (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe("one generation", () => {
  test("gives the tokens of the plain loop, as pieces and as a result", async () => {
    const { fake, scheduler } = setUp({ nPages: 8 });
    const prompt = promptOf(1, 40);
    const options = { seed: 11, maxTokens: 50 };
    const generation = scheduler.generate(prompt, options);
    const pieces: number[] = [];
    for await (const { id } of generation) pieces.push(id);
    const result = await generation.result;
    expect(pieces).toEqual(alone(prompt, options));
    expect([...result.ids]).toEqual(pieces);
    expect(result).toMatchObject({
      text: "",
      stopReason: "length",
      seed: 11,
      promptTokens: 40,
      cachedTokens: 0,
    });
    // The row of the last token is never needed.
    expect(fake.rowsRun).toBe(40 + 49);
    expect(fake.steps).toHaveLength(50);
    for (const value of Object.values(result.timings)) expect(value).toBeGreaterThanOrEqual(0);
    expect(scheduler.stats()).toMatchObject({ running: 0, pagesInUse: 0, rowsComputed: 89, steps: 50 });
  });

  test.each<[string, GenerateOptions]>([
    ["greedy", { temperature: 0 }],
    ["top-k", { topK: 5 }],
    ["min-p", { topP: 1, minP: 0.2 }],
    ["plain temperature", { topP: 1, temperature: 1.5 }],
    ["typical-p", { typicalP: 0.8 }],
    ["penalties over everything", { repeatPenalty: 1.5, repeatLastN: -1, presencePenalty: 0.5, topK: 10 }],
  ])("%s", async (_, options) => {
    const { scheduler } = setUp({ nPages: 8 });
    const prompt = promptOf(2, 20);
    const all = { seed: 5, maxTokens: 30, ...options };
    const { ids } = await scheduler.generate(prompt, all).result;
    expect([...ids]).toEqual(alone(prompt, all));
  });

  test("a seed that was drawn reproduces the text", async () => {
    const { scheduler } = setUp({ nPages: 8 });
    const first = await scheduler.generate(promptOf(3, 5), { maxTokens: 20 }).result;
    const second = await scheduler.generate(promptOf(3, 5), { maxTokens: 20, seed: first.seed }).result;
    expect(second.ids).toEqual(first.ids);
  });

  test.each([1, 7, 512])("prompt pieces of %i rows", async (prefillChunk) => {
    const { fake, scheduler } = setUp({ nPages: 32, prefillChunk });
    const prompt = promptOf(4, 600);
    const { ids } = await scheduler.generate(prompt, { seed: 1, maxTokens: 10 }).result;
    expect([...ids]).toEqual(alone(prompt, { seed: 1, maxTokens: 10 }));
    expect(fake.steps).toHaveLength(Math.ceil(600 / prefillChunk) + 9);
    expect(Math.max(...fake.steps.map((step) => step.tokens.length))).toBeLessThanOrEqual(prefillChunk);
  });
});

describe("many generations", () => {
  test("two share every run", async () => {
    const { fake, scheduler } = setUp({ nPages: 16 });
    const options = { seed: 2, maxTokens: 20 };
    const [a, b] = [promptOf(5, 10), promptOf(6, 33)];
    const results = [a, b].map((prompt) => scheduler.generate(prompt, options).result);
    const [first, second] = await Promise.all(results);
    expect([...(first?.ids ?? [])]).toEqual(alone(a, options));
    expect([...(second?.ids ?? [])]).toEqual(alone(b, options));
    expect(fake.steps).toHaveLength(20);
    expect(fake.steps.map((step) => step.tokens.length)).toEqual([43, ...new Array(19).fill(2)]);
  });

  test("few rows per step: long prompts are interleaved and nobody starves", async () => {
    const { fake, scheduler } = setUp({ nPages: 64, maxRows: 8 });
    const prompts = [300, 2, 150, 1, 77, 40, 9, 8, 64, 65, 31].map((n, i) => promptOf(20 + i, n));
    const results = await Promise.all(
      prompts.map((prompt, i) => scheduler.generate(prompt, { seed: i, maxTokens: 12 }).result),
    );
    results.forEach(({ ids }, i) => {
      expect([...ids]).toEqual(alone(prompts[i] ?? new Int32Array(), { seed: i, maxTokens: 12 }));
    });
    expect(Math.max(...fake.steps.map((step) => step.tokens.length))).toBe(8);
  });

  test("no more requests run at once than a step has rows", async () => {
    const { fake, scheduler } = setUp({ nPages: 64, maxRows: 4 });
    const prompts = Array.from({ length: 12 }, (_, i) => promptOf(60 + i, 2));
    const results = prompts.map(
      (prompt, i) => scheduler.generate(prompt, { seed: i, maxTokens: 6 + i }).result,
    );
    for (const [i, { ids }] of (await Promise.all(results)).entries())
      expect([...ids]).toEqual(alone(prompts[i] ?? new Int32Array(), { seed: i, maxTokens: 6 + i }));
    expect(Math.max(...fake.steps.map((step) => step.tokens.length))).toBe(4);
  });

  test("prompts take turns when there is not a row for each", async () => {
    const { fake, scheduler } = setUp({ nPages: 16, prefillChunk: 2 });
    const prompts = [80, 81, 82].map((seed) => promptOf(seed, 12));
    await Promise.all(prompts.map((prompt) => scheduler.generate(prompt, { maxTokens: 1 }).result));
    expect(fake.steps.every((step) => step.tokens.length <= 2)).toBe(true);
    const served = new Map<number, number[]>();
    fake.steps.forEach((step, i) => {
      for (const [page = -1] of step.pageTables) served.set(page, [...(served.get(page) ?? []), i]);
    });
    expect(served.size).toBe(3);
    for (const steps of served.values()) {
      const gaps = steps.map((step, i) => step - (steps[i - 1] ?? -1));
      expect(Math.max(...gaps)).toBeLessThanOrEqual(2);
    }
  });

  test("a long prompt does not hold up decoding", async () => {
    const { fake, scheduler } = setUp({ nPages: 64, prefillChunkWhileDecoding: 50 });
    const short = scheduler.generate(promptOf(7, 3), { seed: 1, maxTokens: 30 });
    const pieces = short[Symbol.asyncIterator]();
    await pieces.next();
    const long = scheduler.generate(promptOf(8, 1000), { seed: 2, maxTokens: 2 });
    for (let i = 1; i < 15; i++) await pieces.next();
    // One token per step all the while, beside at most 50 prompt rows.
    expect(fake.steps.slice(1).every((step) => step.tokens.length <= 51)).toBe(true);
    expect(fake.steps.length).toBeLessThanOrEqual(17);
    await pieces.return?.();
    expect([...(await long.result).ids]).toEqual(alone(promptOf(8, 1000), { seed: 2, maxTokens: 2 }));
  });

  test("the same seed gives the same text under any load", async () => {
    const prompt = promptOf(9, 50);
    const options = { seed: 99, maxTokens: 60 };
    const expected = alone(prompt, options);
    for (const load of [0, 3, 17]) {
      const { scheduler } = setUp({ nPages: 40, maxRows: 24 });
      const others = Array.from({ length: load }, (_, i) =>
        scheduler.generate(promptOf(30 + i, 5 + 11 * i), { seed: i, maxTokens: 40 }),
      );
      const { ids } = await scheduler.generate(prompt, options).result;
      expect([...ids]).toEqual(expected);
      await Promise.all(others.map((other) => other.result));
      expect(scheduler.stats().pagesInUse).toBe(0);
    }
  });

  test("a hundred with random cancels leave no page in use and no wrong token", async () => {
    const { fake, scheduler } = setUp({ nPages: 14, maxRows: 40, maxUnread: 4 });
    const next = random(20260104);
    const stems = [promptOf(40, 70), promptOf(41, 33), promptOf(42, 5)];
    let nAborted = 0;
    const runs = Array.from({ length: 100 }, async (_, i) => {
      const stem = stems[i % 3] ?? new Int32Array();
      const prompt = Int32Array.from([...stem, ...promptOf(50 + (i % 9), 1 + Math.floor(next() * 60))]);
      const controller = new AbortController();
      const options = { seed: i, maxTokens: 1 + Math.floor(next() * 250) };
      const [style, patience] = [Math.floor(next() * 4), Math.floor(next() * 80)];
      const generation = scheduler.generate(prompt, { ...options, signal: controller.signal });
      const seen: number[] = [];
      if (style > 0)
        for await (const { id } of generation) {
          seen.push(id);
          if (seen.length <= patience) continue;
          if (style === 1) break;
          if (style === 2) controller.abort();
        }
      const { ids, stopReason } = await generation.result;
      const expected = alone(prompt, options);
      expect([...ids]).toEqual(expected.slice(0, ids.length));
      if (style === 3) expect(seen).toEqual([...ids]);
      if (stopReason === "abort") nAborted++;
      else expect(ids).toHaveLength(expected.length);
    });
    await Promise.all(runs);
    expect(nAborted).toBeGreaterThan(10);
    expect(nAborted).toBeLessThan(90);
    const stats = scheduler.stats();
    expect(stats).toMatchObject({ running: 0, waiting: 0, paused: 0, pagesInUse: 0 });
    expect(stats.pagesCached + stats.pagesFree).toBe(14);
    expect(stats.preemptions).toBeGreaterThan(0);
    expect(stats.rowsSkipped).toBeGreaterThan(0);
    expect(stats.rowsComputed).toBe(fake.rowsRun);
    scheduler.clearCache();
    expect(scheduler.stats()).toMatchObject({ pagesFree: 14, pagesCached: 0 });
    await scheduler.dispose();
  });
});

describe("shared prefixes", () => {
  test("a second request skips what the first has computed, in whole pages and within one", async () => {
    const { fake, scheduler } = setUp({ nPages: 16 });
    const first = promptOf(10, 100);
    await scheduler.generate(first, { seed: 1, maxTokens: 1 }).result;
    expect(fake.rowsRun).toBe(100);
    const second = Int32Array.from([...first.slice(0, 90), 1, 2, 3]);
    const result = await scheduler.generate(second, { seed: 1, maxTokens: 20 }).result;
    expect(result.cachedTokens).toBe(90);
    expect([...result.ids]).toEqual(alone(second, { seed: 1, maxTokens: 20 }));
    expect(fake.rowsRun).toBe(100 + 3 + 19);
    expect(scheduler.stats().rowsSkipped).toBe(90);
  });

  test("the next turn of a chat computes only what is new", async () => {
    const { fake, scheduler } = setUp({ nPages: 16 });
    const first = promptOf(11, 50);
    const { ids } = await scheduler.generate(first, { seed: 1, maxTokens: 40 }).result;
    const before = fake.rowsRun;
    const second = Int32Array.from([...first, ...ids, 5, 6, 7]);
    const result = await scheduler.generate(second, { seed: 1, maxTokens: 1 }).result;
    // The row of the last token of the reply was never computed.
    expect(result.cachedTokens).toBe(50 + 39);
    expect(fake.rowsRun - before).toBe(4);
  });

  test("the whole prompt again: its last row is computed for the logits", async () => {
    const { fake, scheduler } = setUp({ nPages: 16 });
    const prompt = promptOf(12, 2 * pageTokens);
    const options = { seed: 4, maxTokens: 5 };
    const first = await scheduler.generate(prompt, options).result;
    const second = await scheduler.generate(prompt, options).result;
    expect(second.ids).toEqual(first.ids);
    expect(second.cachedTokens).toBe(2 * pageTokens - 1);
    expect(fake.rowsRun).toBe(2 * pageTokens + 4 + 1 + 4);
  });

  test("requests that start together compute a common beginning once", async () => {
    const { fake, scheduler } = setUp({ nPages: 32 });
    const stem = [...promptOf(13, 3 * pageTokens)];
    const prompts = [1, 2, 3, 4].map((last) => Int32Array.from([...stem, last, last]));
    const results = await Promise.all(
      prompts.map((prompt) => scheduler.generate(prompt, { seed: 1, maxTokens: 2 }).result),
    );
    results.forEach(({ ids }, i) => {
      expect([...ids]).toEqual(alone(prompts[i] ?? new Int32Array(), { seed: 1, maxTokens: 2 }));
    });
    expect(fake.rowsRun).toBe(stem.length + 4 * 2 + 4);
    expect(results.map(({ cachedTokens }) => cachedTokens)).toEqual([0, ...new Array(3).fill(stem.length)]);
  });

  test("clearing the cache gives the memory back", async () => {
    const { fake, scheduler } = setUp({ nPages: 16 });
    const prompt = promptOf(14, 100);
    await scheduler.generate(prompt, { seed: 1, maxTokens: 1 }).result;
    scheduler.clearCache();
    expect(fake.nReleased).toBe(4);
    const { cachedTokens } = await scheduler.generate(prompt, { seed: 1, maxTokens: 1 }).result;
    expect(cachedTokens).toBe(0);
  });
});

describe("answers that leave the choice open", () => {
  // One token is listed, and the bracket is as wide as everything weighs: hardly any short answer decides.
  const answer = looseAnswer(1, 1);

  test("the row runs again and gives the same text, at page ends too", async () => {
    const { fake, scheduler } = setUp({ nPages: 32, answer, prefillChunk: 32 });
    const prompts = [31, 32, 33, 63, 64].map((n) => promptOf(n, n));
    const options = { seed: 5, maxTokens: 70 };
    const results = await Promise.all(prompts.map((prompt) => scheduler.generate(prompt, options).result));
    results.forEach(({ ids }, i) => {
      expect([...ids]).toEqual(alone(prompts[i] ?? new Int32Array(), options));
    });
    const { undecided, rowsComputed } = scheduler.stats();
    expect(undecided).toBeGreaterThan(5 * 3);
    expect(rowsComputed).toBe(fake.rowsRun);
    expect(rowsComputed).toBe(31 + 32 + 33 + 63 + 64 + 5 * 69 + undecided);
  });

  test("with shared prefixes, pages running out, and log-probabilities of the prompt", async () => {
    const stem = [...promptOf(3, 40)];
    const prompts = [1, 2, 3].map((last) => Int32Array.from([...stem, last]));
    const options = { seed: 8, maxTokens: 60, promptLogprobs: 2 };
    const run = async (loose: boolean) => {
      const { scheduler } = setUp({ nPages: 7, ...(loose ? { answer } : {}) });
      const results = await Promise.all(prompts.map((prompt) => scheduler.generate(prompt, options).result));
      return {
        texts: results.map(({ ids, promptLogprobs }) => [ids, promptLogprobs]),
        stats: scheduler.stats(),
      };
    };
    const [exact, loose] = [await run(false), await run(true)];
    expect(loose.texts).toEqual(exact.texts);
    expect(exact.stats.undecided).toBe(0);
    expect(loose.stats.undecided).toBeGreaterThan(3);
    expect(loose.stats.preemptions).toBeGreaterThan(0);
  });

  test("a request that is cancelled meanwhile ends", async () => {
    const { fake, scheduler } = setUp({ nPages: 8, answer });
    const controller = new AbortController();
    const open = fake.hold();
    const generation = scheduler.generate(promptOf(1, 10), { seed: 1, signal: controller.signal });
    await Promise.resolve();
    await Promise.resolve();
    controller.abort();
    open();
    expect((await generation.result).stopReason).toBe("abort");
    // Its pages are given up when the step in flight has ended.
    await scheduler.generate(promptOf(2, 10), { seed: 1, maxTokens: 0 }).result;
    expect(scheduler.stats()).toMatchObject({ running: 0, pagesInUse: 0, undecided: 0 });
  });
});

describe("pages running out", () => {
  test("the youngest gives way and its text is unaffected", async () => {
    const { fake, scheduler } = setUp({ nPages: 6 });
    const prompts = [15, 16, 17].map((seed) => promptOf(seed, 20));
    const options = { seed: 8, maxTokens: 100 };
    const finished: number[] = [];
    const results = await Promise.all(
      prompts.map((prompt, i) =>
        scheduler.generate(prompt, options).result.then((result) => {
          finished.push(i);
          return result;
        }),
      ),
    );
    results.forEach(({ ids, cachedTokens }, i) => {
      expect([...ids]).toEqual(alone(prompts[i] ?? new Int32Array(), options));
      // What it finds of itself in the cache after it had to give way does not count.
      expect(cachedTokens).toBe(0);
    });
    expect(scheduler.stats().preemptions).toBeGreaterThan(0);
    expect(finished[0]).toBe(0);
    expect(fake.rowsRun).toBeGreaterThan(3 * 119 - 1);
  });

  test("a request waits until its prompt fits, and later ones wait behind it", async () => {
    const { fake, scheduler } = setUp({ nPages: 4 });
    const first = scheduler.generate(promptOf(18, 60), { seed: 1, maxTokens: 30 });
    const iterator = first[Symbol.asyncIterator]();
    await iterator.next();
    const second = scheduler.generate(promptOf(19, 100), { seed: 1, maxTokens: 2 });
    const third = scheduler.generate(promptOf(20, 3), { seed: 1, maxTokens: 2 });
    await iterator.next();
    expect(scheduler.stats()).toMatchObject({ running: 1, waiting: 2 });
    const order: string[] = [];
    await Promise.all([
      second.result.then(() => order.push("second")),
      third.result.then(() => order.push("third")),
      (async () => {
        while (!(await iterator.next()).done);
        order.push("first");
      })(),
    ]);
    expect(order[0]).toBe("first");
    expect([...(await second.result).ids]).toEqual(alone(promptOf(19, 100), { seed: 1, maxTokens: 2 }));
    // Rows of the second appear only after the first has ended.
    expect(fake.steps.slice(0, 30).every((step) => step.pageTables.length === 1)).toBe(true);
  });

  test("one sequence may fill the whole arena", async () => {
    const { scheduler } = setUp({ nPages: 3 });
    const prompt = promptOf(21, 10);
    const context = 3 * pageTokens;
    expect(scheduler.contextLength).toBe(context);
    const { ids, stopReason } = await scheduler.generate(prompt, { seed: 1 }).result;
    expect(stopReason).toBe("context");
    expect([...ids]).toEqual(alone(prompt, { seed: 1 }, context));
    expect(ids).toHaveLength(context - 10);
    // Again, when its first tokens are cached in a page that there is no room to copy.
    const { scheduler: other } = setUp({ nPages: 2 });
    await other.generate(promptOf(21, 20), { seed: 1, maxTokens: 1 }).result;
    const whole = await other.generate(promptOf(21, 2 * pageTokens - 1), { seed: 1 }).result;
    expect(whole).toMatchObject({ stopReason: "context", cachedTokens: 0 });
    // Again, with the arena full of cached pages, one of which would be copied.
    const again = await scheduler.generate(prompt, { seed: 1 }).result;
    expect(again.ids).toEqual(ids);
  });

  test("a prompt of the whole context leaves no room; a longer one is refused with the numbers", async () => {
    const { scheduler } = setUp({ nPages: 2, contextLength: 40 });
    const { ids, stopReason } = await scheduler.generate(promptOf(22, 40)).result;
    expect(ids).toHaveLength(0);
    expect(stopReason).toBe("context");
    expect(() => scheduler.generate(promptOf(22, 41))).toThrow(
      expect.objectContaining({ code: "CONTEXT_EXCEEDED", details: { promptTokens: 41, contextLength: 40 } }),
    );
  });
});
