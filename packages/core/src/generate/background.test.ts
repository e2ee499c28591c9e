import { expect, test } from "vitest";
import { FakeExecutable, generateAlone } from "./fake-executable.test.kit.ts";
import type { GenerateOptions } from "./options.ts";
import { parseGenerateOptions } from "./parse-options.ts";
import { Scheduler } from "./scheduler.ts";

const prompt = (seed: number, n: number) =>
  Int32Array.from({ length: n }, (_, i) => (seed * 31 + i * 7) % 64);
const alone = (ids: Int32Array, options: GenerateOptions) =>
  generateAlone([...ids], parseGenerateOptions(options, 64), { contextLength: 4096 });

/** A scheduler over a fake that notes how many rows each step had. */
function setUp(nPages: number) {
  const fake = new FakeExecutable({ nPages });
  return { fake, scheduler: new Scheduler(fake, { nPages }) };
}

test("beside others it takes part in every fourth step, and alone in all; texts are the same", async () => {
  const { fake, scheduler } = setUp(64);
  const slow = { seed: 1, maxTokens: 200, background: true };
  const fast = { seed: 2, maxTokens: 80 };
  const [a, b] = [scheduler.generate(prompt(1, 20), slow), scheduler.generate(prompt(2, 20), fast)];
  expect([...(await b.result).ids]).toEqual(alone(prompt(2, 20), fast));
  const shared = fake.steps.length;
  const both = fake.steps.slice(1).filter(({ tokens }) => tokens.length === 2).length;
  expect([shared <= 82, both >= 18, both <= 22]).toEqual([true, true, true]);
  expect([...(await a.result).ids]).toEqual(alone(prompt(1, 20), slow));
  expect(fake.steps.length - shared).toBeLessThanOrEqual(200 - both + 2);
});

test("its prompt is computed in every fourth step, too", async () => {
  const { fake, scheduler } = setUp(128);
  const fast = scheduler.generate(prompt(2, 20), { seed: 2, maxTokens: 40 });
  const slow = scheduler.generate(prompt(1, 2000), { seed: 1, maxTokens: 2, background: true });
  await fast.result;
  const withPrompt = fake.steps.slice(1).filter(({ tokens }) => tokens.length > 1).length;
  expect([withPrompt >= 9, withPrompt <= 11]).toEqual([true, true]);
  expect([...(await slow.result).ids]).toEqual(alone(prompt(1, 2000), { seed: 1, maxTokens: 2 }));
});

test("equal prompts, one of them in the background, wait for nobody for ever", async () => {
  const { scheduler } = setUp(64);
  const ids = prompt(3, 900);
  const results = await Promise.all(
    [true, false, true, false].map(
      (background, seed) => scheduler.generate(ids, { seed, maxTokens: 5, background }).result,
    ),
  );
  expect(results.map(({ ids: tokens }) => [...tokens])).toEqual(
    [0, 1, 2, 3].map((seed) => alone(ids, { seed, maxTokens: 5 })),
  );
});

test("it gives its memory up to others, and goes on with the same text", async () => {
  const { fake, scheduler } = setUp(8);
  const slow = { seed: 1, maxTokens: 60, background: true };
  const fast = { seed: 2, maxTokens: 60 };
  const first = [4, 5].map((seed) => scheduler.generate(prompt(seed, 64), slow).result);
  while (fake.steps.length < 5) await new Promise((resolve) => setImmediate(resolve));
  const before = fake.steps.length;
  const later = [6, 7].map((seed) => scheduler.generate(prompt(seed, 64), fast).result);
  for (const [i, seed] of [6, 7].entries())
    expect([...((await later[i])?.ids ?? [])]).toEqual(alone(prompt(seed, 64), fast));
  // A step for the prompts and one for each further token, as if nobody else were there.
  expect(fake.steps.length - before).toBeLessThanOrEqual(62);
  for (const [i, seed] of [4, 5].entries())
    expect([...((await first[i])?.ids ?? [])]).toEqual(alone(prompt(seed, 64), slow));
  expect(scheduler.stats()).toMatchObject({ running: 0, waiting: 0, pagesInUse: 0 });
});

test("a prompt that fills the memory gets it, whoever runs in the background", async () => {
  const { scheduler } = setUp(8);
  const slow = [1, 2].map(
    (seed) => scheduler.generate(prompt(seed, 8), { seed, maxTokens: 90, background: true }).result,
  );
  await new Promise((resolve) => setImmediate(resolve));
  const long = prompt(3, 8 * 32 - 2);
  expect([...(await scheduler.generate(long, { seed: 3, maxTokens: 2 }).result).ids]).toEqual(
    alone(long, { seed: 3, maxTokens: 2 }),
  );
  for (const [i, seed] of [1, 2].entries())
    expect([...((await slow[i])?.ids ?? [])]).toEqual(alone(prompt(seed, 8), { seed, maxTokens: 90 }));
});

test("whoever grows takes pages of those in the background first, be they older", async () => {
  const { fake, scheduler } = setUp(8);
  const slow = scheduler.generate(prompt(1, 64), { seed: 1, maxTokens: 30, background: true });
  const fast = await scheduler.generate(prompt(2, 100), { seed: 2, maxTokens: 120 }).result;
  expect([...fast.ids]).toEqual(alone(prompt(2, 100), { seed: 2, maxTokens: 120 }));
  expect([fake.steps.length <= 122, scheduler.stats().preemptions]).toEqual([true, 1]);
  expect([...(await slow.result).ids]).toEqual(alone(prompt(1, 64), { seed: 1, maxTokens: 30 }));
});
