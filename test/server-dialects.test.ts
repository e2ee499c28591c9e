/** Anthropic's and Ollama's dialects, by their published clients, against the real process. */
import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readEvents, type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";

let server: ServerProcess;
beforeAll(async () => {
  server = await startServerProcess(["--alias", "*"]);
});
afterAll(() => server?.end());

const user = (content: string) => [{ role: "user" as const, content }];

describe("Anthropic", () => {
  let client: Anthropic;
  beforeAll(() => {
    client = new Anthropic({ baseURL: server.url, apiKey: "none", maxRetries: 0 });
  });

  test("a whole message", async () => {
    const message = await client.messages.create({
      model: "claude-x",
      max_tokens: 6,
      messages: user("Hello"),
    });
    checkWire("anthropic", "Message", message);
    expect(message).toMatchObject({
      role: "assistant",
      model: "claude-x",
      stop_reason: "max_tokens",
      stop_sequence: null,
    });
    expect(message.content[0]).toMatchObject({ type: "text" });
    expect(message.usage.output_tokens).toBe(6);
  });

  test("a streamed one: its events, and what the client makes of them", async () => {
    const response = await server.post("/v1/messages", {
      max_tokens: 5,
      messages: user("Hello"),
      stream: true,
    });
    const events = await readEvents(response);
    for (const event of events) checkWire("anthropic", "RawMessageStreamEvent", event);
    expect(events.map(({ type }) => type).filter((type, i, all) => type !== all[i - 1])).toEqual([
      "message_start",
      "content_block_start",
      "content_block_delta",
      "content_block_stop",
      "message_delta",
      "message_stop",
    ]);
    const final = await client.messages
      .stream({ model: "m", max_tokens: 5, messages: user("Hello") })
      .finalMessage();
    expect(final.stop_reason).toBe("max_tokens");
    expect(final.usage.output_tokens).toBe(5);
  });

  test("a stop sequence is named", async () => {
    const message = await client.messages.create({
      model: "m",
      max_tokens: 200,
      messages: user("Hello"),
      stop_sequences: ["zzzz", "e"],
    });
    expect(message).toMatchObject({ stop_reason: "stop_sequence", stop_sequence: "e" });
  });

  test("system as text or blocks, content as blocks, results of tools", async () => {
    const count = (body: object) =>
      client.messages.countTokens({
        model: "m",
        messages: user("Hello"),
        ...body,
      } as Anthropic.MessageCountTokensParams);
    const plain = await count({});
    checkWire("anthropic", "MessageTokensCount", plain);
    const text = await count({ system: "Be brief" });
    expect(text.input_tokens).toBeGreaterThan(plain.input_tokens);
    expect(
      await count({ system: [{ type: "text", text: "Be brief", cache_control: { type: "ephemeral" } }] }),
    ).toEqual(text);
    expect(await count({ messages: [{ role: "user", content: [{ type: "text", text: "Hello" }] }] })).toEqual(
      plain,
    );
    const withResult = await count({
      messages: [
        ...user("a"),
        { role: "assistant", content: [{ type: "tool_use", id: "t1", name: "f", input: { x: 1 } }] },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "t1", content: "42", is_error: true },
            { type: "text", text: "b" },
          ],
        },
      ],
    });
    expect(withResult.input_tokens).toBeGreaterThan(plain.input_tokens);
  });

  test.each<[object, string]>([
    [{ max_tokens: undefined }, "max_tokens"],
    [{ max_tokens: 0 }, "max_tokens"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "user", content: [{ type: "image" }] }] }, "messages[0].content[0].type"],
    [{ temperature: 2 }, "temperature"],
    [{ top_p: "x" }, "top_p"],
    [{ tool_choice: { type: "maybe" } }, "tool_choice.type"],
  ])("%o is a 400 in its own shape", async (more, named) => {
    const response = await server.post("/v1/messages", { max_tokens: 5, messages: user("x"), ...more });
    const body = (await response.json()) as { error: { message: string } };
    expect(response.status).toBe(400);
    checkWire("anthropic", "ErrorResponse", body);
    expect(body).toMatchObject({ type: "error", error: { type: "invalid_request_error" } });
    expect(body.error.message).toContain(named);
    expect(response.headers.get("request-id")).toMatch(/^req_/);
  });
});

