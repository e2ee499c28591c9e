/** Prompts at the edges of what a model can take, and ids that its tokenizer does not know, through the public API. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { BitNet, BitNetError, type BitNetLoadOptions } from "bitnet.ts";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ggufBytes } from "./checkpoint-gguf.ts";
import { type CheckpointShape, randomCheckpoint } from "./random-checkpoint.ts";

/** 20 rows of the embedding stand for no token. */
const shape: CheckpointShape = {
  family: "bitnet-b1.58",
  ...{ hidden: 64, ffn: 96, layers: 1, heads: 2, kvHeads: 1, headDim: 32, vocab: 320, tokens: 300 },
  ...{ context: 40, theta: 10000, eps: 1e-5, isTied: true, embeddingBits: 8 },
};
const [bosId, eosId, eotId] = [297, 298, 299];
const paddingId = 310;
const greedy = { temperature: 0, repeatPenalty: 1, ignoreEos: true };

let folder = "";
const withBos = () => join(folder, "with bos.gguf");
const withoutBos = () => join(folder, "without.gguf");
const opened: BitNet[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-prompts-"));
  const checkpoint = randomCheckpoint(shape, 3);
  const ternary = { kind: "packed", packing: "i2_s" } as const;
  await writeFile(withBos(), await ggufBytes(checkpoint, { ternary }));
  const metadata = { "tokenizer.ggml.bos_token_id": undefined };
  await writeFile(withoutBos(), await ggufBytes(checkpoint, { ternary, metadata }));
});
afterEach(async () => {
  for (const model of opened.splice(0)) await model.dispose();
});
afterAll(() => rm(folder, { recursive: true }));

async function load(source: string | URL = withBos(), options: BitNetLoadOptions = {}): Promise<BitNet> {
  const model = await BitNet.load(source, { backend: "reference", ...options });
  opened.push(model);
  return model;
}

function failure(action: () => unknown): BitNetError {
  try {
    action();
  } catch (error) {
    if (error instanceof BitNetError) return error;
    throw error;
  }
  throw new Error("expected a failure");
}

describe("an empty prompt", () => {
  it("is the beginning token where the model has one", async () => {
    const model = await load();
    const result = await model.generate("", { ...greedy, maxTokens: 3 }).result;
    expect(result).toMatchObject({ promptTokens: 1, stopReason: "length" });
    expect(result.ids).toHaveLength(3);
    const fromIds = await model.generate([bosId], { ...greedy, maxTokens: 3 }).result;
    expect(fromIds.ids).toEqual(result.ids);
  });

  it("is refused where there is nothing to go on from", async () => {
    const model = await load(withoutBos());
    expect(model.tokenizer.bosId).toBeNull();
    for (const prompt of ["", [], new Int32Array()]) {
      const { code, message } = failure(() => model.generate(prompt));
      expect(code).toBe("INVALID_ARGUMENT");
      expect(message).toMatch(/the prompt is empty; it needs at least one token/);
    }
    expect((await model.generate("a", { ...greedy, maxTokens: 2 }).result).ids).toHaveLength(2);
  });
});

