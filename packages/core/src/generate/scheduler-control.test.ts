import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { pageTokens } from "../backend/backend.ts";
import { answerHead } from "../backend/reference/head.ts";
import { BitNetError } from "../base/errors.ts";
import { FakeExecutable, type FakeOptions } from "./fake-executable.test.kit.ts";
import { Scheduler } from "./scheduler.ts";
import type { SchedulerOptions } from "./scheduler-options.ts";

const prompt = Int32Array.of(3, 1, 4, 1, 5);

function setUp(options: Partial<FakeOptions> & Partial<SchedulerOptions> = {}) {
  const fake = new FakeExecutable({ nPages: 16, ...options });
  const { maxUnread = 256, maxRows = 512 } = options;
  return { fake, scheduler: new Scheduler(fake, { nPages: options.nPages ?? 16, maxUnread, maxRows }) };
}

/** Lets everything that can go on without outside help go on. */
async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
}

const unhandled: unknown[] = [];
const record = (error: unknown) => unhandled.push(error);
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", record);
});
afterEach(async () => {
  await settle();
  process.off("unhandledRejection", record);
  expect(unhandled).toEqual([]);
});

describe("cancelling", () => {
  test("between steps frees the pages at once", async () => {
    const { scheduler } = setUp({ maxUnread: 1 });
    const controller = new AbortController();
    const generation = scheduler.generate(prompt, { seed: 1, signal: controller.signal });
    await generation[Symbol.asyncIterator]().next();
    await settle();
    expect(scheduler.stats()).toMatchObject({ paused: 1, pagesInUse: 1 });
    controller.abort();
    expect(scheduler.stats()).toMatchObject({ paused: 0, running: 0, pagesInUse: 0 });
    expect((await generation.result).stopReason).toBe("abort");
  });

  test("during a step answers at once and frees the pages right after it", async () => {
    const { fake, scheduler } = setUp();
    const controller = new AbortController();
    const open = fake.hold();
    const generation = scheduler.generate(prompt, { seed: 1, signal: controller.signal });
    await settle();
    controller.abort();
    expect(await generation.result).toMatchObject({ stopReason: "abort", ids: new Int32Array() });
    expect(scheduler.stats()).toMatchObject({ running: 0, pagesInUse: 1 });
    open();
    await settle();
    expect(scheduler.stats()).toMatchObject({ pagesInUse: 0, steps: 1 });
    // What the step has written may be shared all the same.
    const { cachedTokens } = await scheduler.generate(prompt, { seed: 1, maxTokens: 1 }).result;
    expect(cachedTokens).toBe(4);
  });

  test("while waiting, and before the start", async () => {
    const { fake, scheduler } = setUp({ maxRows: 1 });
    const controller = new AbortController();
    const first = scheduler.generate(prompt, { seed: 1, maxTokens: 3 });
    const second = scheduler.generate(prompt, { seed: 1, signal: controller.signal });
    controller.abort();
    expect((await second.result).stopReason).toBe("abort");
    const third = scheduler.generate(prompt, { seed: 1, signal: controller.signal });
    expect((await third.result).stopReason).toBe("abort");
    expect((await first.result).ids).toHaveLength(3);
    expect(fake.steps.every((step) => step.pageTables.length === 1)).toBe(true);
  });

  test("leaving the loop", async () => {
    const { scheduler } = setUp();
    const generation = scheduler.generate(prompt, { seed: 1 });
    let n = 0;
    for await (const _ of generation) if (++n === 5) break;
    const { stopReason, ids } = await generation.result;
    expect(stopReason).toBe("abort");
    expect(ids.length).toBeGreaterThanOrEqual(5);
    await settle();
    expect(scheduler.stats().pagesInUse).toBe(0);
    for await (const _ of generation) throw new Error("the stream was left");
  });

  test("the signal is let go of when the generation ends", async () => {
    const { scheduler } = setUp();
    const controller = new AbortController();
    const listeners = new Set<unknown>();
    const { signal } = controller;
    const [add, remove] = [signal.addEventListener, signal.removeEventListener].map((f) => f.bind(signal));
    signal.addEventListener = (...args: Parameters<typeof signal.addEventListener>) => {
      listeners.add(args[1]);
      add?.(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof signal.removeEventListener>) => {
      listeners.delete(args[1]);
      remove?.(...args);
    };
    const generation = scheduler.generate(prompt, { seed: 1, maxTokens: 2, signal });
    expect(listeners.size).toBe(1);
    await generation.result;
    expect(listeners.size).toBe(0);
  });
});

describe("slow readers", () => {
  test("pause their generation, lose no piece, and get the same text", async () => {
    const { fake, scheduler } = setUp({ maxUnread: 8 });
    const options = { seed: 1, maxTokens: 100 };
    const expected = await scheduler.generate(prompt, options).result;
    const nSteps = fake.steps.length;
    const generation = scheduler.generate(prompt, options);
    const reader = generation[Symbol.asyncIterator]();
    const ids = [(await reader.next()).value?.id];
    await settle();
    expect(scheduler.stats().paused).toBe(1);
    // One piece was read, and as many lie unread as may.
    expect(fake.steps.length - nSteps).toBe(9);
    const pausedAt = fake.steps.length;
    await settle();
    expect(fake.steps).toHaveLength(pausedAt);
    ids.push((await reader.next()).value?.id);
    await settle();
    expect(scheduler.stats().paused).toBe(1);
    expect(fake.steps).toHaveLength(pausedAt);
    for (let i = 0; i < 5; i++) ids.push((await reader.next()).value?.id);
    await settle();
    expect(fake.steps.length).toBeGreaterThan(pausedAt);
    for await (const { id } of generation) ids.push(id);
    expect(ids).toEqual([...expected.ids]);
  });

  test("give their pages to those who wait", async () => {
    const { scheduler } = setUp({ nPages: 3, maxUnread: 4 });
    const slow = scheduler.generate(
      Int32Array.from({ length: 60 }, (_, i) => i),
      { seed: 1, maxTokens: 20 },
    );
    const reader = slow[Symbol.asyncIterator]();
    await reader.next();
    await settle();
    expect(scheduler.stats().paused).toBe(1);
    const other = scheduler.generate(
      Int32Array.from({ length: 70 }, (_, i) => 63 - (i % 64)),
      { seed: 1, maxTokens: 3 },
    );
    expect((await other.result).ids).toHaveLength(3);
    expect(scheduler.stats()).toMatchObject({ paused: 1, preemptions: 1 });
    while (!(await reader.next()).done);
    expect((await slow.result).ids).toHaveLength(20);
  });

  test("a newcomer waits rather than take the page that a running request needs next", async () => {
    const { scheduler } = setUp({ nPages: 4 });
    const running = scheduler.generate(
      Int32Array.from({ length: 60 }, (_, i) => i),
      { seed: 1, maxTokens: 40 },
    );
    await running[Symbol.asyncIterator]().next();
    // Two pages are left, and it would take both.
    const newcomer = scheduler.generate(
      Int32Array.from({ length: 50 }, (_, i) => 63 - i),
      { seed: 1, maxTokens: 12 },
    );
    expect((await running.result).ids).toHaveLength(40);
    expect((await newcomer.result).ids).toHaveLength(12);
    expect(scheduler.stats().preemptions).toBe(0);
  });

  test("a newcomer joins where just that page is left", async () => {
    const { fake, scheduler } = setUp({ nPages: 5 });
    const running = scheduler.generate(
      Int32Array.from({ length: 60 }, (_, i) => i),
      { seed: 1, maxTokens: 30 },
    );
    await running[Symbol.asyncIterator]().next();
    const newcomer = scheduler.generate(
      Int32Array.from({ length: 50 }, (_, i) => 63 - i),
      { seed: 1, maxTokens: 12 },
    );
    await Promise.all([running.result, newcomer.result]);
    expect(fake.steps.some(({ pageTables }) => pageTables.length === 2)).toBe(true);
    expect(scheduler.stats().preemptions).toBe(0);
  });

  test("give their pages to those who run, first of all", async () => {
    const { scheduler } = setUp({ nPages: 3, maxUnread: 4 });
    const slow = scheduler.generate(
      Int32Array.from({ length: 40 }, (_, i) => i),
      { seed: 1, maxTokens: 20 },
    );
    const reader = slow[Symbol.asyncIterator]();
    await reader.next();
    await settle();
    expect(scheduler.stats()).toMatchObject({ paused: 1, pagesInUse: 2 });
    const other = scheduler.generate(prompt, { seed: 1, maxTokens: 80 });
    expect((await other.result).ids).toHaveLength(80);
    expect(scheduler.stats()).toMatchObject({ paused: 1, preemptions: 1 });
    await reader.return?.();
  });

  test("coming back all at once get their turns", async () => {
    const { fake, scheduler } = setUp({ maxUnread: 1, maxRows: 2 });
    const options = { seed: 1, maxTokens: 12 };
    const expected = await scheduler.generate(prompt, options).result;
    const readers = Array.from({ length: 5 }, () =>
      scheduler.generate(prompt, options)[Symbol.asyncIterator](),
    );
    for (const id of expected.ids) {
      const reads = await Promise.all(readers.map((reader) => reader.next()));
      expect(reads.map(({ value }) => value?.id)).toEqual(new Array(5).fill(id));
      await settle();
    }
    expect(Math.max(...fake.steps.slice(12).map((step) => step.tokens.length))).toBe(2);
  });

  test("nobody reading is not slow", async () => {
    const { scheduler } = setUp({ maxUnread: 2 });
    const generation = scheduler.generate(prompt, { seed: 1, maxTokens: 50 });
    const { ids } = await generation.result;
    const late: number[] = [];
    for await (const { id } of generation) late.push(id);
    expect(late).toEqual([...ids]);
  });

  test("reads may be asked for ahead", async () => {
    const { scheduler } = setUp();
    const generation = scheduler.generate(prompt, { seed: 1, maxTokens: 2 });
    const reader = generation[Symbol.asyncIterator]();
    const reads = await Promise.all([reader.next(), reader.next(), reader.next(), reader.next()]);
    expect(reads.map(({ done }) => done)).toEqual([false, false, true, true]);
  });
});

describe("failing steps", () => {
  const bad = 63;
  const isBad = (history: readonly number[]) => history.includes(bad);
  const failure = (code: BitNetError["code"], named: boolean) =>
    new BitNetError(code, "it went wrong", { details: { named } });

  function three(options: Partial<FakeOptions>) {
    const { fake, scheduler } = setUp({ maxRows: 64, ...options });
    const prompts = [prompt, Int32Array.of(9, bad, 2), Int32Array.from({ length: pageTokens }, (_, i) => i)];
    const ban = { logitBias: { [bad]: Number.NEGATIVE_INFINITY } };
    const runs = prompts.map((each) => scheduler.generate(each, { seed: 1, maxTokens: 5, ...ban }));
    return { fake, scheduler, runs, results: Promise.allSettled(runs.map(({ result }) => result)) };
  }

  test("a named row fails its request only; the others run again", async () => {
    const { scheduler, results } = three({
      failsOn: (history) => (isBad(history) ? failure("NUMERIC_FAILURE", true) : null),
    });
    const settled = await results;
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(settled[1]).toMatchObject({ reason: { code: "NUMERIC_FAILURE" } });
    expect(scheduler.stats()).toMatchObject({ pagesInUse: 0, running: 0 });
    // Rows of the step that failed were not taken into the cache.
    const again = await scheduler.generate(Int32Array.of(9, 2, 9), { seed: 1, maxTokens: 1 }).result;
    expect(again.cachedTokens).toBe(0);
  });

  test("without a row the whole step fails, and later requests are served", async () => {
    const { scheduler, results } = three({
      failsOn: (history) => (isBad(history) ? failure("NUMERIC_FAILURE", false) : null),
    });
    expect((await results).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect((await scheduler.generate(prompt, { seed: 1, maxTokens: 4 }).result).ids).toHaveLength(4);
  });

  test("a failing backend fails everything, what waits included", async () => {
    let isBroken = true;
    const { scheduler, runs, results } = three({
      maxRows: 1,
      failsOn: () => (isBroken ? failure("BACKEND_FAILED", true) : null),
    });
    expect((await results).map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(scheduler.stats()).toMatchObject({ pagesInUse: 0, running: 0, waiting: 0 });
    await expect(runs[0]?.[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "BACKEND_FAILED" });
    isBroken = false;
    expect((await scheduler.generate(prompt, { seed: 1, maxTokens: 4 }).result).ids).toHaveLength(4);
  });

  test("a reader sees the pieces so far, then the error, then the end", async () => {
    const { scheduler } = setUp({
      failsOn: (history) => (history.length > 7 ? failure("NUMERIC_FAILURE", true) : null),
    });
    const reader = scheduler.generate(prompt, { seed: 1 })[Symbol.asyncIterator]();
    for (let i = 0; i < 3; i++) expect((await reader.next()).done).toBe(false);
    await expect(reader.next()).rejects.toMatchObject({ code: "NUMERIC_FAILURE" });
    expect((await reader.next()).done).toBe(true);
  });

  test("a request without a possible token fails alone", async () => {
    const { scheduler } = setUp({ vocabSize: 2 });
    const ban = { logitBias: { 0: Number.NEGATIVE_INFINITY, 1: Number.NEGATIVE_INFINITY } };
    const failing = scheduler.generate(Int32Array.of(0), { seed: 1, ...ban });
    const other = scheduler.generate(Int32Array.of(1), { seed: 1, maxTokens: 5 });
    await expect(failing.result).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect((await other.result).ids).toHaveLength(5);
  });
});

describe("the end", () => {
  test("disposing ends everything, waits for the step in flight and refuses what comes after", async () => {
    const { fake, scheduler } = setUp({ maxRows: 8 });
    const open = fake.hold();
    const runs = [scheduler.generate(prompt, { seed: 1 }), scheduler.generate(prompt, { seed: 2 })];
    await settle();
    const disposal = scheduler.dispose();
    for (const run of runs) expect((await run.result).stopReason).toBe("abort");
    await settle();
    expect(fake.isDisposed).toBe(false);
    open();
    await disposal;
    expect(fake.isDisposed).toBe(true);
    expect(scheduler.dispose()).toBe(disposal);
    for (const call of [
      () => scheduler.generate(prompt),
      () => scheduler.stats(),
      () => scheduler.clearCache(),
    ])
      expect(call).toThrow(expect.objectContaining({ code: "DISPOSED" }));
  });

  test("timers run while a machine answers without leaving the thread", async () => {
    const { scheduler } = setUp({ nPages: 128 });
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), 30);
    const { stopReason } = await scheduler.generate(prompt, {
      seed: 1,
      maxTokens: 1e6,
      signal: controller.signal,
    }).result;
    clearTimeout(timer);
    expect(stopReason).toBe("abort");
  });

  test("steps that are computed elsewhere follow each other at once, however long they take", async () => {
    const { fake, scheduler } = setUp();
    const run = fake.run.bind(fake);
    let hasTurned = false;
    const turns: boolean[] = [];
    fake.run = async (step) => {
      turns.push(hasTurned);
      await new Promise((resolve) => setTimeout(resolve, 30));
      const result = await run(step);
      hasTurned = false;
      setImmediate(() => {
        hasTurned = true;
      });
      return result;
    };
    await scheduler.generate(prompt, { seed: 1, maxTokens: 4 }).result;
    expect(turns).toEqual([false, false, false, false]);
  });
});

describe("what callers may get wrong", () => {
  const { scheduler } = setUp();
  test.each<[string, Int32Array]>([
    ["an empty prompt", new Int32Array()],
    ["a negative id", Int32Array.of(1, -1)],
    ["an id beyond the vocabulary", Int32Array.of(64)],
  ])("%s", (_, ids) => {
    expect(() => scheduler.generate(ids)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  test("options", () => {
    expect(() => scheduler.generate(prompt, { temperature: -1 })).toThrow(/temperature/);
    expect(scheduler.stats()).toMatchObject({ running: 0, waiting: 0 });
  });

  test.each(["nPages", "maxRows", "prefillChunk", "prefillChunkWhileDecoding", "maxUnread"])(
    "%s of 0",
    (name) => {
      const make = () => new Scheduler(new FakeExecutable({ nPages: 4 }), { nPages: 4, [name]: 0 });
      expect(make).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    },
  );
});

describe("what is wrong with one request", () => {
  const allIds = () => new Uint32Array(2).fill(0xffffffff);
  const maskWith = (parts: object) => ({ allowed: allIds, accept() {}, dispose() {}, ...parts });
  const boom = () => {
    throw new Error("boom");
  };

  test.each<[string, object, RegExp]>([
    ["a mask that throws", maskWith({ allowed: boom }), /boom/],
    ["a mask that is too short", maskWith({ allowed: () => new Uint32Array(1) }), /gave 1 words, expected/],
    ["a mask that is none", maskWith({ allowed: () => [1, 2] }), /gave an array, expected/],
    ["a mask that refuses a token", maskWith({ accept: boom }), /boom/],
  ])("fails that one only: %s", async (_, mask, message) => {
    const { scheduler } = setUp();
    const options = { seed: 1, maxTokens: 8 };
    const good = scheduler.generate(prompt, options);
    const bad = scheduler.generate(prompt, { ...options, mask: mask as ReturnType<typeof maskWith> });
    const later = scheduler.generate(prompt, options);
    await expect(bad.result).rejects.toThrow(message);
    expect((await good.result).ids).toHaveLength(8);
    expect((await later.result).ids).toEqual((await good.result).ids);
    expect(scheduler.stats()).toMatchObject({ running: 0, waiting: 0, pagesInUse: 0 });
  });

  test("does not keep it from ending, nor its pages in use", async () => {
    const { scheduler } = setUp();
    const { signal } = new AbortController();
    const stuck = {
      aborted: false,
      addEventListener: signal.addEventListener.bind(signal),
      removeEventListener: boom,
    } as unknown as AbortSignal;
    const mask = maskWith({ dispose: boom });
    const { result } = scheduler.generate(prompt, { seed: 1, maxTokens: 3, signal: stuck, mask });
    expect((await result).ids).toHaveLength(3);
    expect(scheduler.stats()).toMatchObject({ running: 0, pagesInUse: 0 });
    const deaf = { ...stuck, removeEventListener() {}, addEventListener: boom } as unknown as AbortSignal;
    await expect(scheduler.generate(prompt, { signal: deaf }).result).rejects.toThrow("boom");
    expect(scheduler.stats()).toMatchObject({ running: 0, waiting: 0 });
  });

  test("is told by its row where a step finds it", async () => {
    const { scheduler } = setUp({
      answer: (request, logits) => {
        if (request.want.kind !== "top") return answerHead(request, logits);
        throw new BitNetError("INVALID_ARGUMENT", "wrong", { details: { row: request.row } });
      },
    });
    const good = scheduler.generate(prompt, { seed: 1, maxTokens: 4, temperature: 1, topP: 1 });
    const bad = scheduler.generate(prompt, { seed: 1, maxTokens: 4, temperature: 0 });
    await expect(bad.result).rejects.toThrow("wrong");
    expect((await good.result).ids).toHaveLength(4);
  });
});
