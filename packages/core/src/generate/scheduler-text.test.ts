import { describe, expect, test } from "vitest";
import { FakeExecutable, hashedLogits, peak } from "./fake-executable.test.kit.ts";
import type { GenerateOptions, PromptProgress } from "./options.ts";
import type { TextSource } from "./request.ts";
import { Scheduler } from "./scheduler.ts";
import type { TokenPiece } from "./stream.ts";

const utf8 = new TextEncoder();
const smile = utf8.encode("😀");
/** Bytes of each token, so that characters can be split. */
const vocabulary: Uint8Array[] = [
  new Uint8Array(),
  ...["Hello", " world", "ST", "OP", ".", "\n", "S"].map((text) => utf8.encode(text)),
  smile.slice(0, 1),
  smile.slice(1, 3),
  smile.slice(3),
];
const [eos, hello, world, st, op, dot, newline, s] = [0, 1, 2, 3, 4, 5, 6, 7];
const [smile1, smile2, smile3] = [8, 9, 10];
/** The model knows more tokens than the tokenizer. */
const padding = 15;
const vocabSize = 16;

const tokenizer: TextSource = {
  vocabSize: vocabulary.length,
  eosIds: [eos],
  tokenBytes: (id) => vocabulary[id] ?? new Uint8Array(),
  encode: () => new Int32Array(),
  createDecoder() {
    const decoder = new TextDecoder();
    return {
      push(id) {
        const bytes = vocabulary[id];
        if (bytes === undefined) throw new Error(`token ${id} is not in the vocabulary`);
        return decoder.decode(bytes, { stream: true });
      },
      end: () => decoder.decode(),
    };
  },
};

const prompt = Int32Array.of(1, 2, 3);

/** A generation whose model can only say `script`. */
async function say(script: number[], options: GenerateOptions = {}) {
  const fake = new FakeExecutable({
    nPages: 4,
    vocabSize,
    logitsOf: (history) => peak(script[history.length - prompt.length] ?? eos, vocabSize),
  });
  const scheduler = new Scheduler(fake, { nPages: 4, tokenizer });
  const generation = scheduler.generate(prompt, { repeatPenalty: 1, ...options });
  const pieces: TokenPiece[] = [];
  for await (const piece of generation) pieces.push(piece);
  const result = await generation.result;
  expect(pieces.map(({ text }) => text).join("")).toBe(result.text);
  expect(pieces.slice(0, result.ids.length).map(({ id }) => id)).toEqual([...result.ids]);
  expect(pieces.length - result.ids.length).toBeLessThanOrEqual(1);
  return { pieces, result, texts: pieces.map(({ text }) => text) };
}

describe("how a text ends", () => {
  test("at the end of sequence", async () => {
    const { result, texts } = await say([hello, world, eos]);
    expect(result).toMatchObject({
      text: "Hello world",
      stopReason: "eos",
      ids: Int32Array.of(hello, world),
    });
    expect(texts).toEqual(["Hello", " world"]);
  });

  test("at a stop token", async () => {
    const { result } = await say([hello, dot, world], { stopTokens: [dot] });
    expect(result).toMatchObject({ text: "Hello", stopReason: "stop", ids: Int32Array.of(hello) });
  });

  test("at a stop text across tokens; what stands before it in the last token is kept", async () => {
    const { result, pieces } = await say([hello, st, op, world], { stop: "TOP" });
    expect(result).toMatchObject({ text: "HelloS", stopReason: "stop", ids: Int32Array.of(hello, st) });
    expect(pieces).toEqual([
      { id: hello, text: "Hello" },
      { id: st, text: "S" },
    ]);
    const second = await say([st, op], { stop: ["P"] });
    expect(second.result).toMatchObject({ text: "STO", ids: Int32Array.of(st) });
    expect(second.pieces).toEqual([
      { id: st, text: "ST" },
      { id: op, text: "O" },
    ]);
  });

  test("held back text that turns out to be none comes with the next token", async () => {
    const { texts, result } = await say([s, st, dot, eos], { stop: ["STOP"] });
    expect(texts).toEqual(["", "S", "ST."]);
    expect(result.stopReason).toBe("eos");
  });

  test("held back text at the end of sequence comes in a piece of its own", async () => {
    const { pieces, result } = await say([hello, st, eos], { stop: ["STOP"] });
    expect(pieces.at(-1)).toEqual({ id: eos, text: "ST" });
    expect(result).toMatchObject({ text: "HelloST", ids: Int32Array.of(hello, st) });
  });

  test("held back text at the maximum comes with the last token", async () => {
    const { pieces, result } = await say([hello, st, st], { stop: ["STOP"], maxTokens: 2 });
    expect(pieces).toEqual([
      { id: hello, text: "Hello" },
      { id: st, text: "ST" },
    ]);
    expect(result.stopReason).toBe("length");
  });

  test("a stop token and the maximum at once: the stop counts", async () => {
    expect((await say([hello, eos], { maxTokens: 2 })).result.stopReason).toBe("eos");
    expect((await say([hello, world], { maxTokens: 2 })).result.stopReason).toBe("length");
  });

  test("nothing to generate only processes the prompt", async () => {
    const { result } = await say([hello], { maxTokens: 0 });
    expect(result).toMatchObject({ text: "", stopReason: "length", promptTokens: 3, ids: new Int32Array() });
  });

  test("ignoring the end of sequence never samples it", async () => {
    const { result } = await say([hello, eos, eos], { ignoreEos: true, maxTokens: 3 });
    expect(result.stopReason).toBe("length");
    expect(result.ids).toHaveLength(3);
    expect([...result.ids]).not.toContain(eos);
  });

  test("stop texts without a tokenizer are refused", () => {
    const scheduler = new Scheduler(new FakeExecutable({ nPages: 4 }), { nPages: 4 });
    expect(() => scheduler.generate(prompt, { stop: "x" })).toThrow(/need a tokenizer/);
  });
});

