/** The service class, on the embedded model. */
import { BitNet, InferenceService } from "bitnet.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tinyModel } from "./cli-process.ts";

let model: BitNet;
beforeAll(async () => {
  model = await BitNet.load(tinyModel);
});
afterAll(() => model.dispose());

test("a batch is answered in order, and one that fails touches no other", async () => {
  const service = new InferenceService(model, { concurrency: 2, maxTokens: 8 });
  const requests = [0, 1, 2, 3, 4].map((seed) => ({
    id: `r${seed}`,
    prompt: "The state",
    seed,
    metadata: { seed },
  }));
  const bad = { id: "bad", prompt: "x", temperature: -1 };
  const answers = await service.generateBatch([...requests.slice(0, 2), bad, ...requests.slice(2)]);
  expect(answers.map(({ id, status }) => [id, status])).toEqual([
    ["r0", "success"],
    ["r1", "success"],
    ["bad", "error"],
    ["r2", "success"],
    ["r3", "success"],
    ["r4", "success"],
  ]);
  expect(answers[2]?.error?.code).toBe("INVALID_ARGUMENT");
  for (const [at, { seed }] of requests.entries()) {
    const alone = await model.generate("The state", { seed, maxTokens: 8 }).text;
    const answer = answers.find(({ id }) => id === requests[at]?.id);
    expect(answer?.response).toBe(alone);
    expect(answer?.metadata).toEqual({ seed });
    expect(answer?.tokensGenerated).toBe(8);
  }
  const { requests: n, succeeded, failed, successRate, running, waiting, tokensGenerated } = service.stats();
  expect({ n, succeeded, failed, running, waiting, tokensGenerated }).toEqual({
    n: 6,
    succeeded: 5,
    failed: 1,
    running: 0,
    waiting: 0,
    tokensGenerated: 40,
  });
  expect(successRate).toBeCloseTo(5 / 6);
});

test("only what is determined comes from the cache, and only for equal parameters", async () => {
  const service = new InferenceService(model, { maxTokens: 6 });
  const ask = async (more: object) => (await service.generate({ prompt: "The law", ...more })).cacheHit;
  expect([await ask({ seed: 1 }), await ask({ seed: 1 }), await ask({ seed: 2 })]).toEqual([
    false,
    true,
    false,
  ]);
  expect([await ask({ temperature: 0 }), await ask({ temperature: 0 })]).toEqual([false, true]);
  expect([await ask({ seed: 1, topP: 0.5 }), await ask({ topP: 0.5, seed: 1 })]).toEqual([false, true]);
  expect([await ask({}), await ask({})]).toEqual([false, false]);
  expect(service.stats().cache?.hits).toBe(3);
  const none = new InferenceService(model, { cache: false, maxTokens: 2 });
  await none.generate({ prompt: "a", seed: 1 });
  expect((await none.generate({ prompt: "a", seed: 1 })).cacheHit).toBe(false);
});

test("time limits, signals and long prompts", async () => {
  const hasty = new InferenceService(model, { timeoutMs: 1, concurrency: 1 });
  const late = await hasty.generateBatch([
    { prompt: "a", maxTokens: 200, ignoreEos: true },
    { prompt: "b", maxTokens: 200, ignoreEos: true },
  ]);
  expect(late.map(({ error }) => error?.message)).toEqual(Array(2).fill("the request took longer than 1 ms"));
  const service = new InferenceService(model, { maxPromptTokens: 16 });
  const aborted = await service.generate({ prompt: "a", signal: AbortSignal.abort() });
  expect(aborted.error?.message).toBe("the request was aborted");
  const busy = new InferenceService(model, { concurrency: 1 });
  const running = busy.generate({ prompt: "a", maxTokens: 100, ignoreEos: true });
  const left = await busy.generate({ prompt: "b", signal: AbortSignal.abort() });
  expect([left.error?.message, busy.stats().running]).toEqual(["the request was aborted", 1]);
  expect((await running).status).toBe("success");
  const long = await service.generate({ prompt: "state of the union ".repeat(40), maxTokens: 2, seed: 1 });
  expect([long.isTruncated, long.promptTokens]).toEqual([true, 16]);
  expect(service.stats()).toMatchObject({ running: 0, waiting: 0 });
  expect(() => new InferenceService(model, { concurrency: 0 })).toThrow("concurrency");
});

test("health is found by generating", async () => {
  const own = await BitNet.load(tinyModel);
  const service = new InferenceService(own);
  expect(await service.health()).toMatchObject({ status: "healthy", tokensGenerated: 10, error: null });
  await own.dispose();
  expect(await service.health()).toMatchObject({ status: "unhealthy", tokensGenerated: 0 });
});
