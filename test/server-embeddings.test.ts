/** Embeddings in OpenAI's and Ollama's dialects, with their published clients, against the real process. */
import { BitNet } from "bitnet.ts";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tinyModel } from "./cli-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";

const texts = ["the state of the union", "a law of congress", "war"];
let server: ServerProcess;
let expected: number[][];
let nTokens: number;
beforeAll(async () => {
  server = await startServerProcess();
  const model = await BitNet.load(tinyModel);
  const result = await model.embed(texts);
  expected = result.embeddings.map((vector) => Array.from(vector));
  nTokens = result.promptTokens;
  await model.dispose();
});
afterAll(() => server?.end());

test("OpenAI: base64 and float are the vectors of the library, bit for bit", async () => {
  const openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  // The client asks for base64 by itself and decodes it.
  const decoded = await openai.embeddings.create({ model: "tiny", input: texts });
  expect(decoded.data.map(({ embedding }) => embedding)).toEqual(expected);
  expect(decoded.usage).toEqual({ prompt_tokens: nTokens, total_tokens: nTokens });
  const plain = await openai.embeddings.create({
    model: "tiny",
    input: texts[0] ?? "",
    encoding_format: "float",
  });
  checkWire("openai", "CreateEmbeddingResponse", plain);
  expect(plain.data[0]?.embedding).toEqual(expected[0]);
  const short = await openai.embeddings.create({ model: "tiny", input: texts, dimensions: 8 });
  const [vector = []] = short.data.map(({ embedding }) => embedding);
  expect(vector.length).toBe(8);
  expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
});

test("token ids are embedded as they are", async () => {
  const { tokens } = (await (
    await server.post("/tokenize", { prompt: texts[2], add_special_tokens: true })
  ).json()) as { tokens: number[] };
  const response = await server.post("/v1/embeddings", { input: [tokens, tokens] });
  const { data } = (await response.json()) as { data: { embedding: number[] }[] };
  expect(data.map(({ embedding }) => embedding)).toEqual([expected[2], expected[2]]);
});

test("Ollama: embed and the older embeddings", async () => {
  const ollama = new Ollama({ host: server.url });
  const { embeddings, prompt_eval_count } = await ollama.embed({ model: "tiny", input: texts });
  expect(embeddings).toEqual(expected);
  expect(prompt_eval_count).toBe(nTokens);
  const raw = await server.post("/api/embed", { model: "tiny", input: texts[0] });
  checkWire("ollama", "EmbedResponse", await raw.json());
  expect((await ollama.embeddings({ model: "tiny", prompt: texts[1] ?? "" })).embedding).toEqual(expected[1]);
  expect((await ollama.show({ model: "tiny" })).capabilities).toContain("embedding");
  // Longer than the context: cut, unless that is not wanted.
  const long = "state ".repeat(400);
  expect((await ollama.embed({ model: "tiny", input: long })).embeddings.length).toBe(1);
  const refused = await server.post("/api/embed", { model: "tiny", input: long, truncate: false });
  expect([refused.status, refused.headers.get("x-bitnet-code")]).toEqual([400, "CONTEXT_EXCEEDED"]);
});

test.each([
  [{ input: "" }],
  [{ input: [] }],
  [{ input: [["a"]] }],
  [{ input: [1e9] }],
  [{ input: "a", dimensions: 100_000 }],
  [{ input: "a", dimensions: 0 }],
  [{ input: "a", encoding_format: "hex" }],
  [{}],
])("%o is a 400", async (body) => {
  expect((await server.post("/v1/embeddings", body)).status).toBe(400);
});