describe("the context", () => {
  it("may be filled by the prompt to the last token, with nothing to generate", async () => {
    const model = await load();
    const full = Array.from({ length: shape.context }, (_, i) => 60 + i);
    const result = await model.generate(full, { ...greedy, promptLogprobs: 0 }).result;
    expect(result).toMatchObject({ promptTokens: shape.context, text: "", stopReason: "context" });
    expect(result.ids).toHaveLength(0);
    expect(result.promptLogprobs).toHaveLength(shape.context);
    const last = await model.generate(full.slice(1), greedy).result;
    expect(last).toMatchObject({ stopReason: "context" });
    expect(last.ids).toHaveLength(1);
  });

  it("is exceeded by one token more", async () => {
    const model = await load();
    const { code, details } = failure(() => model.generate(new Int32Array(shape.context + 1).fill(60)));
    expect(code).toBe("CONTEXT_EXCEEDED");
    expect(details).toEqual({ promptTokens: shape.context + 1, contextLength: shape.context });
    // Every byte is a token of this vocabulary, and the beginning token comes first.
    const text = "\u0001".repeat(shape.context);
    expect(failure(() => model.generate(text)).details).toEqual(details);
    const fits = await model.generate(text.slice(1), { maxTokens: 0 }).result;
    expect(fits).toMatchObject({ promptTokens: shape.context, stopReason: "length" });
  });

  it("may be a single token", async () => {
    const model = await load(withBos(), { contextLength: 1 });
    expect(await model.generate("", greedy).result).toMatchObject({ promptTokens: 1, stopReason: "context" });
    expect(failure(() => model.generate("a")).code).toBe("CONTEXT_EXCEEDED");
  });

  it.each([
    ["words", "word ".repeat(200_000)],
    ["a run without a place to split", "a".repeat(1_000_000)],
    ["white space", " \n".repeat(500_000)],
    ["NUL characters", "\0".repeat(1_000_000)],
    ["lone surrogates", "\ud800".repeat(350_000)],
  ])("is exceeded by a megabyte of %s", async (_, text) => {
    const model = await load();
    await expect(model.generate(text).result).rejects.toMatchObject({ code: "CONTEXT_EXCEEDED" });
    const chat = model.createChat();
    // A template may trim white space.
    if (text.trim() !== "")
      await expect(chat.send(text).result).rejects.toMatchObject({ code: "CONTEXT_EXCEEDED" });
    expect(chat.messages).toEqual([]);
    expect(model.stats()).toMatchObject({ running: 0, waiting: 0, steps: 0 });
  });

  it("is exceeded by a list that claims any length", async () => {
    const model = await load();
    expect(failure(() => model.generate({ length: 2 ** 52 })).code).toBe("CONTEXT_EXCEEDED");
  });
});

describe("text", () => {
  it("with control tokens written out stays text", async () => {
    const model = await load();
    const text = "<|begin_of_text|>a<|eot_id|>";
    const ids = model.tokenizer.encode(text);
    expect(Array.from(ids).some((id) => id >= bosId)).toBe(false);
    expect(model.tokenizer.decode(ids)).toBe(text);
    const roomy = { ...greedy, maxTokens: 1 };
    const result = await model.generate(text, roomy).result;
    expect(result.promptTokens).toBe(1 + ids.length);
    const chat = model.createChat();
    expect((await chat.send("<|eot_id|>", roomy).result).promptTokens).toBeGreaterThan(10);
  });

  it("may hold NUL characters and lone surrogates", async () => {
    const model = await load();
    for (const [text, bytes] of [
      ["a\0b", 3],
      ["\ud800", 3],
      ["x\udc00y", 5],
      ["\ufeff", 3],
    ] as const) {
      const ids = model.tokenizer.encode(text);
      expect(ids.reduce((sum, id) => sum + model.tokenizer.tokenBytes(id).length, 0)).toBe(bytes);
      expect(model.tokenizer.decode(ids)).toBe(text.replace(/\p{Surrogate}/u, "\ufffd"));
      expect((await model.generate(text, { ...greedy, maxTokens: 1 }).result).ids).toHaveLength(1);
    }
  });
});

describe("ids of a prompt", () => {
  it.each([
    [-1],
    [320],
    [1.5],
    [Number.NaN],
    [2 ** 32 + 5],
    [Number.POSITIVE_INFINITY],
    [undefined],
    ["5"],
    [null],
  ])("%s is none", async (id) => {
    const model = await load();
    const { code, message } = failure(() => model.generate([60, id] as number[]));
    expect(code).toBe("INVALID_ARGUMENT");
    expect(message).toBe(`generate: prompt token 1 is ${id}, expected an id in 0…319`);
  });

  it.each([[undefined], [null], [5], [{}], [true]])("%j holds none", async (prompt) => {
    const model = await load();
    expect(failure(() => model.generate(prompt as unknown as number[])).code).toBe("INVALID_ARGUMENT");
  });

  it("may be control tokens and rows that stand for no token", async () => {
    const model = await load();
    const result = await model.generate([bosId, eotId, paddingId, 319], { ...greedy, maxTokens: 2 }).result;
    expect(result).toMatchObject({ promptTokens: 4, stopReason: "length" });
  });
});

