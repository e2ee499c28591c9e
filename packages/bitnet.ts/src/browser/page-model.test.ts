/** The page's end and the worker's end over a channel, without a browser: the same answers as the model itself. */
import { readFileSync } from "node:fs";
import { BitNetError, type PromptProgress } from "@bitnet.ts/core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { BitNet } from "../bitnet.ts";
import { type LanguageSource, type ListeningOptions, onLanguage } from "../language-source.ts";
import type { BitNetLoadOptions } from "../types.ts";
import type { MessageLink, ToPage } from "./messages.ts";
import { type EngineLink, PageModel } from "./page-model.ts";
import { serveEngine } from "./serve-engine.ts";

const tiny = new URL("../../../../test/golden/tiny.gguf", import.meta.url);
const blob = () => new Blob([readFileSync(tiny)]);

/** A worker that is a thread of nobody: both ends of a channel here. */
function connect(load = (source: string | Blob, options: BitNetLoadOptions) => BitNet.load(source, options)) {
  const { port1, port2 } = new MessageChannel();
  port1.start();
  port2.start();
  serveEngine(port2 as unknown as MessageLink<ToPage>, load, async () => []);
  const listeners: ((event: { data: unknown; message: unknown }) => void)[] = [];
  const terminate = vi.fn(() => {
    port1.close();
  });
  const link: EngineLink = {
    postMessage: (message) => port1.postMessage(message),
    addEventListener(type, listener) {
      if (type === "message") port1.addEventListener("message", (event) => listener(event));
      if (type === "error") listeners.push(listener);
    },
    terminate,
  };
  const crash = (message: string) => {
    for (const listener of listeners) listener({ data: undefined, message });
  };
  return { link, terminate, crash };
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of source) all.push(each);
  return all;
}

const thrown = (action: () => unknown): unknown => {
  try {
    action();
  } catch (error) {
    return error;
  }
  return null;
};

