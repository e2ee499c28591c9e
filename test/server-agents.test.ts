/** What editors, agents and chat programs send beyond the plain request, against the real process. */
import Anthropic from "@anthropic-ai/sdk";
import { Ajv2020 } from "ajv/dist/2020.js";
import { embeddedModelPath } from "bitnet.ts";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readEvents, type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";

let server: ServerProcess;
let openai: OpenAI;
let anthropic: Anthropic;
beforeAll(async () => {
  server = await startServerProcess(["--alias", "*", "--model", `tiny=${embeddedModelPath()}`]);
  openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: server.url, apiKey: "none", maxRetries: 0 });
});
afterAll(() => server?.end());

const messages = [{ role: "user" as const, content: "Hi" }];
/** As zod and the servers of others write schemas: with words that no grammar keeps to. */
const parameters = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  properties: {
    score: { type: "number", minimum: 0, maximum: 1 },
    ids: { type: "array", items: { enum: ["a", "b"] }, uniqueItems: true, maxItems: 1 },
    kind: { enum: ["x"] },
  },
  required: ["ids", "kind"],
  additionalProperties: false,
};
const named = (name: string, more: object = {}) => ({
  type: "function" as const,
  function: { name, description: "d", parameters, ...more },
});

test("a tool whose schema has words beyond a grammar is kept to as far as it goes, unless it is strict", async () => {
  const accepts = new Ajv2020({ strict: false }).compile(parameters);
  for (const tool_choice of ["auto", "required"] as const) {
    const chat = await openai.chat.completions.create({
      ...{ model: "m", messages, seed: 1, tools: [named("f")], tool_choice, parallel_tool_calls: false },
    });
    const [call] = chat.choices[0]?.message.tool_calls ?? [];
    if (tool_choice === "auto") continue;
    if (call?.type !== "function") throw new Error("no call");
    expect(accepts(JSON.parse(call.function.arguments)), call.function.arguments).toBe(true);
  }
  const strict = { messages, tools: [named("f", { strict: true })], max_tokens: 2 };
  const refused = await server.post("/v1/chat/completions", strict);
  expect([refused.status, await refused.text()]).toEqual([
    400,
    expect.stringContaining("#/properties/score/minimum"),
  ]);
  const claude = { name: "f", input_schema: parameters };
  const message = await anthropic.messages.create({
    ...{
      model: "m",
      messages,
      max_tokens: 200,
      tools: [claude as Anthropic.Tool],
      tool_choice: { type: "any" },
    },
  });
  expect(message.content[0]).toMatchObject({ type: "tool_use", name: "f" });
  const strictClaude = { messages, max_tokens: 2, tools: [{ ...claude, strict: true }] };
  expect((await server.post("/v1/messages", strictClaude)).status).toBe(400);
  const flat = { type: "function", name: "f", parameters };
  expect(
    (await server.post("/v1/responses", { input: "Hi", max_output_tokens: 2, tools: [flat] })).status,
  ).toBe(200);
  const told = { model: "m", messages, stream: false, tools: [named("f")], options: { num_predict: 2 } };
  expect((await server.post("/api/chat", told)).status).toBe(200);
});

test("hundreds of tools, with long descriptions, as agents have that are connected to many servers", async () => {
  const tools = Array.from({ length: 200 }, (_, i) => named(`tool_${i}`));
  const long = named("long", { description: "word ".repeat(4_000) });
  const count = await server.post("/v1/messages/count_tokens", {
    messages,
    tools: [...tools, long].map(({ function: { name, description } }) => ({
      name,
      description,
      input_schema: {},
    })),
  });
  expect(((await count.json()) as { input_tokens: number }).input_tokens).toBeGreaterThan(4_000);
  const chat = { messages, tools: [...tools, long], tool_choice: "none", max_tokens: 1 } as const;
  expect((await server.post("/v1/chat/completions", chat)).status).toBe(200);
});

test("tool_choice names those that may be called", async () => {
  const short = { description: "d", parameters: { type: "object", properties: { kind: { enum: ["x"] } } } };
  const tools = [named("f", short), named("g", short), named("h", short)];
  for (let seed = 0; seed < 3; seed++) {
    const chat = await openai.chat.completions.create({
      ...{ model: "m", messages, seed, tools, parallel_tool_calls: false },
      tool_choice: {
        type: "allowed_tools",
        allowed_tools: { mode: "required", tools: [{ type: "function", function: { name: "g" } }] },
      },
    });
    expect(chat.choices[0]?.message.tool_calls?.[0]).toMatchObject({ function: { name: "g" } });
    expect(chat.choices[0]?.finish_reason).toBe("tool_calls");
  }
  const flat = tools.map(({ function: each }) => ({ type: "function" as const, strict: false, ...each }));
  const response = await openai.responses.create({
    ...{ model: "m", input: "Hi", tools: flat, parallel_tool_calls: false },
    tool_choice: { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: "h" }] },
  });
  expect(response.output[0]).toMatchObject({ type: "function_call", name: "h" });
  for (const allowed of [
    { mode: "required", tools: [{ name: "none" }] },
    { mode: "required" },
    { tools: [{ name: "f" }] },
  ]) {
    const wrong = { messages, tools, tool_choice: { type: "allowed_tools", allowed_tools: allowed } };
    const refused = await server.post("/v1/chat/completions", wrong);
    expect([refused.status, await refused.text()]).toEqual([
      400,
      expect.stringContaining("tool_choice.allowed_tools."),
    ]);
  }
});

