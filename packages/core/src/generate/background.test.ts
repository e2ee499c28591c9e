import { expect, test } from "vitest";
import { FakeExecutable, generateAlone } from "./fake-executable.test.kit.ts";
import { type GenerateOptions, parseGenerateOptions } from "./options.ts";
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
  const { scheduler } = setUp(8);
  const slow = { seed: 1, maxTokens: 60, background: true };
  const fast = { seed: 2, maxTokens: 60 };
  const first = [4, 5].map((seed) => scheduler.generate(prompt(seed, 64), slow).result);
  await new Promise((resolve) => setImmediate(resolve));
  const later = [6, 7].map((seed) => scheduler.generate(prompt(seed, 64), fast).result);
  for (const [i, seed] of [6, 7].entries())
    expect([...((await later[i])?.ids ?? [])]).toEqual(alone(prompt(seed, 64), fast));
  for (const [i, seed] of [4, 5].entries())
    expect([...((await first[i])?.ids ?? [])]).toEqual(alone(prompt(seed, 64), slow));
  expect(scheduler.stats()).toMatchObject({ running: 0, waiting: 0, pagesInUse: 0 });
});
