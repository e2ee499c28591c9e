/** Generations and chats as callers use them, on the model of the golden answers with the reference backend. */
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BitNet } from "./bitnet.ts";
import type { BitNetLoadOptions } from "./types.ts";

const greedy = { temperature: 0, repeatPenalty: 1, ignoreEos: true, maxTokens: 8 } as const;
const fixture = new URL("../../../test/golden/tiny.gguf", import.meta.url).pathname;
let model: BitNet;

beforeAll(async () => {
  model = await BitNet.load(fixture, { backend: "reference" });
});

afterAll(() => model.dispose());

describe("a generation", () => {
  it("gives its whole text, and its text as a stream that web and Node read", async () => {
    const text = await model.generate("The United States", greedy).text;
    expect(text.length).toBeGreaterThan(4);
    const toResponse = (stream: ReadableStream<string>) =>
      new Response(stream.pipeThrough(new TextEncoderStream())).text();
    const streamed = model.generate("The United States", greedy);
    expect(await toResponse(streamed.textStream)).toBe(text);
    expect(await streamed.text).toBe(text);
    const chunks: unknown[] = [];
    for await (const chunk of Readable.from(model.generate("The United States", greedy).textStream))
      chunks.push(chunk);
    expect(chunks.length).toBeGreaterThan(2);
    expect(chunks.join("")).toBe(text);
  });

  it("has a result that survives JSON, with the texts of all log-probabilities", async () => {
    const result = await model.generate("We must", { ...greedy, logprobs: 2, promptLogprobs: 1 }).result;
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
    expect(result.promptIds).toEqual(
      Array.from(model.tokenizer.encode("We must", { bos: model.tokenizer.addBos })),
    );
    expect(result.promptIds).toHaveLength(result.promptTokens);
    expect(result.logprobs?.map(({ text }) => text).join("")).toBe(result.text);
    expect(result.logprobs?.[0]?.top[0]).toEqual({
      id: result.ids[0],
      text: model.tokenizer.decode([result.ids[0] ?? 0]),
      logprob: result.logprobs?.[0]?.logprob,
    });
    expect(result.promptLogprobs?.[0]).toBeNull();
    expect(result.promptLogprobs?.[1]?.top[0]).toHaveProperty("text");
  });

  it("is read once: a second reader is refused instead of finding nothing", async () => {
    const generation = model.generate("We", greedy);
    for await (const _ of generation) void _;
    const again = async () => {
      for await (const _ of generation) void _;
    };
    await expect(again()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(() => generation.textStream).toThrow(/read once/);
    expect((await generation.text).length).toBeGreaterThan(0);
  });

  it("that is aborted ends its pieces, and fails where the whole text was promised", async () => {
    const reason = new Error("the client went away");
    const controller = new AbortController();
    const options = { ...greedy, maxTokens: 200, signal: controller.signal };
    const [pieces, streamed] = [model.generate("We", options), model.generate("We", options)];
    const reader = streamed.textStream.getReader();
    await reader.read();
    for await (const _ of pieces) controller.abort(reason);
    expect((await pieces.result).stopReason).toBe("abort");
    const expected = { name: "AbortError", code: "ABORTED", cause: reason };
    await expect(pieces.text).rejects.toMatchObject(expected);
    const drain = async () => {
      while (!(await reader.read()).done);
    };
    await expect(drain()).rejects.toMatchObject(expected);
  });

  it("ends when its stream is cancelled", async () => {
    const generation = model.generate("We", { ...greedy, maxTokens: 200 });
    const reader = generation.textStream.getReader();
    await reader.read();
    await reader.cancel();
    expect((await generation.result).stopReason).toBe("abort");
    await expect(generation.text).rejects.toMatchObject({ name: "AbortError", code: "ABORTED" });
  });

  it("shares its signal with hundreds of others without a warning", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    const { signal } = new AbortController();
    const all = Array.from({ length: 200 }, () => model.generate("We", { maxTokens: 0, signal }).result);
    await Promise.all(all);
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });
});

