/** OpenAI's dialect, by its published client and by the bytes on the wire, against the real process. */
import OpenAI, { APIError } from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readEvents, type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";

let server: ServerProcess;
let client: OpenAI;
const user = (content: string) => [{ role: "user" as const, content }];

beforeAll(async () => {
  server = await startServerProcess(["--alias", "gpt-4o,text-model"]);
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(() => server?.end());

test("a whole chat completion", async () => {
  const answer = await client.chat.completions.create({
    model: "gpt-4o",
    messages: user("Hello"),
    max_tokens: 8,
    seed: 1,
  });
  checkWire("openai", "CreateChatCompletionResponse", answer);
  expect(answer.choices[0]?.message.content).not.toBe("");
  expect(answer.choices[0]?.finish_reason).toBe("length");
  expect(answer.model).toBe("gpt-4o");
  expect(answer.usage?.completion_tokens).toBe(8);
  expect(answer.usage?.total_tokens).toBe((answer.usage?.prompt_tokens ?? 0) + 8);
});

test("a streamed one is the whole one in pieces, with usage when asked for", async () => {
  const request = { model: "tiny", messages: user("My fellow citizens"), max_tokens: 24, seed: 7, n: 2 };
  const whole = await client.chat.completions.create(request);
  const stream = await client.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  });
  const texts = ["", ""];
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    checkWire("openai", "CreateChatCompletionStreamResponse", chunk);
    for (const { index, delta } of chunk.choices) texts[index] += delta.content ?? "";
    if (chunk.usage) {
      expect(chunk.choices).toEqual([]);
      usage = chunk.usage;
    }
  }
  expect(texts).toEqual(whole.choices.map((choice) => choice.message.content));
  expect(texts[0]).not.toBe(texts[1]);
  expect(usage?.completion_tokens).toBe(whole.usage?.completion_tokens);
});

test("without include_usage no chunk carries usage, and [DONE] ends the stream", async () => {
  for (const stream_options of [undefined, {}, { include_usage: false }]) {
    const response = await server.post("/v1/chat/completions", {
      messages: user("Hello"),
      max_tokens: 3,
      stream: true,
      stream_options,
    });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const copy = response.clone();
    const chunks = await readEvents(response);
    expect(chunks.every((chunk) => !("usage" in chunk) && (chunk.choices as unknown[]).length > 0)).toBe(
      true,
    );
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect((await copy.text()).endsWith("\n\ndata: [DONE]\n\n")).toBe(true);
  }
});

test("the client's own stream helper accepts it", async () => {
  const final = await client.chat.completions
    .stream({ model: "tiny", messages: user("Hello"), max_tokens: 5, seed: 3 })
    .finalChatCompletion();
  expect(final.choices[0]?.finish_reason).toBe("length");
});

test("log-probabilities: bytes joined are the text, tops are sorted", async () => {
  const answer = await client.chat.completions.create({
    model: "tiny",
    messages: user("Hello"),
    max_tokens: 12,
    seed: 5,
    logprobs: true,
    top_logprobs: 3,
  });
  checkWire("openai", "CreateChatCompletionResponse", answer);
  const content = answer.choices[0]?.logprobs?.content ?? [];
  expect(content.length).toBe(12);
  const bytes = content.flatMap((entry) => entry.bytes ?? []);
  expect(new TextDecoder().decode(Uint8Array.from(bytes))).toBe(answer.choices[0]?.message.content);
  for (const { top_logprobs: top } of content) {
    expect(top.length).toBe(3);
    expect(top.map((each) => each.logprob)).toEqual(
      top.map((each) => each.logprob).toSorted((a, b) => b - a),
    );
  }
});

test("a stop text ends the answer and is not part of it, nor are its tokens", async () => {
  const request = { model: "tiny", messages: user("Hello"), max_tokens: 40, seed: 11, logprobs: true };
  const whole = await client.chat.completions.create(request);
  const text = whole.choices[0]?.message.content ?? "";
  const stop = text.slice(10, 14);
  const cut = await client.chat.completions.create({ ...request, stop: [stop] });
  const shown = cut.choices[0]?.message.content ?? "";
  expect(shown).toBe(text.slice(0, text.indexOf(stop)));
  expect(cut.choices[0]?.finish_reason).toBe("stop");
});