describe("a model in a worker", () => {
  let direct: BitNet;
  let page: PageModel;
  const fractions: number[] = [];
  beforeAll(async () => {
    direct = await BitNet.load(blob());
    page = await PageModel.connect(connect().link, blob(), { onProgress: (x) => fractions.push(x) });
  });
  afterAll(async () => {
    await direct.dispose();
    await page.dispose();
  });

  it("has the same facts and tells of its loading", () => {
    const { loadMs: _, ...facts } = direct.info;
    expect(page.info).toMatchObject(facts);
    expect(fractions.at(-1)).toBe(1);
    expect(page.stats().kvBytesPerToken).toBe(direct.stats().kvBytesPerToken);
  });

  it("gives the same pieces, texts and results", async () => {
    const options = { maxTokens: 20, seed: 3, logprobs: 1 };
    const pieces = await collect(page.generate("The people", options));
    const generation = direct.generate("The people", options);
    expect(pieces).toEqual(await collect(generation));
    const { timings: _t, cachedTokens: _c, ...result } = await generation.result;
    expect(await page.generate("The people", options).result).toMatchObject(result);
    expect(await page.generate("The people", options).text).toBe(result.text);
    let streamed = "";
    for await (const text of page.generate("The people", options).textStream) streamed += text;
    expect(streamed).toBe(result.text);
    const fromIds = await page.generate([1, 2, 3], { maxTokens: 1 }).result;
    expect(fromIds.promptIds).toEqual([1, 2, 3]);
  });

  it("tells how far a prompt has been read; who throws then ends his generation", async () => {
    const told: PromptProgress[] = [];
    const prompt = "The people of the United States";
    const { promptTokens } = await page.generate(prompt, {
      maxTokens: 2,
      onPrompt: (each) => told.push(each),
    }).result;
    expect(told.at(-1)).toMatchObject({ read: promptTokens, total: promptTokens });
    const onPrompt = () => {
      throw new Error("no more");
    };
    const failing = page.generate("Once upon a time", { maxTokens: 400, ignoreEos: true, onPrompt });
    await expect(failing.result).rejects.toThrow("no more");
    await expect(failing.text).rejects.toThrow("no more");
  });

  it("several at once", async () => {
    const seeds = [1, 2, 3, 4];
    const texts = await Promise.all(seeds.map((seed) => page.generate("We", { maxTokens: 8, seed }).text));
    for (const [i, seed] of seeds.entries())
      expect(texts[i]).toBe(await direct.generate("We", { maxTokens: 8, seed }).text);
  });

  it("a reader who stops pauses the model, one who leaves ends it", async () => {
    const generation = page.generate("The", { maxTokens: 400, seed: 1, ignoreEos: true });
    const pieces = generation[Symbol.asyncIterator]();
    await pieces.next();
    await page.generate("We", { maxTokens: 60, seed: 1, ignoreEos: true }).result;
    const before = page.stats();
    await page.generate("We", { maxTokens: 1, seed: 1 }).result;
    expect(page.stats().running).toBe(before.running);
    await pieces.return?.();
    const { stopReason, ids } = await generation.result;
    expect(stopReason).toBe("abort");
    expect(ids.length).toBeLessThan(100);
  });

  it("a signal aborts", async () => {
    const abort = new AbortController();
    const generation = page.generate("The", { maxTokens: 400, ignoreEos: true, signal: abort.signal });
    const pieces = generation[Symbol.asyncIterator]();
    await pieces.next();
    abort.abort("enough");
    expect((await generation.result).stopReason).toBe("abort");
    await expect(generation.text).rejects.toMatchObject({ code: "ABORTED", cause: "enough" });
  });

  it("what is wrong fails the result and the reading, with its code", async () => {
    const generation = page.generate("The", { temperature: -1 });
    await expect(generation.result).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(collect(page.generate("The", { temperature: -1 }))).rejects.toThrow(/temperature/);
    expect(thrown(() => page.generate("x", { logitBias: (() => 1) as never }))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });

  it("answers in a form, embeddings and rankings", async () => {
    const options = { json: true, maxTokens: 40, seed: 2 } as const;
    const [here, there] = [direct.generate("A person:", options), page.generate("A person:", options)];
    const outcome = (value: Promise<unknown>) => value.catch((error: BitNetError) => error.code);
    expect(await outcome(there.value)).toEqual(await outcome(here.value));
    expect(await page.generate("Yes or no?", { choices: ["yes", "no"] }).text).toMatch(/^(yes|no)$/);
    const texts = ["peace", "war and peace"];
    expect((await page.embed(texts)).embeddings).toEqual((await direct.embed(texts)).embeddings);
    expect(await page.rank("peace", texts)).toEqual(await direct.rank("peace", texts));
    await expect(page.embed(texts, { pooling: "all" as never })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(page.embed(texts, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
  });

  it("the tokenizer and the template are there without the worker", () => {
    const text = "Peace, <|eot_id|> naïve 漢字";
    const ids = direct.tokenizer.encode(text, { bos: true });
    expect(page.tokenizer.encode(text, { bos: true })).toEqual(ids);
    expect(page.tokenizer.decode(ids)).toBe(direct.tokenizer.decode(ids));
    expect(page.tokenizer.eosIds).toEqual(direct.tokenizer.eosIds);
    expect(page.tokenizer).toBe(page.tokenizer);
    const messages = [{ role: "user", content: "Hello" }];
    const render = (model: Pick<BitNet, "template">) =>
      model.template.render({ messages, addGenerationPrompt: true, bosToken: "<s>", eosToken: "</s>" });
    expect(render(page)).toEqual(render(direct));
  });

  it("calls of tools, and what the model says to their results", async () => {
    const tools = [
      { name: "add", parameters: { type: "object", properties: { a: { enum: [1, 2] } }, required: ["a"] } },
    ] as const;
    const talk = async (model: Pick<BitNet, "createChat">) => {
      const chat = model.createChat({ tools, toolChoice: "required", parallelToolCalls: false });
      const { toolCalls } = await chat.send("1 + 1?", { maxTokens: 60, seed: 4 }).result;
      const results = (toolCalls ?? []).map(({ id }) => ({ id, content: 2 }));
      const options = { maxTokens: 6, seed: 4, toolChoice: "none" } as const;
      return { toolCalls, said: await chat.sendToolResults(results, options).text, messages: chat.messages };
    };
    const there = await talk(page);
    expect(there.toolCalls).toMatchObject([{ name: "add", arguments: { a: expect.any(Number) } }]);
    expect(there).toEqual(await talk(direct));
  });

  it("results of tools that nobody has called are refused there too", async () => {
    const chat = page.createChat();
    await expect(chat.sendToolResults([]).result).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("a chat keeps its messages on both sides", async () => {
    const chat = page.createChat({ system: "Be brief." });
    const twin = direct.createChat({ system: "Be brief." });
    for (const text of ["Hello", "And then?"]) {
      const options = { maxTokens: 6, seed: 9 };
      const generation = chat.send(text, options);
      expect(chat.messages.at(-1)).toEqual({ role: "user", content: text });
      expect(await generation.text).toBe(await twin.send(text, options).text);
      expect(chat.messages).toEqual(twin.messages);
    }
    chat.setSystem(null);
    chat.clear();
    await chat.send("Anew", { maxTokens: 1 }).result;
    expect(chat.messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
    const wrong = page.createChat({ messages: [{}] as never });
    await expect(wrong.send("x").result).rejects.toThrow(/role and content/);
  });
});

describe("the life of a worker", () => {
  it("a failed load ends it, with the error's code", async () => {
    const { link, terminate } = connect();
    await expect(PageModel.connect(link, new Blob(["no model"]))).rejects.toMatchObject({
      code: "FORMAT_INVALID",
    });
    expect(terminate).toHaveBeenCalledOnce();
  });

  it("who throws while a load is told of fails it, as without a worker", async () => {
    const onProgress = () => {
      throw new Error("no more");
    };
    await expect(BitNet.load(blob(), { onProgress })).rejects.toThrow("no more");
    const { link, terminate } = connect();
    await expect(PageModel.connect(link, blob(), { onProgress })).rejects.toThrow("no more");
    expect(terminate).toHaveBeenCalledOnce();
  });

  it("a template that cannot be told fails where it is asked for, and the tokenizer is there", async () => {
    const { link } = connect((source, options: ListeningOptions) =>
      BitNet.load(source, {
        ...options,
        [onLanguage]: (language: LanguageSource) =>
          options[onLanguage]?.({ ...language, template: new BitNetError("TEMPLATE_FAILED", "which?") }),
      } as BitNetLoadOptions),
    );
    const page = await PageModel.connect(link, blob());
    expect(page.tokenizer.vocabSize).toBeGreaterThan(0);
    expect(thrown(() => page.template)).toMatchObject({ code: "TEMPLATE_FAILED", message: "which?" });
    await page.dispose();
  });

  it("a worker of another version says nothing of them", async () => {
    const { link } = connect((source, options: ListeningOptions) =>
      BitNet.load(source, { ...options, [onLanguage]: () => {} } as BitNetLoadOptions),
    );
    const page = await PageModel.connect(link, blob());
    expect(thrown(() => page.tokenizer)).toMatchObject({ code: "BACKEND_UNAVAILABLE" });
    await page.dispose();
  });

  it("a callback that throws fails the load, as it does in Node, and is not called again", async () => {
    const { link, terminate } = connect();
    const onProgress = vi.fn(() => {
      throw new RangeError("not with me");
    });
    await expect(PageModel.connect(link, blob(), { onProgress })).rejects.toThrow("not with me");
    expect(terminate).toHaveBeenCalledOnce();
    expect(onProgress).toHaveBeenCalledOnce();
  });

  it("aborting a load ends it at once", async () => {
    const { link, terminate } = connect(() => new Promise(() => {}));
    const abort = new AbortController();
    const loading = PageModel.connect(link, blob(), { signal: abort.signal });
    abort.abort("later");
    await expect(loading).rejects.toMatchObject({ code: "ABORTED", cause: "later" });
    expect(terminate).toHaveBeenCalledOnce();
  });

  it("a crash fails what runs and whatever comes after", async () => {
    const { link, crash } = connect();
    const page = await PageModel.connect(link, blob());
    const generation = page.generate("The", { maxTokens: 400, ignoreEos: true });
    crash("out of memory");
    await expect(generation.result).rejects.toMatchObject({ code: "BACKEND_FAILED" });
    expect(String(thrown(() => page.generate("x")))).toMatch(/out of memory/);
    await page.dispose();
  });

  it("disposing ends generations and the worker", async () => {
    const { link, terminate } = connect();
    const page = await PageModel.connect(link, blob());
    const generation = page.generate("The", { maxTokens: 400, ignoreEos: true });
    await page.dispose();
    await page.dispose();
    expect((await generation.result).stopReason).toBe("abort");
    expect(terminate).toHaveBeenCalledOnce();
    expect(thrown(() => page.generate("x"))).toBeInstanceOf(BitNetError);
    expect(thrown(() => page.stats())).toMatchObject({ code: "DISPOSED" });
  });
});

describe("the two entries", () => {
  it("export the same names, but for what would bring the engine into the page", async () => {
    const names = async (entry: Promise<object>) => Object.keys(await entry).sort();
    const onlyInNode = ["InferenceService", "checkHealth", "encodePrompt", "measureModel"];
    expect(await names(import("../index.browser.ts"))).toEqual(
      (await names(import("../index.ts"))).filter((name) => !onlyInNode.includes(name)),
    );
  });
});