describe("characters", () => {
  test("one that spans tokens appears when it is whole", async () => {
    const { texts, result } = await say([hello, smile1, smile2, smile3, newline, eos]);
    expect(texts).toEqual(["Hello", "", "", "😀", "\n"]);
    expect(result.text).toBe("Hello😀\n");
  });

  test("one that stays unfinished ends as U+FFFD", async () => {
    expect((await say([hello, smile1], { maxTokens: 2 })).texts).toEqual(["Hello", "\ufffd"]);
    expect((await say([hello, smile1, eos])).pieces.at(-1)).toEqual({ id: eos, text: "\ufffd" });
  });

  test("tokens that only the model knows have no text", async () => {
    expect((await say([hello, padding, dot, eos])).result.text).toBe("Hello.");
  });
});

describe("log-probabilities", () => {
  const options: GenerateOptions = {
    seed: 3,
    maxTokens: 6,
    logitBias: { 5: 2, 7: -Infinity },
    repeatPenalty: 1.4,
  };

  function logSoftmax(history: number[]): number[] {
    const logits = hashedLogits(history, vocabSize);
    const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    return [...logits].map((logit) => logit - total);
  }

  /** What the model itself says after `history`. */
  function expectedReport(history: number[], id: number, nTop: number) {
    const all = logSoftmax(history);
    const best = [...all.keys()].sort((a, b) => (all[b] ?? 0) - (all[a] ?? 0) || a - b).slice(0, nTop);
    return {
      id,
      logprob: expect.closeTo(all[id] ?? 0, 4),
      top: best.map((each) => [each, expect.closeTo(all[each] ?? 0, 4)]),
    };
  }

  function start(given: GenerateOptions, prefillChunk = 512) {
    const scheduler = new Scheduler(new FakeExecutable({ nPages: 16, vocabSize }), {
      nPages: 16,
      prefillChunk,
    });
    return { scheduler, generate: (ids: Int32Array) => scheduler.generate(ids, { ...options, ...given }) };
  }

  test.each<[string, GenerateOptions]>([
    ["all logits", { topP: 0.9 }],
    ["greedy", { temperature: 0 }],
    ["top-k below the report", { topK: 2 }],
    ["min-p", { topP: 1, minP: 0.1 }],
    ["winner", { topP: 1 }],
  ])("of generated tokens, before penalties and biases: %s", async (_, chain) => {
    for (const logprobs of [0, 4]) {
      const plain = await start(chain).generate(prompt).result;
      expect(plain.logprobs).toBe(undefined);
      const generation = start({ ...chain, logprobs }).generate(prompt);
      const pieces: TokenPiece[] = [];
      for await (const piece of generation) pieces.push(piece);
      const { ids, logprobs: reports } = await generation.result;
      expect(ids).toEqual(plain.ids);
      const expected = [...ids].map((id, i) => expectedReport([...prompt, ...ids.slice(0, i)], id, logprobs));
      expect(reports).toEqual(expected);
      expect(pieces.map(({ id, logprob, top }) => ({ id, logprob, top }))).toEqual(expected);
    }
  });

  test.each([1, 5, 512])("of the prompt, in pieces of %i rows", async (prefillChunk) => {
    const long = Int32Array.from({ length: 80 }, (_, i) => (i * 7 + (i >> 2)) % vocabSize);
    const { scheduler, generate } = start({ promptLogprobs: 2, maxTokens: 1 }, prefillChunk);
    const expected = [...long].map((id, i) =>
      i === 0 ? null : expectedReport([...long.slice(0, i)], id, 2),
    );
    const first = await generate(long).result;
    expect(first.promptLogprobs).toEqual(expected);
    // Everything is cached now, but the logits are needed again.
    const second = await generate(long).result;
    expect(second.promptLogprobs).toEqual(expected);
    expect(second.cachedTokens).toBe(0);
    expect(second.ids).toEqual(first.ids);
    expect(scheduler.stats().pagesInUse).toBe(0);
  });

  test("of the prompt from a later token on, with what stands before taken from the cache", async () => {
    const long = Int32Array.from({ length: 80 }, (_, i) => (i * 7 + (i >> 2)) % vocabSize);
    const from = 70;
    const { generate } = start({ promptLogprobs: 0, promptLogprobsFrom: from, maxTokens: 0 }, 512);
    const expected = [...long].map((id, i) =>
      i < from ? null : expectedReport([...long.slice(0, i)], id, 0),
    );
    expect((await generate(long).result).promptLogprobs).toEqual(expected);
    const other = long.slice();
    other[75] = ((other[75] ?? 0) + 1) % vocabSize;
    const again = await generate(other).result;
    const changed = [...other].map((id, i) =>
      i < from ? null : expectedReport([...other.slice(0, i)], id, 0),
    );
    expect(again.promptLogprobs).toEqual(changed);
    expect(again.cachedTokens).toBeGreaterThanOrEqual(64);
  });

  test("of the prompt alone", async () => {
    const { generate } = start({ promptLogprobs: 0, maxTokens: 0 });
    const { promptLogprobs } = await generate(prompt).result;
    expect(promptLogprobs).toEqual([null, expectedReport([1], 2, 0), expectedReport([1, 2], 3, 0)]);
  });

  test("of the prompt survive losing the pages", async () => {
    const fake = new FakeExecutable({ nPages: 6, vocabSize });
    const scheduler = new Scheduler(fake, { nPages: 6, prefillChunk: 16, prefillChunkWhileDecoding: 16 });
    const long = Int32Array.from({ length: 60 }, (_, i) => (i * 5 + (i >> 3)) % vocabSize);
    const older = scheduler.generate(prompt, { seed: 1, maxTokens: 150 });
    const scored = scheduler.generate(long, { seed: 1, maxTokens: 60, promptLogprobs: 1 });
    const { promptLogprobs, ids } = await scored.result;
    expect(scheduler.stats().preemptions).toBeGreaterThan(0);
    expect(ids).toHaveLength(60);
    expect(promptLogprobs).toEqual(
      [...long].map((id, i) => (i === 0 ? null : expectedReport([...long.slice(0, i)], id, 1))),
    );
    expect((await older.result).ids).toHaveLength(150);
  });
});

