/**
 * One model, one seed, one answer: the bits of all log-probabilities are the same for every instruction set, number of threads,
 * batch, size of prefill chunk, with or without a shared prefix.
 */
import { type Backend, type GenerateOptions, type GenerationResult, Scheduler } from "@bitnet.ts/core";
import { beforeAll, describe, expect, it } from "vitest";
import { bindTiny, nativeFor, reference, tinyModels, usableIsas, wasm } from "./tiny-model.ts";

const prompts = [
  "Fellow citizens of the Senate and House of Representatives, the state of the Union is strong and our people are free",
  "The United States",
  "We must",
  "I recommend that Congress provide for the common defence and promote the general welfare of all the people of these States",
];
const options: GenerateOptions = { maxTokens: 12, temperature: 0.8, seed: 5, logprobs: 3 };
const { program, tokenizer } = await bindTiny(tinyModels.i2_s);
const idsOf = (prompt: string) => tokenizer.encode(prompt, { bos: true });

interface Scenario {
  prefillChunk: number;
  /** Generations at the same time, the four prompts in turn. */
  batch: number;
  /** Run a generation of the first prompt before, whose pages the others then share. */
  warm: boolean;
}

/** Answers to the four prompts; with a batch of 16 each is asked four times. */
async function answers(
  backend: Backend,
  { prefillChunk, batch, warm }: Scenario,
): Promise<GenerationResult[]> {
  const executable = await backend.load(program, {
    kvType: "f16",
    nPages: 256,
    maxRows: 512,
  });
  const scheduler = new Scheduler(executable, {
    tokenizer,
    nPages: 256,
    prefillChunk,
    prefillChunkWhileDecoding: prefillChunk,
  });
  try {
    const ask = (i: number, extra: GenerateOptions = {}) =>
      scheduler.generate(idsOf(prompts[i % prompts.length] ?? ""), { ...options, ...extra }).result;
    if (warm) await ask(0, { maxTokens: 40, seed: 1 });
    const results: GenerationResult[] = [];
    for (let first = 0; first < Math.max(batch, prompts.length); first += batch)
      results.push(...(await Promise.all(Array.from({ length: batch }, (_, i) => ask(first + i)))));
    if (warm) expect(scheduler.stats().rowsSkipped).toBeGreaterThan(0);
    // Log-probabilities of prompts need every row, shared or not.
    const whole = await ask(0, { promptLogprobs: 2 });
    return [...results, whole];
  } finally {
    await scheduler.dispose();
  }
}

/** Everything that a bit could hide in, as text; JSON keeps every bit of an f32. */
function fingerprints(results: readonly GenerationResult[]): string[] {
  const whole = results.at(-1);
  return [
    ...results.slice(0, -1).map(({ ids, logprobs }) => JSON.stringify([Array.from(ids), logprobs])),
    JSON.stringify(whole?.promptLogprobs),
  ];
}

const isas = usableIsas();
let expected: string[] = [];

beforeAll(async () => {
  expected = fingerprints(await answers(reference(), { prefillChunk: 512, batch: 1, warm: false }));
});

async function checkIdentity(backend: Backend, scenario: Scenario): Promise<void> {
  const found = fingerprints(await answers(backend, scenario));
  found.slice(0, -1).forEach((fingerprint, i) => {
    expect(fingerprint).toBe(expected[i % prompts.length]);
  });
  expect(found.at(-1)).toBe(expected.at(-1));
}

it("has answers to compare", () => {
  expect(new Set(expected).size).toBe(prompts.length + 1);
});

describe("reference", () => {
  it("batch of 16 in chunks of 7 over a shared prefix", () =>
    checkIdentity(reference(), { prefillChunk: 7, batch: 16, warm: true }));
});

describe("wasm", () => {
  it.each([1, 2])("batch of 16 in chunks of 7 over a shared prefix, %i threads", async (threads) => {
    const backend = await wasm(threads);
    expect(backend.threads).toBe(threads);
    await checkIdentity(backend, { prefillChunk: 7, batch: 16, warm: true });
  });
});

describe.each(isas)("native %s", (isa) => {
  const scenarios = [1, 2].flatMap((threads) =>
    [1, 7, 512].flatMap((prefillChunk) =>
      [1, 16].flatMap((batch) => [false, true].map((warm) => ({ threads, prefillChunk, batch, warm }))),
    ),
  );
  it.each(scenarios)(
    "$threads threads, chunks of $prefillChunk, batch of $batch, shared prefix $warm",
    async (scenario) => {
      const backend = await nativeFor(isa, scenario.threads);
      expect(backend.isa).toBe(isa);
      await checkIdentity(backend, scenario);
    },
  );
});