describe("Ollama", () => {
  let client: Ollama;
  beforeAll(() => {
    client = new Ollama({ host: server.url });
  });
  const options = { num_predict: 6, seed: 3 };

  test("chat, whole and streamed", async () => {
    const whole = await client.chat({ model: "tiny", messages: user("Hello"), options });
    checkWire("ollama", "ChatResponse", whole);
    expect(whole).toMatchObject({ done: true, done_reason: "length", eval_count: 6 });
    for (const field of ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] as const)
      expect(Number.isInteger(whole[field]), field).toBe(true);
    let text = "";
    let last: { done: boolean } | undefined;
    for await (const part of await client.chat({
      model: "tiny:latest",
      messages: user("Hello"),
      options,
      stream: true,
    })) {
      checkWire("ollama", "ChatStreamEvent", part);
      text += part.message.content;
      last = part;
    }
    expect(text).toBe(whole.message.content);
    expect(last?.done).toBe(true);
  });

  test("generate, whole, streamed, raw and going on", async () => {
    const whole = await client.generate({ model: "tiny", prompt: "Hello", options });
    checkWire("ollama", "GenerateResponse", whole);
    let text = "";
    for await (const part of await client.generate({ model: "tiny", prompt: "Hello", options, stream: true }))
      text += part.response;
    expect(text).toBe(whole.response);
    const raw = await client.generate({ model: "tiny", prompt: "Hello", raw: true, options });
    expect(raw.response).not.toBe(whole.response);
    const next = await client.generate({ model: "tiny", prompt: "More", context: whole.context, options });
    expect(next.prompt_eval_count).toBeGreaterThan(whole.prompt_eval_count);
    const limitless = await client.generate({
      model: "tiny",
      prompt: "Hello",
      options: { num_predict: -1, seed: 3 },
    });
    expect(limitless.eval_count).toBeGreaterThan(6);
    expect(await client.generate({ model: "tiny", prompt: "" })).toMatchObject({
      done: true,
      done_reason: "load",
    });
  });

  test("pictures are refused by name, in messages, too", async () => {
    const picture = { role: "user", content: "What is this?", images: ["aGk="] };
    await expect(client.chat({ model: "tiny", messages: [...user("Hi"), picture] })).rejects.toThrow(
      "messages[1].images",
    );
    const none = await client.chat({ model: "tiny", messages: [{ ...picture, images: [] }], options });
    expect(none.eval_count).toBe(6);
  });

  test("seeds of any size, equal ones alike; top_k -1; nothing to embed", async () => {
    const ask = (more: object) =>
      client.generate({ model: "tiny", prompt: "Hi", options: { num_predict: 12, temperature: 1, ...more } });
    const seed = 1_764_450_000_000;
    const text = (await ask({ seed })).response;
    expect((await ask({ seed })).response).toBe(text);
    expect((await ask({ seed: seed + 1 })).response).not.toBe(text);
    expect((await ask({ seed, top_k: -1 })).response).toBe((await ask({ seed, top_k: 0 })).response);
    for (const input of ["", []])
      expect((await client.embed({ model: "tiny", input })).embeddings).toEqual([]);
  });

  test("the stream is the default, and bodies need no type", async () => {
    const response = await fetch(`${server.url}/api/generate`, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: JSON.stringify({ model: "tiny", prompt: "Hello", options }),
    });
    const lines = (await response.text()).trim().split("\n");
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines) checkWire("ollama", "GenerateStreamEvent", JSON.parse(line));
  });

  test("models, versions, and what is not here", async () => {
    const list = await client.list();
    checkWire("ollama", "ListResponse", list);
    expect(list.models.map(({ name }) => name)).toEqual(["tiny:latest"]);
    checkWire("ollama", "PsResponse", await client.ps());
    const shown = await client.show({ model: "tiny" });
    checkWire("ollama", "ShowResponse", shown);
    expect(shown.capabilities).toContain("completion");
    const version = (await (await server.get("/api/version")).json()) as object;
    checkWire("ollama", "VersionResponse", version);
    expect(await (await server.get("/")).text()).toBe("Ollama is running");
    await expect(client.create({ model: "x", from: "y" })).rejects.toThrow("not supported");
    const error = await server.post("/api/chat", { model: "tiny", messages: [{ role: "user", content: 5 }] });
    expect([error.status, await error.json()]).toEqual([
      400,
      { error: expect.stringContaining("messages[0].content") },
    ]);
  });
});