describe("a chat", () => {
  it("keeps messages waiting until the answer before them is known", async () => {
    const sent = async (isWaiting: boolean) => {
      const chat = model.createChat();
      const first = chat.send("What is peace?", greedy);
      if (isWaiting) await first.result;
      const second = chat.send("And war?", greedy);
      const { promptIds } = await second.result;
      return { promptIds, messages: chat.messages };
    };
    expect(await sent(false)).toEqual(await sent(true));
  });

  it("streams an answer that had to wait", async () => {
    const chat = model.createChat();
    void chat.send("One", greedy).result;
    let text = "";
    for await (const piece of chat.send("Two", greedy)) text += piece.text;
    expect(chat.messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant"]);
    expect(chat.messages.at(-1)?.content).toBe(text);
  });

  it("drops a waiting message that is aborted or left, and goes on with the next", async () => {
    const chat = model.createChat();
    const controller = new AbortController();
    const first = chat.send("One", greedy);
    const aborted = chat.send("Two", { ...greedy, signal: controller.signal });
    const left = chat.send("Three", greedy);
    const iterator = left[Symbol.asyncIterator]();
    const last = chat.send("Four", greedy);
    controller.abort();
    expect((await aborted.result).stopReason).toBe("abort");
    await iterator.return?.();
    expect((await left.result).stopReason).toBe("abort");
    expect(chat.messages.map(({ content }) => content)).toEqual(["One"]);
    await Promise.all([first.result, last.result]);
    expect(chat.messages.filter(({ role }) => role === "user").map(({ content }) => content)).toEqual([
      "One",
      "Four",
    ]);
  });

  it("goes on after a waiting message that does not fit", async () => {
    const chat = model.createChat();
    const first = chat.send("One", greedy);
    const tooLong = chat.send("word ".repeat(400), greedy);
    const last = chat.send("Two", greedy);
    await expect(tooLong.result).rejects.toMatchObject({ code: "CONTEXT_EXCEEDED" });
    await Promise.all([first.result, last.result]);
    expect(chat.messages).toHaveLength(4);
  });

  it.each([
    [{ sytem: "Be brief." }, /sytem: no such option; did you mean "system"\?/],
    [{ system: 5 }, /system: expected a text, found a number/],
    [{ messages: ["Hello"] }, /messages\[0\]: expected an object with role and content, found a string/],
    [[], /expected an object of options, found an array/],
  ])("refuses %j", (options, message) => {
    expect(() => model.createChat(options as object)).toThrow(message);
  });
});

describe("load", () => {
  const load = BitNet.load as (source: unknown, options?: unknown) => Promise<BitNet>;

  it.each([
    [undefined, /found undefined/],
    [null, /found null/],
    [{}, /found an object/],
    ["", /found an empty text/],
    [17, /found a number/],
  ])("says what is wrong with %j as model", async (source, message) => {
    const error = await load(source).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) });
  });

  it.each([
    [{ contextlenght: 64 }, /contextlenght: no such option; did you mean "contextLength"\?/],
    [{ gpu: true }, /load: gpu: no such option$/],
    ["fast", /expected an object of options, found a string/],
  ])("refuses the options %j", async (options, message) => {
    await expect(load("tiny", options)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });

  it("names the file in errors", async () => {
    const here = new URL(".", import.meta.url).pathname;
    for (const path of ["/no/such/model.gguf", here, new URL(import.meta.url).pathname])
      await expect(load(path)).rejects.toMatchObject({ message: expect.stringContaining(path) });
  });

  it("calls an abort by its name and reason", async () => {
    const reason = new Error("too late");
    const options: BitNetLoadOptions = { signal: AbortSignal.abort(reason) };
    await expect(load("tiny", options)).rejects.toMatchObject({
      name: "AbortError",
      code: "ABORTED",
      cause: reason,
    });
  });

  it("suggests the option of generate that was meant", () => {
    expect(() => model.generate("We", { maxTokns: 3 } as object)).toThrow(/did you mean "maxTokens"/);
  });
});
