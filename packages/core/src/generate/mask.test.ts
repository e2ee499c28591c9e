import { expect, test } from "vitest";
import { FakeExecutable, hashedLogits } from "./fake-executable.test.kit.ts";
import { isAllowed, type TokenMask } from "./mask.ts";
import type { GenerateOptions } from "./options.ts";
import { Scheduler } from "./scheduler.ts";

const vocabSize = 64;

/** Allows every third id, shifted by how many tokens have been accepted. */
class EveryThird implements TokenMask {
  readonly accepted: number[] = [];
  nDisposed = 0;
  readonly #bits = new Uint32Array(2);

  allowed(): Uint32Array {
    this.#bits.fill(0);
    for (let id = 0; id < vocabSize; id++)
      if ((id + this.accepted.length) % 3 === 0)
        this.#bits[id >> 5] = (this.#bits[id >> 5] ?? 0) | (1 << (id & 31));
    return this.#bits;
  }

  accept(id: number): void {
    this.accepted.push(id);
  }

  dispose(): void {
    this.nDisposed++;
  }
}

const variants: GenerateOptions[] = [
  { temperature: 0, repeatPenalty: 1 },
  { temperature: 0, repeatPenalty: 1.3 },
  { temperature: 0, logprobs: 3 },
  { temperature: 0.9, topP: 1, repeatPenalty: 1 },
  { temperature: 0.9, topP: 0.8, repeatPenalty: 1.2, presencePenalty: 0.5 },
  { temperature: 1, topK: 5, topP: 1 },
  { temperature: 1, minP: 0.05, topP: 1 },
  { temperature: 1, typicalP: 0.7 },
  { temperature: 1, topP: 0.9, logprobs: 2 },
  { temperature: 1, topP: 1, logitBias: { 3: 2, 5: 100, 6: Number.NEGATIVE_INFINITY } },
];

test.each(variants)("only allowed tokens are chosen: %o", async (options) => {
  const executable = new FakeExecutable({ nPages: 8, vocabSize });
  const scheduler = new Scheduler(executable, { nPages: 8 });
  const mask = new EveryThird();
  const plain = scheduler.generate(Int32Array.of(1, 2, 3), { ...options, seed: 5, maxTokens: 40 });
  const masked = await scheduler.generate(Int32Array.of(1, 2, 3), {
    ...options,
    seed: 5,
    maxTokens: 40,
    mask,
  }).result;
  expect([...masked.ids].filter((id, i) => (id + i) % 3 !== 0)).toEqual([]);
  expect(mask.accepted).toEqual([...masked.ids]);
  expect(mask.nDisposed).toBe(1);
  // The neighbour without a mask gives what it gives alone.
  const alone = scheduler.generate(Int32Array.of(1, 2, 3), { ...options, seed: 5, maxTokens: 40 });
  expect([...(await plain.result).ids]).toEqual([...(await alone.result).ids]);
  expect([...masked.ids]).not.toEqual([...(await plain.result).ids]);
  await scheduler.dispose();
});

test("a mask is the forbidding of all other tokens by bias", async () => {
  for (const options of variants) {
    if (options.logprobs !== undefined || options.logitBias !== undefined) continue;
    const scheduler = new Scheduler(new FakeExecutable({ nPages: 8, vocabSize }), { nPages: 8 });
    const bits = Uint32Array.of(0x0f0f0f0f, 0xff);
    const mask: TokenMask = { allowed: () => bits, accept: () => {}, dispose: () => {} };
    const logitBias: Record<number, number> = {};
    for (let id = 0; id < vocabSize; id++) if (!isAllowed(bits, id)) logitBias[id] = Number.NEGATIVE_INFINITY;
    const run = async (more: GenerateOptions) => [
      ...(await scheduler.generate(Int32Array.of(4), { ...options, ...more, seed: 9, maxTokens: 50 }).result)
        .ids,
    ];
    expect(await run({ mask })).toEqual(await run({ logitBias }));
    await scheduler.dispose();
  }
});

test("log-probabilities are those of the whole vocabulary", async () => {
  const scheduler = new Scheduler(new FakeExecutable({ nPages: 8, vocabSize }), { nPages: 8 });
  const mask: TokenMask = { allowed: () => Uint32Array.of(1 << 7, 0), accept: () => {}, dispose: () => {} };
  for (const temperature of [0, 1]) {
    const { logprobs } = await scheduler.generate(Int32Array.of(1), {
      temperature,
      logprobs: 2,
      maxTokens: 1,
      mask,
    }).result;
    const logits = hashedLogits([1], vocabSize);
    const best = Math.max(...logits);
    expect(logprobs?.[0]?.id).toBe(7);
    expect(logits[logprobs?.[0]?.top[0]?.[0] ?? -1]).toBe(best);
  }
  await scheduler.dispose();
});

