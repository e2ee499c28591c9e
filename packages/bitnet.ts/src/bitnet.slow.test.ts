/** The public API on the embedded model, with the reference backend, which runs on every machine. */
import { openAsBlob, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, describe, expect, it } from "vitest";
import { BitNet } from "./bitnet.ts";
import type { BitNetLoadOptions } from "./types.ts";

const file = (path: string) => new URL(`../../../${path}`, import.meta.url).pathname;
const tiny = file("test/golden/tiny.gguf");
const greedy = { temperature: 0, repeatPenalty: 1 };
const opened: BitNet[] = [];

async function load(source: string | URL | Blob = tiny, options: BitNetLoadOptions = {}): Promise<BitNet> {
  const model = await BitNet.load(source, { backend: "reference", ...options });
  opened.push(model);
  return model;
}

afterAll(async () => {
  await Promise.all(opened.map((model) => model.dispose()));
});

async function codeOf(action: () => unknown): Promise<string> {
  try {
    await action();
  } catch (error) {
    return String(Reflect.get(Object(error), "code") ?? error);
  }
  return "none";
}

describe("BitNet", () => {
  it("tells what it loaded, and how far loading is", async () => {
    const seen: number[] = [];
    const { info } = await load(tiny, { onProgress: (fraction) => seen.push(fraction) });
    expect(info).toMatchObject({
      architecture: "bitnet-b1.58",
      nLayers: 4,
      hiddenSize: 256,
      contextLength: 256,
      backend: "reference",
      kvType: "f16",
      tensorTypes: ["f16", "i2_s", "f32"],
    });
    expect(info.nParameters).toBeGreaterThan(3_400_000);
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  it("streams pieces that make up the result", async () => {
    const model = await load();
    const generation = model.generate("The United States", { maxTokens: 12, seed: 1, logprobs: 2 });
    const ids: number[] = [];
    let text = "";
    for await (const piece of generation) {
      ids.push(piece.id);
      text += piece.text;
      expect(piece.logprob).toBeLessThanOrEqual(0);
      expect(piece.top).toHaveLength(2);
    }
    const result = await generation.result;
    expect(Array.from(result.ids)).toEqual(ids);
    expect(result).toMatchObject({ text, stopReason: "length", seed: 1, promptTokens: 6 });
  });

  it("gives the same text for the same seed, alone or in a crowd", async () => {
    const model = await load();
    const options = { maxTokens: 10, seed: 99, temperature: 1, topP: 1 };
    const alone = await model.generate("We must", options).result;
    const crowd = await Promise.all(
      ["Peace", "We must", "The Congress", "I"].map((prompt) => model.generate(prompt, options).result),
    );
    expect(crowd[1]?.ids).toEqual(alone.ids);
    const { steps } = model.stats();
    expect(steps).toBeLessThan(10 + 4 * 10);
  });

  it("generates from token ids as they are", async () => {
    const model = await load();
    const ids = model.tokenizer.encode("We must", { bos: true });
    const fromIds = await model.generate(ids, { maxTokens: 5, ...greedy }).result;
    const fromText = await model.generate("We must", { maxTokens: 5, ...greedy }).result;
    expect(fromIds.ids).toEqual(fromText.ids);
  });

  it("ends with reason context where the context ends", async () => {
    const model = await load(tiny, { contextLength: 16 });
    const result = await model.generate("We must", { maxTokens: 100, ignoreEos: true, ...greedy }).result;
    expect(result.stopReason).toBe("context");
    expect(result.promptTokens + result.ids.length).toBeLessThanOrEqual(17);
    expect(await codeOf(() => model.generate("word ".repeat(50)))).toBe("CONTEXT_EXCEEDED");
  });

  it("loads a Blob and a URL", async () => {
    const bytes = readFileSync(tiny);
    const server = createServer((request, response) => {
      const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
      if (!range)
        return response
          .writeHead(200, { "content-length": bytes.length })
          .end(request.method === "HEAD" ? "" : bytes);
      const [from, to] = [Number(range[1]), Math.min(Number(range[2]), bytes.length - 1)];
      const headers = {
        "content-range": `bytes ${from}-${to}/${bytes.length}`,
        "content-length": to - from + 1,
      };
      return response.writeHead(206, headers).end(bytes.subarray(from, to + 1));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const models = [
        await load(await openAsBlob(tiny)),
        await load(`http://127.0.0.1:${port}/tiny.gguf`),
        await load(),
      ];
      const texts = models.map((model) => model.generate("Peace", { maxTokens: 6, ...greedy }).result);
      const [blob, url, path] = await Promise.all(texts);
      expect(blob?.text).toBe(path?.text);
      expect(url?.text).toBe(path?.text);
    } finally {
      server.close();
    }
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ["a missing file", () => load("no-such-file.gguf"), "FILE_NOT_FOUND"],
    ["a folder without config", () => load(file("docs")), "FILE_NOT_FOUND"],
    ["a text file", () => load(file("README.md")), "FORMAT_INVALID"],
    ["a context beyond training", () => load(tiny, { contextLength: 257 }), "CONTEXT_EXCEEDED"],
    ["no threads", () => load(tiny, { threads: 0 }), "INVALID_ARGUMENT"],
    ["a cache beyond memory", () => load(tiny, { cacheTokens: 2 ** 50 }), "OUT_OF_MEMORY"],
    ["a fired signal", () => load(tiny, { signal: AbortSignal.abort() }), "ABORTED"],
    ["an unknown backend", () => load(tiny, { backend: "gpu" as "native" }), "BACKEND_UNAVAILABLE"],
  ])("refuses %s", async (_, action, code) => {
    expect(await codeOf(action)).toBe(code);
  });

  it("frees everything on dispose, ends what runs, and refuses later use", async () => {
    const model = await load();
    const running = model.generate("We must", { maxTokens: 200, ...greedy });
    await model.dispose();
    expect((await running.result).stopReason).toBe("abort");
    await model.dispose();
    for (const use of [() => model.generate("x"), () => model.createChat(), () => model.stats()])
      expect(await codeOf(use)).toBe("DISPOSED");
  });
});

describe("Chat", () => {
  it("keeps the conversation and renders it with the model's template", async () => {
    const model = await load();
    const chat = model.createChat({ system: "Be brief." });
    const first = await chat.send("What is peace?", { maxTokens: 6, ...greedy }).result;
    expect(chat.messages).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "What is peace?" },
      { role: "assistant", content: first.text },
    ]);
    const before = model.stats().rowsSkipped;
    for await (const _ of chat.send("And war?", { maxTokens: 4, ...greedy })) void _;
    expect(chat.messages).toHaveLength(5);
    expect(model.stats().rowsSkipped).toBeGreaterThan(before);
    chat.setSystem(null);
    chat.clear();
    expect(chat.messages).toEqual([]);
  });
});
