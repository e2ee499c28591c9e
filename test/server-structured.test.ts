/** Answers in a form, and calls of tools, in every dialect, against the real process. */
import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";

let server: ServerProcess;
let openai: OpenAI;
let anthropic: Anthropic;
let ollama: Ollama;
beforeAll(async () => {
  server = await startServerProcess(["--alias", "*"]);
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: server.url, apiKey: "none", maxRetries: 0 });
  ollama = new Ollama({ host: server.url });
});
afterAll(() => server?.end());

const messages = [{ role: "user" as const, content: "Hi" }];
const schema = {
  type: "object",
  properties: {
    city: { type: "string", enum: ["Rome", "Oslo"] },
    year: { type: "integer", minimum: 0, maximum: 99 },
  },
  required: ["city", "year"],
  additionalProperties: false,
};
function expectValid(text: string): void {
  const value = JSON.parse(text) as { city: string; year: number };
  expect(Object.keys(value)).toEqual(["city", "year"]);
  expect(["Rome", "Oslo"]).toContain(value.city);
  expect(value.year >= 0 && value.year <= 99 && Number.isInteger(value.year)).toBe(true);
}

test("JSON by schema in every dialect", async () => {
  const response_format = { type: "json_schema" as const, json_schema: { name: "x", strict: true, schema } };
  for (let seed = 0; seed < 5; seed++) {
    const chat = await openai.chat.completions.create({ model: "m", messages, seed, response_format });
    expectValid(chat.choices[0]?.message.content ?? "");
    expect(chat.choices[0]?.finish_reason).toBe("stop");
    const told = await ollama.chat({ model: "m", messages, format: schema, options: { seed } });
    expectValid(told.message.content);
    const made = await ollama.generate({ model: "m", prompt: "Hi", format: schema, options: { seed } });
    expectValid(made.response ?? "");
    const raw = await server.post("/completion", { prompt: "Hi", json_schema: schema, seed });
    expectValid(((await raw.json()) as { content: string }).content);
  }
  const any = await openai.chat.completions.create({
    model: "m",
    messages,
    seed: 1,
    response_format: { type: "json_object" },
    logprobs: true,
    top_logprobs: 2,
  });
  expect(any.choices[0]?.message.content?.startsWith("{")).toBe(true);
  const guided = await server.post("/v1/completions", {
    prompt: "Hi",
    guided_choice: ["war", "peace"],
    max_tokens: 20,
  });
  expect(((await guided.json()) as OpenAI.Completion).choices[0]?.text).toMatch(/^(war|peace)$/);
  const pattern = await server.post("/v1/chat/completions", { messages, guided_regex: "[0-9]{3}" });
  expect(((await pattern.json()) as OpenAI.ChatCompletion).choices[0]?.message.content).toMatch(/^[0-9]{3}$/);
});

test("schemas that would be broken in silence, and hostile ones, are 400s", async () => {
  let deep: object = { type: "string" };
  for (let i = 0; i < 40; i++) deep = { type: "array", items: deep };
  for (const bad of [
    { not: {} },
    { type: "nonsense" },
    { $ref: "#/$defs/x" },
    { enum: [] },
    { type: "string", pattern: "(a" },
    deep,
    { type: "object", properties: { 'a"b': {} } },
  ]) {
    const response = await server.post("/v1/chat/completions", {
      messages,
      response_format: { type: "json_schema", json_schema: { name: "x", schema: bad } },
    });
    expect([response.status, JSON.stringify(bad).slice(0, 60)]).toEqual([
      400,
      JSON.stringify(bad).slice(0, 60),
    ]);
  }
  expect(
    (await server.post("/v1/chat/completions", { messages, response_format: { type: "xml" } })).status,
  ).toBe(400);
});

/** Small, for the embedded model's context holds 256 tokens. */
const parameters = { type: "object", properties: { c: { enum: ["Rome", "Oslo"] } }, required: ["c"] };
const tools = [{ type: "function" as const, function: { name: "w", parameters } }];
const expectCity = (text: string) => expect(text).toMatch(/^\{ ?"c" ?: ?"(Rome|Oslo)" ?\}$/);

test("OpenAI: required and named tools are called, whole and streamed", async () => {
  for (const [tool_choice, reason] of [
    ["required", "tool_calls"],
    [{ type: "function", function: { name: "w" } }, "stop"],
  ] as const) {
    const request = { model: "m", messages, tools, tool_choice, seed: 4, parallel_tool_calls: false };
    const answer = await openai.chat.completions.create(request);
    checkWire("openai", "CreateChatCompletionResponse", answer);
    const { message, finish_reason } = answer.choices[0] ?? {};
    expect(finish_reason).toBe(reason);
    expect(message?.content).toBe(null);
    expect(message?.tool_calls?.length).toBe(1);
    const [call] = message?.tool_calls ?? [];
    if (call?.type !== "function") throw new Error("no call");
    expectCity(call.function.arguments);
    const streamed = await openai.chat.completions.stream({ ...request, stream: true }).finalChatCompletion();
    const [again] = streamed.choices[0]?.message.tool_calls ?? [];
    if (again?.type !== "function") throw new Error("no call");
    expect(again.function).toMatchObject({ name: "w", arguments: call.function.arguments });
  }
});

test("OpenAI: results of tools come back, in a model whose template knows no tools", async () => {
  const answer = await openai.chat.completions.create({
    model: "m",
    messages: [
      ...messages,
      {
        role: "assistant",
        content: null,
        tool_calls: [
          {
            id: "c1",
            type: "function",
            function: { name: "w", arguments: '{"c":"Rome"}' },
          },
        ],
      },
      { role: "tool", tool_call_id: "c1", content: "sunny" },
    ],
    tools,
    max_tokens: 4,
  });
  expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
});

test("Anthropic: any and named tools, whole and streamed", async () => {
  const request = {
    model: "m",
    max_tokens: 120,
    messages,
    tools: [{ name: "w", input_schema: parameters as Anthropic.Tool.InputSchema }],
    tool_choice: { type: "any" as const, disable_parallel_tool_use: true },
  };
  for (const message of [
    await anthropic.messages.create(request),
    await anthropic.messages.stream(request).finalMessage(),
  ]) {
    checkWire("anthropic", "Message", { ...message });
    expect(message.stop_reason).toBe("tool_use");
    const [block] = message.content;
    if (block?.type !== "tool_use") throw new Error("no call");
    expect(block.name).toBe("w");
    expectCity(JSON.stringify(block.input));
  }
});

test("auto leaves the choice to the model, none takes the tools away", async () => {
  for (const tool_choice of ["auto", "none"] as const) {
    const answer = await openai.chat.completions.create({
      model: "m",
      messages,
      tools,
      tool_choice,
      max_tokens: 12,
      seed: 1,
    });
    expect(answer.choices[0]?.finish_reason).toBe("length");
  }
  const bad = await server.post("/v1/chat/completions", {
    messages,
    tools,
    tool_choice: { type: "function", function: { name: "other" } },
  });
  expect(bad.status).toBe(400);
});

test("a request that fails after its grammar was compiled leaves the compiler free", async () => {
  for (let i = 0; i < 4; i++) {
    const bad = await server.post("/v1/chat/completions", {
      messages,
      guided_choice: [`never ${i}`],
      logit_bias: { 99999999: 1 },
    });
    expect(bad.status).toBe(400);
  }
  const good = await server.post("/v1/chat/completions", { messages, guided_choice: ["still here"] });
  expect(((await good.json()) as OpenAI.ChatCompletion).choices[0]?.message.content).toBe("still here");
});