test("choice tells answers of one seed apart, and repeats", async () => {
  const scheduler = new Scheduler(new FakeExecutable({ nPages: 8, vocabSize }), { nPages: 8 });
  const run = async (choice: number) =>
    [
      ...(await scheduler.generate(Int32Array.of(1), { seed: 3, choice, topP: 1, maxTokens: 30 }).result).ids,
    ].join();
  expect(await run(1)).not.toBe(await run(0));
  expect(await run(1)).toBe(await run(1));
  await scheduler.dispose();
});

test("prefixes are shared within a salt only", async () => {
  const scheduler = new Scheduler(new FakeExecutable({ nPages: 16, vocabSize }), { nPages: 16 });
  const prompt = Int32Array.from({ length: 100 }, (_, i) => i % vocabSize);
  const run = async (cacheSalt: string) =>
    (await scheduler.generate(prompt, { cacheSalt, temperature: 0, maxTokens: 2 }).result).cachedTokens;
  expect(await run("a")).toBe(0);
  expect(await run("b")).toBe(0);
  expect(await run("a")).toBeGreaterThan(60);
  expect(await run("")).toBe(0);
  await scheduler.dispose();
});

test("and under the same adapter only, whatever the salt says", async () => {
  const options = { nPages: 16, adapters: ["x", "y"] };
  const scheduler = new Scheduler(new FakeExecutable({ nPages: 16, vocabSize }), options);
  const prompt = Int32Array.from({ length: 100 }, (_, i) => i % vocabSize);
  const run = async (adapter: string | null, cacheSalt = "") =>
    (await scheduler.generate(prompt, { adapter, cacheSalt, temperature: 0, maxTokens: 2 }).result)
      .cachedTokens;
  expect(await run("x")).toBe(0);
  expect(await run(null)).toBe(0);
  expect(await run("y")).toBe(0);
  expect(await run(null, "0 ")).toBe(0); // what the first one's salt may look like inside
  expect(await run("x")).toBeGreaterThan(60);
  expect(() => scheduler.generate(prompt, { adapter: "z" })).toThrow(/no "z" \(loaded: x, y/);
  await scheduler.dispose();
});

/** The same as another mask, told a task later. */
class Late extends EveryThird {
  #isReady = false;

  ready(): Promise<void> | null {
    if (this.#isReady) return null;
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#isReady = true;
        resolve();
      });
    });
  }

  override allowed(): Uint32Array {
    if (!this.#isReady) throw new Error("asked too early");
    return super.allowed();
  }

  override accept(id: number): void {
    this.#isReady = false;
    super.accept(id);
  }
}

test("masks that come from elsewhere are waited for, also those of requests that come meanwhile", async () => {
  const scheduler = new Scheduler(new FakeExecutable({ nPages: 8, vocabSize }), { nPages: 8 });
  const run = (mask: TokenMask) =>
    scheduler.generate(Int32Array.of(1, 2, 3), { seed: 5, maxTokens: 12, mask }).result;
  const expected = (await run(new EveryThird())).ids;
  const first = run(new Late());
  await new Promise(setImmediate);
  const second = run(new Late());
  expect((await first).ids).toEqual(expected);
  expect((await second).ids).toEqual(expected);
  await scheduler.dispose();
});

test.each<[string, () => Promise<void> | null]>([
  ["fails", () => Promise.reject(new Error("boom"))],
  [
    "throws",
    () => {
      throw new Error("boom");
    },
  ],
])("waiting for a mask that %s fails that request only", async (_, ready) => {
  const scheduler = new Scheduler(new FakeExecutable({ nPages: 8, vocabSize }), { nPages: 8 });
  const prompt = Int32Array.of(1, 2, 3);
  const mask = Object.assign(new EveryThird(), { ready });
  const bad = scheduler.generate(prompt, { seed: 5, maxTokens: 4, mask });
  const good = scheduler.generate(prompt, { seed: 5, maxTokens: 4 });
  await expect(bad.result).rejects.toThrow("boom");
  expect((await good.result).ids).toHaveLength(4);
  expect(mask.nDisposed).toBe(1);
  await scheduler.dispose();
});

test("a request that is aborted while its mask is made ends", async () => {
  const scheduler = new Scheduler(new FakeExecutable({ nPages: 8, vocabSize }), { nPages: 8 });
  const abort = new AbortController();
  let end = () => {};
  const made = new Promise<void>((resolve) => {
    end = resolve;
  });
  const mask: TokenMask = { ready: () => made, allowed: () => null, accept: () => {}, dispose: () => end() };
  const generation = scheduler.generate(Int32Array.of(1), { maxTokens: 4, mask, signal: abort.signal });
  await new Promise(setImmediate);
  abort.abort();
  expect((await generation.result).stopReason).toBe("abort");
  await scheduler.dispose();
});
