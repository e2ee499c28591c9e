/** Adapters through the server: a request names one as its model, and gets the bits that the library gives with it alone. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeModel, openModelFiles } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { BitNet, embeddedModelPath } from "bitnet.ts";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { needOf } from "#server/memory-need.ts";
import { ggufBytes } from "./checkpoint-gguf.ts";
import { type CheckpointShape, randomCheckpoint } from "./random-checkpoint.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";
import { trainAdapter } from "./trained-adapter.ts";

const base = embeddedModelPath();
let folder: string;
let server: ServerProcess;
let paths: Record<string, string>;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-server-adapters-"));
  for (const [name, seed] of [
    ["first", 1],
    ["second", 2],
  ] as const)
    await trainAdapter(folder, { name, seed, text: "It was a dark night." });
  paths = { first: join(folder, "first", "adapter"), second: join(folder, "second", "adapter.gguf") };
  const flags = Object.entries(paths).flatMap(([name, path]) => ["--lora", `${name}=${path}`]);
  server = await startServerProcess(["--model", `base=${base}`, ...flags, "--cache-bytes", "0"]);
}, 120_000);
afterAll(async () => {
  await server?.end();
  rmSync(folder, { recursive: true, force: true });
});

const prompt = "It was a dark and stormy night";
interface Completion {
  model: string;
  choices: { text: string; logprobs: { token_logprobs: number[] } }[];
}

test("they are listed as models of their model", async () => {
  const { data } = (await (await server.get("/v1/models")).json()) as {
    data: { id: string; parent?: string }[];
  };
  expect(data.map(({ id, parent }) => [id, parent])).toEqual([
    ["base", undefined],
    ["first", "base"],
    ["second", "base"],
  ]);
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  const model = await client.models.retrieve("first");
  checkWire("openai", "Model", model);
  const { models } = await new Ollama({ host: server.url }).list();
  expect(models.map(({ name, details }) => [name, details.parent_model])).toEqual([
    ["base:latest", ""],
    ["first:latest", "base:latest"],
    ["second:latest", "base:latest"],
  ]);
});

test("several in one batch give what the library gives with each alone", async () => {
  const names = ["first", "base", "second", "first", "second", "base"];
  const together = await Promise.all(
    names.map(async (model, seed) => {
      const body = { model, prompt, seed, max_tokens: 24, temperature: 0.8, logprobs: 0 };
      const response = await server.post("/v1/completions", body);
      expect(response.status).toBe(200);
      return (await response.json()) as Completion;
    }),
  );
  const texts = new Map<string, string>();
  for (const [seed, name] of names.entries()) {
    const alone = await BitNet.load(base, { adapters: paths, onNotice: () => {} });
    const adapter = name === "base" ? null : name;
    const result = await alone.generate(prompt, {
      adapter,
      seed,
      maxTokens: 24,
      temperature: 0.8,
      logprobs: 0,
    }).result;
    await alone.dispose();
    expect(together[seed]?.model).toBe(name);
    expect(together[seed]?.choices[0]?.text).toBe(result.text);
    expect(together[seed]?.choices[0]?.logprobs.token_logprobs).toEqual(
      result.logprobs?.map(({ logprob }) => logprob),
    );
    texts.set(name, JSON.stringify(result.logprobs?.[0]));
  }
  expect(new Set(texts.values()).size).toBe(3);
}, 120_000);

test("every dialect takes one, kept answers and prefixes are their own", async () => {
  const kept = await startServerProcess([
    ...["--model", `base=${base}`, "--lora", `first=${paths.first}`, "--alias", "gpt"],
  ]);
  try {
    const ask = async (model: string) => {
      const response = await kept.post("/v1/completions", {
        ...{ model, prompt, temperature: 0, max_tokens: 8, logprobs: 0 },
      });
      const [choice] = ((await response.json()) as Completion).choices;
      const { headers } = response;
      return {
        logprobs: choice?.logprobs.token_logprobs,
        cache: headers.get("x-bitnet-cache"),
        prefix: headers.get("x-prefix-key"),
      };
    };
    const plain = await ask("base");
    const adapted = await ask("first");
    expect([plain.cache, adapted.cache]).toEqual(["miss", "miss"]);
    expect(adapted.logprobs).not.toEqual(plain.logprobs);
    expect(adapted.prefix).not.toBe(plain.prefix);
    expect(await ask("first")).toEqual({ ...adapted, cache: "hit" });
    expect((await ask("gpt")).cache).toBe("hit"); // the model's own answer

    const messages = [{ role: "user", content: "Hi" }];
    const chat = { messages, max_tokens: 4, temperature: 0 };
    const textOf = async (path: string, body: object, read: (answer: never) => string | undefined) => {
      const response = await kept.post(path, body);
      const answer: unknown = await response.json();
      expect(response.status, JSON.stringify(answer)).toBe(200);
      return read(answer as never);
    };
    const options = { num_predict: 4, temperature: 0 };
    const textsOf = (model: string) =>
      Promise.all([
        textOf(
          "/api/chat",
          { model, messages, stream: false, options },
          ({ message }: { message: { content: string } }) => message.content,
        ),
        textOf(
          "/v1/chat/completions",
          { model, ...chat },
          ({ choices }: OpenAI.ChatCompletion) => choices[0]?.message.content ?? "",
        ),
        textOf(
          "/v1/messages",
          { model, ...chat },
          ({ content }: { content: { text: string }[] }) => content[0]?.text,
        ),
      ]);
    const texts = [...(await textsOf("first")), ...(await textsOf("first:latest"))];
    expect(new Set(texts).size).toBe(1);
    const embedding = await kept.post("/v1/embeddings", { model: "first", input: "x" });
    expect(embedding.status).toBe(501);
    const listed = await kept.post("/completion", { prompt, lora: [{ id: 0, scale: 1 }] });
    expect([listed.status, await listed.text()]).toEqual([400, expect.stringContaining("lora")]);
    expect((await kept.post("/v1/completions", { model: "third", prompt })).status).toBe(404);
  } finally {
    await kept.end();
  }
}, 60_000);

test("of several models an adapter is the one's that it fits, or the one's that is named", async () => {
  const other = join(folder, "other.gguf");
  const shape: CheckpointShape = {
    family: "bitnet-b1.58",
    ...{ hidden: 64, ffn: 96, layers: 1, heads: 2, kvHeads: 1, headDim: 32, vocab: 320, tokens: 320 },
    ...{ context: 64, theta: 10000, eps: 1e-5, isTied: true, embeddingBits: 8 },
  };
  const ternary = { kind: "packed", packing: "i2_s" } as const;
  writeFileSync(other, await ggufBytes(randomCheckpoint(shape, 3), { ternary }));
  const start = (...args: string[]) => startServerProcess(["--model", `other=${other}`, ...args]);
  const both = ["--model", `base=${base}`];
  const placed = await start(
    ...both,
    "--lora",
    `first=${paths.first}`,
    "--lora",
    `second@base=${paths.second}`,
  );
  try {
    const { data } = (await (await placed.get("/v1/models")).json()) as {
      data: { id: string; parent?: string }[];
    };
    expect(data.map(({ id, parent }) => [id, parent])).toEqual([
      ["other", undefined],
      ["base", undefined],
      ["first", "base"],
      ["second", "base"],
    ]);
    const logprobs = async (of: ServerProcess, model: string) => {
      const body = { model, prompt, seed: 1, max_tokens: 4, temperature: 0.8, logprobs: 0 };
      const response = await of.post("/v1/completions", body);
      expect(response.status).toBe(200);
      return ((await response.json()) as Completion).choices[0]?.logprobs.token_logprobs;
    };
    const own = await logprobs(placed, "base");
    for (const name of ["first", "second"]) {
      expect(await logprobs(placed, name)).toEqual(await logprobs(server, name));
      expect(await logprobs(placed, name)).not.toEqual(own);
    }
  } finally {
    await placed.end();
  }
  await expect(start(...both, "--lora", `first@other=${paths.first}`)).rejects.toThrow(
    /does not fit the model/,
  );
  await expect(start(...both, "--lora", `first@third=${paths.first}`)).rejects.toThrow(
    /there are other, base/,
  );
  await expect(start("--model", `same=${other}`, "--lora", `first=${paths.first}`)).rejects.toThrow(
    /first fits no served model; other: .*; same: /,
  );
}, 120_000);

test("its bytes count for the memory that models may take", async () => {
  const cacheTokens = 256;
  const needed = async (adapters: Record<string, string>) =>
    (await needOf(base, { cacheTokens, adapters }, 2 ** 30)).bytes;
  const bytes = (await needed({ first: paths.first ?? "" })) - (await needed({}));
  const file = statSync(join(paths.first ?? "", "adapter_model.safetensors")).size;
  expect(bytes).toBeGreaterThan(0.9 * file);
  expect(bytes).toBeLessThanOrEqual(file);
  expect((await needed(paths)) - (await needed({}))).toBe(2 * bytes);
});

test("names that say two things are refused at the start", async () => {
  const start = (...args: string[]) => startServerProcess(["--model", `base=${base}`, ...args]);
  await expect(start("--lora", `base=${paths.first}`)).rejects.toThrow(/have the name "base"/);
  await expect(start("--lora", `a=${paths.first}`, "--lora", `a=${paths.second}`)).rejects.toThrow(
    /two adapters have the name "a"/,
  );
  await expect(start("--lora", paths.first ?? "")).rejects.toThrow(/expected NAME=PATH/);
  await expect(start("--lora", "a=/nowhere")).rejects.toThrow(/adapter "a"/);
}, 60_000);

test("of two models of one shape it is the one's that it was trained on, and no other is waited for to say so", async () => {
  const twin = join(folder, "twin.gguf");
  const bytes = readFileSync(base);
  const files = await openModelFiles(await openPath(base));
  const tensor = describeModel(files, base).tensors.get("blk.0.attn_q.weight");
  await files.close();
  if (tensor === undefined) throw new Error("the embedded model has no such tensor");
  bytes[tensor.offset] = bytes[tensor.offset] === 0x55 ? 0x56 : 0x55; // four zeros, or three and a one
  writeFileSync(twin, bytes);
  const models = ["--model", `twin=${twin}`, "--model", `base=${base}`];
  const placed = await startServerProcess([...models, "--lora", `first=${paths.first}`]);
  try {
    const { data } = (await (await placed.get("/v1/models")).json()) as {
      data: { id: string; parent?: string }[];
    };
    expect(data.find(({ id }) => id === "first")?.parent).toBe("base");
  } finally {
    await placed.end();
  }
  await expect(
    startServerProcess([
      "--model",
      `base=${base}`,
      "--model",
      `twin=${twin}`,
      "--lora",
      `first@twin=${paths.first}`,
    ]),
  ).rejects.toThrow(/first fits no served model; twin: .*was trained on another base/);
});