test("max_tokens of -1 is as many as there is room for", async () => {
  const fixed = { seed: 3 };
  for (const [path, body] of [
    ["/v1/chat/completions", { messages, max_tokens: -1, ...fixed }],
    ["/v1/chat/completions", { messages, max_completion_tokens: -1, ...fixed }],
    ["/v1/completions", { prompt: "Hi", max_tokens: -1, ...fixed }],
    ["/completion", { prompt: "Hi", n_predict: -1, ...fixed }],
  ] as const) {
    const response = await server.post(path, body);
    const answer = (await response.json()) as {
      usage?: { completion_tokens: number };
      tokens_predicted?: number;
    };
    expect([path, response.status]).toEqual([path, 200]);
    expect(answer.usage?.completion_tokens ?? answer.tokens_predicted).toBeGreaterThan(1);
  }
});

test("many stop texts, and long ones", async () => {
  const stop = [...Array.from({ length: 40 }, (_, i) => `<|stop_${i}|>`), "x".repeat(500)];
  expect((await server.post("/v1/completions", { prompt: "Hi", max_tokens: 2, stop })).status).toBe(200);
  const told = { model: "m", prompt: "Hi", stream: false, options: { num_predict: 2, stop } };
  expect((await server.post("/api/generate", told)).status).toBe(200);
});

test("log-probabilities of a streamed completion are those of the whole one", async () => {
  const body = { prompt: "The state of the union", max_tokens: 24, seed: 2, temperature: 1, logprobs: 2 };
  const whole = (await (await server.post("/v1/completions", body)).json()) as OpenAI.Completion;
  const events = (await readEvents(
    await server.post("/v1/completions", { ...body, stream: true }),
  )) as unknown as OpenAI.Completion[];
  const parts = events.flatMap(({ choices }) => choices);
  expect(parts.map(({ text }) => text).join("")).toBe(whole.choices[0]?.text);
  for (const field of ["tokens", "token_logprobs", "top_logprobs", "text_offset"] as const)
    expect(parts.flatMap(({ logprobs }) => (logprobs?.[field] as unknown[]) ?? [])).toEqual(
      whole.choices[0]?.logprobs?.[field],
    );
  const echoed = await server.post("/v1/completions", { ...body, stream: true, echo: true });
  expect(echoed.status).toBe(400);
});

test("an earlier answer that was a refusal", async () => {
  const turns = [...messages, { role: "assistant", content: null, refusal: "No." }, ...messages];
  expect((await server.post("/v1/chat/completions", { messages: turns, max_tokens: 2 })).status).toBe(200);
});

test("a packed body is refused by what it is", async () => {
  const response = await server.post("/v1/chat/completions", { messages }, { "content-encoding": "gzip" });
  expect([response.status, await response.text()]).toEqual([
    400,
    expect.stringContaining("content-encoding"),
  ]);
  const plain = await server.post(
    "/v1/completions",
    { prompt: "a", max_tokens: 1 },
    { "content-encoding": "identity" },
  );
  expect(plain.status).toBe(200);
});

test("a response repeats the form that was asked for, and a form without a schema is named", async () => {
  const format = { type: "json_schema", name: "x", schema: { enum: ["Rome"] } } as const;
  const response = await openai.responses.create({
    model: "m",
    input: "Hi",
    text: { format: { ...format, strict: true } as never },
  });
  expect([response.output_text, response.text]).toEqual(['"Rome"', { format: { ...format, strict: true } }]);
  checkWire("openai-responses", "Response", response);
  const bad = await server.post("/v1/responses", {
    input: "Hi",
    text: { format: { type: "json_schema", name: "x" } },
  });
  expect([bad.status, await bad.json()]).toEqual([
    400,
    { error: expect.objectContaining({ param: "text.format.schema" }) },
  ]);
});

test("tokens of a response's input are counted as it would have them", async () => {
  const ask = { model: "m", instructions: "Be brief.", input: "Hello there" };
  const count = await openai.responses.inputTokens.count(ask);
  checkWire("openai-responses", "TokenCountsResource", count);
  const { usage, id } = await openai.responses.create({ ...ask, max_output_tokens: 1 });
  expect(count.input_tokens).toBe(usage?.input_tokens);
  const next = await openai.responses.inputTokens.count({ ...ask, previous_response_id: id });
  expect(next.input_tokens).toBeGreaterThan(count.input_tokens);
});

test("models are found with and without /v1", async () => {
  for (const path of ["/v1/models/tiny", "/models/tiny"]) expect((await server.get(path)).status).toBe(200);
});