describe("how far a prompt has been read", () => {
  const prompt = Int32Array.from({ length: 70 }, (_, i) => i % 50);
  const start = () => {
    const scheduler = new Scheduler(new FakeExecutable({ nPages: 8 }), { nPages: 8, prefillChunk: 32 });
    const told: PromptProgress[] = [];
    const options = { seed: 1, maxTokens: 3, onPrompt: (progress: PromptProgress) => told.push(progress) };
    return { scheduler, told, options };
  };

  test("is told step by step, with what was known", async () => {
    const { scheduler, told, options } = start();
    await scheduler.generate(prompt, options).result;
    expect(told).toEqual([32, 64, 70].map((read) => ({ read, cached: 0, total: 70 })));
    told.length = 0;
    const { cachedTokens } = await scheduler.generate(prompt, options).result;
    expect(told).toEqual([{ read: 70, cached: cachedTokens, total: 70 }]);
    expect(cachedTokens).toBeGreaterThanOrEqual(64);
  });

  test("who throws meanwhile fails alone", async () => {
    const { scheduler, told, options } = start();
    const onPrompt = () => {
      throw new Error("no more");
    };
    const failing = scheduler.generate(prompt, { ...options, onPrompt });
    const other = scheduler.generate(
      Int32Array.from(prompt, (id) => id + 1),
      options,
    );
    await expect(failing.result).rejects.toThrow("no more");
    expect((await other.result).ids).toHaveLength(3);
    expect(told.at(-1)).toEqual({ read: 70, cached: 0, total: 70 });
    expect(scheduler.stats()).toMatchObject({ running: 0, pagesInUse: 0 });
  });
});
