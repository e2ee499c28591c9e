/** A model whose prompt begins a thought: thoughts and answers apart in every dialect, and forms that are answers from their first token on. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readEvents, type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";
import { tinyModels } from "./tiny-model.ts";

const template =
  "{% for message in messages %}{{ message.role + ': ' + message.content + '<|eot_id|>' }}{% endfor %}" +
  "{{ 'Assistant: ' }}{% if enable_thinking is not defined or enable_thinking %}{{ '<think>' }}{% endif %}";
let folder: string;
let server: ServerProcess;
let openai: OpenAI;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-thinking-"));
  const model = join(folder, "thinker");
  cpSync(tinyModels["hf packed"], model, { recursive: true });
  const config = join(model, "tokenizer_config.json");
  const fields = JSON.parse(readFileSync(config, "utf8")) as object;
  writeFileSync(config, JSON.stringify({ ...fields, chat_template: template }));
  server = await startServerProcess(["--model", `thinker=${model}`]);
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  await server?.end();
  rmSync(folder, { recursive: true, force: true });
});

const messages = [{ role: "user" as const, content: "Hi" }];
const max = 8;
const schema = { type: "object", properties: { city: { enum: ["Rome"] } }, required: ["city"] };

test("thoughts are told apart and counted, whole and streamed", async () => {
  const chat = await openai.chat.completions.create({ model: "thinker", messages, max_tokens: max, seed: 1 });
  const message = chat.choices[0]?.message as { content: string; reasoning_content?: string };
  expect(message.content).toBe("");
  expect(message.reasoning_content).not.toBe("");
  expect(chat.usage?.completion_tokens_details?.reasoning_tokens).toBe(max);

  const ask = { model: "thinker", input: "Hi", max_output_tokens: max, temperature: 0 };
  const whole = await openai.responses.create(ask);
  checkWire("openai-responses", "Response", whole);
  expect(whole.usage?.output_tokens_details.reasoning_tokens).toBe(max);
  // The client takes the answer together from its events, and throws where one is missing.
  const streamed = await openai.responses.stream(ask).finalResponse();
  const [thought] = streamed.output;
  if (thought?.type !== "reasoning") throw new Error("no thought");
  expect(thought.content).toEqual((whole.output[0] as typeof thought).content);
  for (const event of await readEvents(await server.post("/v1/responses", { ...ask, stream: true })))
    checkWire("openai-responses", "ResponseStreamEvent", event);

  const anthropic = new Anthropic({ baseURL: server.url, apiKey: "none", maxRetries: 0 });
  const { content } = await anthropic.messages
    .stream({ model: "thinker", messages, max_tokens: max })
    .finalMessage();
  expect(content[0]?.type).toBe("thinking");
});

test("Ollama: capability, thoughts of chat and generate, and none where none are wanted", async () => {
  const ollama = new Ollama({ host: server.url });
  expect((await ollama.show({ model: "thinker" })).capabilities).toContain("thinking");
  const options = { num_predict: max, temperature: 0 };
  const chat = await ollama.chat({ model: "thinker", messages, options });
  expect([chat.message.content, typeof chat.message.thinking]).toEqual(["", "string"]);
  const made = await ollama.generate({ model: "thinker", prompt: "Hi", options });
  checkWire("ollama", "GenerateResponse", made);
  expect([made.response, made.thinking]).toEqual(["", chat.message.thinking]);
  let thinking = "";
  for await (const part of await ollama.generate({ model: "thinker", prompt: "Hi", options, stream: true })) {
    checkWire("ollama", "GenerateStreamEvent", part);
    thinking += part.thinking ?? "";
    expect(part.response).toBe("");
  }
  expect(thinking).toBe(made.thinking);
  const plain = await ollama.generate({ model: "thinker", prompt: "Hi", options, think: false });
  expect([plain.response === "", plain.thinking]).toEqual([false, undefined]);
});

test("a form and a forced call are the answer, not a thought", async () => {
  const response_format = { type: "json_schema" as const, json_schema: { name: "x", schema } };
  const chat = await openai.chat.completions.create({ model: "thinker", messages, response_format });
  expect(JSON.parse(chat.choices[0]?.message.content ?? "")).toEqual({ city: "Rome" });
  const tools = [{ type: "function" as const, function: { name: "f", parameters: schema } }];
  const called = await openai.chat.completions.create({
    ...{ model: "thinker", messages, tools, tool_choice: "required" as const, parallel_tool_calls: false },
  });
  expect(called.choices[0]?.message.tool_calls?.[0]).toMatchObject({ function: { name: "f" } });
  const made = { model: "thinker", prompt: "Hi", format: schema, stream: false };
  const { response } = (await (await server.post("/api/generate", made)).json()) as { response: string };
  expect(JSON.parse(response)).toEqual({ city: "Rome" });
});