test("every sampling parameter has an effect", async () => {
  const base = { messages: user("The state of the union"), max_tokens: 24, seed: 2, temperature: 1 };
  const textOf = async (more: object) => {
    const response = await server.post("/v1/chat/completions", { ...base, ...more });
    const answer = (await response.json()) as OpenAI.ChatCompletion;
    expect(response.status, JSON.stringify(answer)).toBe(200);
    return answer.choices[0]?.message.content;
  };
  const plain = await textOf({});
  expect(await textOf({})).toBe(plain);
  const greedy = await textOf({ temperature: 0 });
  expect(await textOf({ top_k: 1 })).toBe(await textOf({ top_p: 0 }));
  expect(await textOf({ top_k: 1, repeat_penalty: 1 })).toBe(
    await textOf({ temperature: 0, repeat_penalty: 1 }),
  );
  for (const more of [
    { seed: 3 },
    { temperature: 0 },
    { temperature: 1.9 },
    { top_p: 0.1 },
    { top_k: 2 },
    { min_p: 0.5 },
    { typical_p: 0.2 },
    { frequency_penalty: 2 },
    { presence_penalty: -2 },
    { repeat_penalty: 1.5 },
    { repetition_penalty: 1.5 },
    { repeat_penalty: 1.5, repeat_last_n: 1 },
    { dry_multiplier: 5, dry_allowed_length: 0 },
    { xtc_probability: 1, xtc_threshold: 0.05 },
    { logit_bias: { 259: 100 } },
    { logit_bias: [[259, 100]] },
    { max_tokens: 3 },
    { max_completion_tokens: 3 },
    { stop: "e" },
    { stop_token_ids: [259, 260, 261, 44] },
  ])
    expect(await textOf(more), JSON.stringify(more)).not.toBe(plain);
  // A token that repeats itself until something stops it.
  const repeated = { logit_bias: { 259: 100 }, max_tokens: 24 };
  const { prompt: token } = (await (await server.post("/detokenize", { tokens: [259] })).json()) as {
    prompt: string;
  };
  const dry = { ...repeated, dry_multiplier: 0.5 };
  const dried = await textOf(dry);
  expect(dried).not.toBe(await textOf(repeated));
  for (const more of [
    { dry_multiplier: 200 },
    { dry_base: 20 },
    { dry_allowed_length: 5 },
    { dry_penalty_last_n: 4 },
    { dry_sequence_breakers: [token] },
  ])
    expect(await textOf({ ...dry, ...more }), JSON.stringify(more)).not.toBe(dried);
  expect(await textOf({ ...dry, dry_penalty_last_n: 0 })).toBe(await textOf(repeated));
  expect(await textOf({ ...dry, dry_sequence_breakers: [token] })).toBe(await textOf(repeated));
  expect(await textOf({ xtc_probability: 1, xtc_threshold: 0.51 })).toBe(plain);
  expect(await textOf({ max_completion_tokens: 3, max_tokens: 20, temperature: 0 })).not.toBe(greedy);
});