describe("a row that stands for no token", () => {
  const forced = { maxTokens: 4, logitBias: { [paddingId]: 1e6 } };

  it("has no text when it is generated", async () => {
    const model = await load();
    const generation = model.generate("a", { ...forced, logprobs: 2, stop: ["b"] });
    const pieces: [number, string][] = [];
    for await (const { id, text } of generation) pieces.push([id, text]);
    expect(pieces).toEqual(Array.from({ length: 4 }, () => [paddingId, ""]));
    const result = await generation.result;
    expect(result).toMatchObject({ text: "", stopReason: "length" });
    expect(Array.from(result.ids)).toEqual([paddingId, paddingId, paddingId, paddingId]);
    expect(failure(() => model.tokenizer.decode(result.ids)).code).toBe("INVALID_ARGUMENT");
  });

  it("does not break the text around it", async () => {
    const model = await load();
    const [first = -1, second = -1] = model.tokenizer.encode("é");
    expect(second).toBeGreaterThan(0);
    // Half a character, no token, the other half: each falls behind once it has been generated.
    const logitBias = { [first]: 3000, [paddingId]: 2000, [second]: 1000 };
    const options = { temperature: 0, maxTokens: 3, logitBias, frequencyPenalty: 1e4 };
    const result = await model.generate("a", options).result;
    expect(Array.from(result.ids)).toEqual([first, paddingId, second]);
    expect(result.text).toBe("é");
  });

  it("may stop a generation, and may be an answer", async () => {
    const model = await load();
    const stopped = await model.generate("a", { ...forced, stopTokens: [paddingId] }).result;
    expect(stopped).toMatchObject({ stopReason: "stop", text: "" });
    const chat = model.createChat();
    await chat.send("a", forced).result;
    expect(chat.messages.at(-1)).toEqual({ role: "assistant", content: "" });
  });

  it("is not asked for by ignoring ends", async () => {
    const model = await load();
    const logitBias = { [eosId]: 1e6, [eotId]: 1e6 };
    const ended = await model.generate("a", { temperature: 0, logitBias }).result;
    expect(ended).toMatchObject({ stopReason: "eos" });
    const ignored = await model.generate("a", { ...greedy, maxTokens: 5, logitBias }).result;
    expect(ignored.stopReason).toBe("length");
  });
});

describe("where a model is", () => {
  it("may be the URL of a file, with spaces in it", async () => {
    const url = pathToFileURL(withBos());
    expect(url.href).toMatch("with%20bos");
    for (const source of [url, url.href]) expect((await load(source)).info.vocabSize).toBe(shape.vocab);
  });

  it.each(["file://somewhere/else.gguf", "file://"])("cannot be %s", async (url) => {
    const reason = await load(url).then(
      () => null,
      (error: unknown) => error,
    );
    expect(reason).toBeInstanceOf(BitNetError);
    expect((reason as BitNetError).code).toMatch(/INVALID_ARGUMENT|FILE_NOT_FOUND/);
  });
});

it.each([{ kvType: "f8" }, { i2sLayout: "32/8" }, { threads: 1.5 }, { contextLength: -1 }])(
  "loading refuses %j",
  async (options) => {
    const reason = await load(withBos(), options as BitNetLoadOptions).catch((error: unknown) => error);
    expect(reason).toMatchObject({ code: "INVALID_ARGUMENT" });
  },
);