test.each<[string, object, string]>([
  ["a temperature below 0", { temperature: -1 }, "temperature"],
  ["a temperature that is a text", { temperature: "hot" }, "temperature"],
  ["top_p above 1", { top_p: 1.5 }, "top_p"],
  ["n of 0", { n: 0 }, "n"],
  ["n of a million", { n: 1_000_000 }, "n"],
  ["max_tokens of a half", { max_tokens: 0.5 }, "max_tokens"],
  ["no messages", { messages: [] }, "messages"],
  ["messages null", { messages: null }, "messages"],
  ["messages a text", { messages: "hi" }, "messages"],
  ["messages of numbers", { messages: [123] }, "messages[0]"],
  ["an empty message", { messages: [{}] }, "messages[0].role"],
  ["an unknown role", { messages: [{ role: "boss", content: "x" }] }, "messages[0].role"],
  [
    "an image",
    { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
    "messages[0].content[0].type",
  ],
  ["a bias beyond the range", { logit_bias: { 5: 1000 } }, "logit_bias.5"],
  ["top_logprobs without logprobs", { top_logprobs: 2 }, "top_logprobs"],
  ["too many top_logprobs", { logprobs: true, top_logprobs: 21 }, "top_logprobs"],
  ["a template", { chat_template: "{{ 1 }}" }, "chat_template"],
  ["a grammar of llama.cpp", { grammar: "root ::= 'a'" }, "grammar"],
  ["a negative dry_multiplier", { dry_multiplier: -1 }, "dry_multiplier"],
  ["a dry_base below 1", { dry_base: 0.5 }, "dry_base"],
  ["a negative dry_allowed_length", { dry_allowed_length: -1 }, "dry_allowed_length"],
  ["breakers that are numbers", { dry_sequence_breakers: [1] }, "dry_sequence_breakers"],
  ["too many breakers", { dry_sequence_breakers: new Array(17).fill("x") }, "dry_sequence_breakers"],
  ["an xtc_probability above 1", { xtc_probability: 2 }, "xtc_probability"],
  ["mirostat", { mirostat: 2 }, "mirostat"],
  ["stream that is a text", { stream: "yes" }, "stream"],
])("%s is a 400 that names the field", async (_, more, param) => {
  const response = await server.post("/v1/chat/completions", { messages: user("x"), ...more });
  const body = (await response.json()) as { error: { param: string; type: string; message: string } };
  expect(response.status).toBe(400);
  checkWire("openai", "ErrorResponse", body);
  expect(body.error).toMatchObject({ type: "invalid_request_error", param });
  expect(body.error.message).toContain(param);
});

test("unknown fields are ignored", async () => {
  const response = await server.post("/v1/chat/completions", {
    messages: user("x"),
    max_tokens: 1,
    user: "me",
    store: true,
    metadata: { a: "b" },
    service_tier: "auto",
    reasoning_effort: "low",
    verbosity: "low",
    prompt_cache_key: "k",
    what_is_this: [1],
  });
  expect(response.status).toBe(200);
});

test("an unknown model is a 404 of the client's own class", async () => {
  const error = await client.chat.completions
    .create({ model: "nope/a", messages: user("x") })
    .catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(APIError);
  expect(error).toMatchObject({ status: 404, code: "model_not_found", type: "not_found_error" });
  expect((error as APIError).requestID).toMatch(/^req_/);
});

test("a prompt beyond the context is a 400 with its code", async () => {
  const error = await client.chat.completions
    .create({ model: "tiny", messages: user("word ".repeat(2000)) })
    .catch((caught: unknown) => caught);
  expect(error).toMatchObject({ status: 400, code: "context_length_exceeded" });
});

test("a prompt of a million characters is a 400 in every form, and long texts have the same tokens", async () => {
  const long = "What now? ".repeat(100_000);
  const ask = async (path: string, body: object) => {
    const response = await server.post(path, { max_tokens: 1, model: "tiny", ...body });
    return { status: response.status, text: await response.text() };
  };
  const answers = await Promise.all([
    ask("/v1/chat/completions", { messages: user(long) }),
    ask("/v1/chat/completions", { messages: [...user("x"), { role: "assistant", content: long }] }),
    ask("/v1/completions", { prompt: long }),
    ask("/v1/completions", { prompt: Array.from({ length: 300_000 }, () => 5) }),
    ask("/completion", { prompt: [1, long] }),
    ask("/v1/messages", { messages: user(long) }),
    ask("/api/generate", { prompt: long }),
    ask("/api/generate", { prompt: "x", context: Array.from({ length: 300_000 }, () => 5) }),
  ]);
  expect(answers.map(({ status, text }) => [status, text.includes("context length")])).toEqual(
    answers.map(() => [400, true]),
  );
  const tokensOf = async (content: string) =>
    ((await (await server.post("/tokenize", { content })).json()) as { tokens: number[] }).tokens;
  const piece = "What now? ".repeat(100);
  const [few, many] = [await tokensOf(piece), await tokensOf(piece.repeat(100))];
  expect(many.length).toBeGreaterThan(90 * few.length);
  expect(many.slice(0, few.length - 1)).toEqual(few.slice(0, -1));
  const { content } = (await (await server.post("/detokenize", { tokens: many })).json()) as {
    content: string;
  };
  expect(content).toBe(piece.repeat(100));
});

test("the last message of the assistant is gone on with", async () => {
  const whole = await client.chat.completions.create({
    model: "tiny",
    messages: user("Hello"),
    max_tokens: 10,
    temperature: 0,
  });
  const text = whole.choices[0]?.message.content ?? "";
  const rest = await client.chat.completions.create({
    model: "tiny",
    messages: [...user("Hello"), { role: "assistant", content: `${text} and` }],
    max_tokens: 5,
    temperature: 0,
  });
  expect(rest.choices[0]?.message.content).not.toBe(text);
  const twice = await server.post("/v1/chat/completions", {
    messages: [...user("a"), { role: "assistant", content: "b" }, { role: "assistant", content: "c" }],
  });
  expect(twice.status).toBe(400);
});

test("text of users never becomes a control token", async () => {
  const count = async (content: string) => {
    const answer = await client.chat.completions.create({
      model: "tiny",
      messages: user(content),
      max_tokens: 1,
    });
    return answer.usage?.prompt_tokens ?? 0;
  };
  // As one token it would cost one; as text it costs as many as its letters.
  expect((await count("x<|eot_id|>y")) - (await count("xy"))).toBeGreaterThan(4);
});

test("models: a list that both SDKs read, and names with slashes", async () => {
  const listed = await server.get("/v1/models");
  const body = (await listed.json()) as { data: { id: string }[] };
  checkWire("openai", "ListModelsResponse", body);
  for (const each of body.data) checkWire("anthropic", "ModelInfo", each);
  expect(body.data.map(({ id }) => id)).toEqual(["tiny", "gpt-4o", "text-model"]);
  expect((await client.models.retrieve("gpt-4o")).id).toBe("gpt-4o");
  await expect(client.models.retrieve("a/b")).rejects.toMatchObject({ status: 404 });
});

test("completions: strings, lists, ids and lists of ids, in order", async () => {
  const ask = (prompt: unknown, more: object = {}) =>
    client.completions.create({
      model: "tiny",
      prompt: prompt as string,
      max_tokens: 6,
      temperature: 0,
      ...more,
    });
  const tokens = (await (
    await server.post("/tokenize", { content: "The people", add_special: true })
  ).json()) as {
    tokens: number[];
  };
  const one = await ask("The people");
  checkWire("openai", "CreateCompletionResponse", one);
  const [text] = one.choices.map((choice) => choice.text);
  expect((await ask(["The people", "of the"])).choices[0]?.text).toBe(text);
  expect((await ask(tokens.tokens)).choices[0]?.text).toBe(text);
  expect((await ask([[1, 2], tokens.tokens])).choices[1]?.text).toBe(text);
  const many = await ask(["The people", "of the"], { n: 3, temperature: 1, seed: 4 });
  expect(many.choices.map((choice) => choice.index)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(new Set(many.choices.slice(0, 3).map((choice) => choice.text)).size).toBeGreaterThan(1);
  expect((await ask("The people", { echo: true })).choices[0]?.text).toBe(`The people${text}`);
  expect((await ask("The people", { echo: true, max_tokens: 0 })).choices[0]?.text).toBe("The people");
  let streamed = "";
  for await (const chunk of await client.completions.create({
    model: "tiny",
    prompt: "The people",
    max_tokens: 6,
    temperature: 0,
    stream: true,
  })) {
    checkWire("openai", "CreateCompletionResponse", chunk);
    streamed += chunk.choices[0]?.text ?? "";
  }
  expect(streamed).toBe(text);
});

test("what lm-evaluation-harness' local-completions sends and reads", async () => {
  const { tokens } = (await (
    await server.post("/tokenize", { prompt: "The people of the United States", add_special_tokens: false })
  ).json()) as { tokens: number[] };
  const contextLength = tokens.length - 3;
  const response = await server.post("/v1/completions", {
    model: "tiny",
    prompt: [tokens, tokens.slice(0, -1)],
    max_tokens: 1,
    logprobs: 1,
    echo: true,
    temperature: 0,
    seed: 1234,
  });
  const body = (await response.json()) as OpenAI.Completion;
  checkWire("openai", "CreateCompletionResponse", body);
  const { token_logprobs: logprobs, top_logprobs: tops } = body.choices[0]?.logprobs ?? {};
  expect(logprobs?.length).toBe(tokens.length + 1);
  expect(logprobs?.[0]).toBe(null);
  const answered = logprobs?.slice(contextLength, -1) ?? [];
  expect(answered.length).toBe(3);
  for (const [at, value] of answered.entries()) {
    const top = Object.values(tops?.[contextLength + at] ?? {});
    expect(top.length).toBeGreaterThan(0);
    expect(Math.max(...top)).toBeGreaterThanOrEqual(value);
    expect(top).toContain(value);
  }
  expect(Math.max(...Object.values(tops?.at(-1) ?? {}))).toBe(logprobs?.at(-1));
  const info = (await (await server.get("/tokenizer_info")).json()) as { eos_token: string };
  const eos = (await (
    await server.post("/tokenize", { prompt: info.eos_token, add_special_tokens: false })
  ).json()) as { tokens: number[] };
  expect(eos.tokens.length).toBe(1);
  const back = (await (await server.post("/detokenize", { tokens })).json()) as {
    prompt: string;
    content: string;
  };
  expect(back).toEqual({
    prompt: "The people of the United States",
    content: "The people of the United States",
  });
});

test("llama-server's completion, properties and template", async () => {
  const answer = (await (
    await server.post("/completion", {
      prompt: "The people",
      n_predict: 6,
      temperature: 0,
      n_probs: 2,
      stop: ["zzz"],
    })
  ).json()) as Record<string, unknown>;
  expect(answer).toMatchObject({ stop: true, stop_type: "limit", tokens_predicted: 6 });
  expect((answer.completion_probabilities as unknown[]).length).toBe(6);
  const events = await readEvents(
    await server.post("/completion", { prompt: "The people", n_predict: 6, temperature: 0, stream: true }),
  );
  expect(events.map(({ content }) => content).join("")).toBe(answer.content);
  const long = "The people of the United States have said so. ".repeat(8);
  const read = { prompt: long, n_predict: 2, stream: true, return_progress: true };
  const told = (await readEvents(await server.post("/completion", read))).flatMap((event) =>
    event.prompt_progress === undefined ? [] : [event.prompt_progress as Record<string, number>],
  );
  expect(told.at(-1)).toMatchObject({ processed: told.at(-1)?.total, cache: expect.any(Number) });
  const asked = { messages: user(long), max_tokens: 2, stream: true, return_progress: true };
  const chunks = await readEvents(await server.post("/v1/chat/completions", asked));
  expect(chunks.filter(({ prompt_progress }) => prompt_progress !== undefined)).not.toEqual([]);
  expect((await server.post("/completion", { ...read, return_progress: "yes" })).status).toBe(400);
  const props = (await (await server.get("/props")).json()) as Record<string, unknown>;
  expect(props).toMatchObject({ total_slots: 10, eos_token: "<|end_of_text|>" });
  const { prompt } = (await (await server.post("/apply-template", { messages: user("Hi") })).json()) as {
    prompt: string;
  };
  expect(prompt).toContain("User: Hi");
});
