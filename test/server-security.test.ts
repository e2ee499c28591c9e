/** Content filter, sanitising, audit log, counters and the admin port, against the real process. */
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNet } from "bitnet.ts";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { tinyModel } from "./cli-process.ts";
import { readEvents, type ServerProcess, startServerProcess } from "./server-process.ts";

let model: BitNet;
let folder: string;
let server: ServerProcess | null = null;
beforeAll(async () => {
  model = await BitNet.load(tinyModel);
  folder = await mkdtemp(join(tmpdir(), "bitnet-security-"));
});
afterEach(async () => {
  await server?.end();
  server = null;
});
afterAll(() => model.dispose());

async function start(rules: readonly object[], ...args: string[]): Promise<ServerProcess> {
  const file = join(folder, "rules.json");
  await writeFile(file, JSON.stringify({ rules }));
  server = await startServerProcess(["--filter", file, ...args]);
  return server;
}

const prompt = "The state of the";
const options = { max_tokens: 30, seed: 5, temperature: 1 };
/** What the model says without a filter, and a word from its midst. */
async function unfiltered(): Promise<{ text: string; word: string }> {
  const { text } = await model.generate(prompt, { maxTokens: 30, seed: 5, temperature: 1 }).result;
  const words = text.match(/[a-z]{5,}/gi) ?? [];
  const word = words[Math.floor(words.length / 2)];
  if (word === undefined) throw new Error(`no word in ${JSON.stringify(text)}`);
  return { text, word };
}

test("what is forbidden in a prompt is refused in every dialect, and ids are no way around", async () => {
  const { post, get } = await start([{ name: "no-bombs", pattern: "\\bbombs?\\b", on: "input" }]);
  const messages = [{ role: "user", content: "About BOMBS and such" }];
  const ids = Array.from(model.tokenizer.encode("About bombs"));
  for (const [path, body] of [
    ["/v1/chat/completions", { messages }],
    ["/v1/responses", { input: "a bomb" }],
    ["/v1/messages", { messages, max_tokens: 4 }],
    ["/api/chat", { model: "tiny", messages }],
    ["/api/generate", { model: "tiny", prompt: "bombs" }],
    ["/api/generate", { model: "tiny", prompt: "x", context: ids }],
    ["/v1/completions", { prompt: ["fine", "bombs"] }],
    ["/v1/completions", { prompt: ids }],
    ["/completion", { prompt: ["About bo", ...Array.from(model.tokenizer.encode("mbs"))] }],
    [
      "/v1/chat/completions",
      {
        messages: [
          {
            role: "assistant",
            content: null,
            tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: '{"a":"bomb"}' } }],
          },
          { role: "tool", tool_call_id: "a", content: "x" },
        ],
      },
    ],
    [
      "/v1/chat/completions",
      {
        messages: [{ role: "user", content: "x" }],
        tools: [{ type: "function", function: { name: "f", description: "a bomb" } }],
      },
    ],
  ] as const) {
    const response = await post(path, body);
    expect([path, response.status, response.headers.get("x-bitnet-code")]).toEqual([
      path,
      400,
      "CONTENT_FILTERED",
    ]);
    expect(JSON.stringify(await response.json())).not.toContain("no-bombs");
  }
  expect((await post("/v1/completions", { prompt: "bombastic", max_tokens: 2 })).status).toBe(200);
  const report = await (await get("/security")).json();
  expect(report).toMatchObject({
    blocked: 11,
    blocked_last_hour: 11,
    unique_clients: 1,
    blocked_by_code: { CONTENT_FILTERED: 11 },
    configuration: { filter_rules: { input: 1, output: 0 } },
  });
});

test("names and ids of calls are looked at as well, since templates print them", async () => {
  const { post } = await start([{ name: "no-bombs", pattern: "bomb", on: "input" }]);
  const called = (id: string, name: string) => ({
    role: "assistant",
    content: null,
    tool_calls: [{ id, type: "function", function: { name, arguments: "{}" } }],
  });
  const asked = { role: "user", content: "x" };
  for (const messages of [
    [asked, called("c1", "bomb"), { role: "tool", tool_call_id: "c1", content: "y" }],
    [asked, called("bomb", "f"), { role: "tool", tool_call_id: "c1", content: "y" }],
    [asked, called("c1", "f"), { role: "tool", tool_call_id: "bomb", content: "y" }],
    [{ ...asked, name: "bomb" }],
  ]) {
    const response = await post("/v1/chat/completions", { messages, max_tokens: 2 });
    expect([response.status, response.headers.get("x-bitnet-code")]).toEqual([400, "CONTENT_FILTERED"]);
  }
});

test("--secure: the reference's limits, no secrets in or out, scripts taken out, a log; flags win", async () => {
  const data = join(folder, "secure");
  server = await startServerProcess(["--secure", "--data", data]);
  const report = (await (await server.get("/security")).json()) as { configuration: object };
  expect(report.configuration).toMatchObject({
    limits: { requestsPerMinute: 60 },
    max_prompt_characters: 4096,
    max_output_tokens: 1024,
    filter_rules: { input: 3, output: 3 },
    sanitizing: true,
    audit: { with_texts: false },
  });
  const { post } = server;
  const statusOf = async (content: string) =>
    (await post("/v1/chat/completions", { messages: [{ role: "user", content }], max_tokens: 1 })).status;
  expect(await statusOf("x".repeat(5000))).toBe(413);
  expect(await statusOf("-----BEGIN RSA PRIVATE KEY-----")).toBe(400);
  const chat = await post("/v1/chat/completions", {
    messages: [{ role: "user", content: `<script>x</script>my key is sk-${"a1B2".repeat(8)}` }],
    max_tokens: 2,
  });
  expect(chat.status).toBe(200);
  expect(chat.headers.get("x-ratelimit-limit-requests")).toBe("60");
  const statuses: number[] = [];
  for (let i = 0; i < 62; i++) statuses.push((await post("/tokenize", { content: "x" })).status);
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(2);
  await server.end("SIGTERM");
  const lines = (await readFile(join(data, "audit.log"), "utf8")).trim().split("\n");
  expect(lines.some((line) => line.includes('"service-key"'))).toBe(true);
  expect(lines.join()).not.toContain("a1B2");
  server = await startServerProcess([
    "--secure",
    "--data",
    data,
    "--max-prompt",
    "100",
    "--requests-per-minute",
    "7",
  ]);
  const own = (await (await server.get("/security")).json()) as { configuration: object };
  expect(own.configuration).toMatchObject({ limits: { requestsPerMinute: 7 }, max_prompt_characters: 100 });
}, 120_000);

test("the model reads the replacement, and scripts are taken out", async () => {
  const { post } = await start(
    [{ name: "names", pattern: "\\bLincoln\\b", severity: "redact", on: "input", replacement: "Washington" }],
    "--sanitize",
  );
  const ask = async (text: string) => {
    const response = await post("/v1/completions", { prompt: text, ...options });
    return ((await response.json()) as { choices: { text: string }[] }).choices[0]?.text;
  };
  expect(await ask("President Lincoln and<script>x</script>")).toBe(await ask("President Washington and"));
  expect(await ask("President Lincoln")).not.toBe(await ask("President "));
});

test("an answer is redacted, whole and streamed, in every dialect", async () => {
  const { text, word } = await unfiltered();
  const { post } = await start([{ name: "word", pattern: word, severity: "redact", ignoreCase: false }]);
  const expected = text.replaceAll(word, "[redacted]");
  expect(expected).not.toBe(text);
  const whole = (await (await post("/v1/completions", { prompt, ...options })).json()) as {
    choices: { text: string }[];
  };
  expect(whole.choices[0]?.text).toBe(expected);
  const events = await readEvents(await post("/v1/completions", { prompt, ...options, stream: true }));
  const parts = events.map((event) => (event.choices as { text: string }[])[0]?.text ?? "");
  expect(parts.join("")).toBe(expected);
  const raw = { prompt, n_predict: 30, seed: 5, temperature: 1 };
  const native = (await (await post("/completion", raw)).json()) as { content: string; tokens: number[] };
  expect([native.content, native.tokens]).toEqual([expected, []]);
  const steps = await readEvents(await post("/completion", { ...raw, stream: true }));
  expect(steps.map(({ content }) => content).join("")).toBe(expected);
  expect(steps.every(({ tokens }) => (tokens as number[]).length === 0)).toBe(true);
  const generated = await post("/api/generate", {
    model: "tiny",
    prompt,
    raw: true,
    options: { seed: 5, num_predict: 30, temperature: 1 },
  });
  const lines = (await generated.text()).trim().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as { response: string }).response).join("")).toBe(expected);
  for (const body of [{ logprobs: 2 }, { logprobs: 2, echo: true }]) {
    const refused = await post("/v1/completions", { prompt, ...options, ...body });
    expect(refused.status).toBe(400);
  }
});

test("of a forbidden answer nothing leaks", async () => {
  const { text, word } = await unfiltered();
  const { post } = await start([{ name: "word", pattern: `${word}`, ignoreCase: false, on: "output" }]);
  const whole = await post("/v1/completions", { prompt, ...options });
  expect([whole.status, whole.headers.get("x-bitnet-code")]).toEqual([422, "RESPONSE_FILTERED"]);
  expect(await whole.text()).not.toContain(word);
  const stream = await (await post("/v1/completions", { prompt, ...options, stream: true })).clone().text();
  const events = stream
    .split("\n\n")
    .filter((frame) => frame.startsWith("data: {"))
    .map((frame) => JSON.parse(frame.slice(6)) as { choices?: { text: string }[]; error?: object });
  const out = events.map(({ choices }) => choices?.[0]?.text ?? "").join("");
  expect(text.slice(0, text.indexOf(word)).startsWith(out)).toBe(true);
  expect(events.at(-1)?.error).toMatchObject({ code: "response_filtered" });
  expect(stream.endsWith("data: [DONE]\n\n")).toBe(true);
});

test("the audit log tells what happened to whom, without names and texts", async () => {
  const log = join(folder, "audit.log");
  const running = await start([{ name: "flagged", pattern: "union", severity: "flag" }], "--audit-log", log);
  await running.post("/v1/completions", { prompt: "the union SECRET", max_tokens: 3 });
  await running.post("/v1/completions", { prompt: 5 });
  expect(await running.end("SIGTERM")).toBe(143);
  const text = await readFile(log, "utf8");
  expect(text).not.toContain("SECRET");
  expect(text).not.toContain("127.0.0.1");
  const [first, second] = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(first).toMatchObject({
    event: "request",
    route: "/v1/completions",
    status: 200,
    code: null,
    rules: ["flagged"],
    completion_tokens: 3,
  });
  expect(second).toMatchObject({ status: 400, code: "INVALID_INPUT", client: first?.client });
  expect(first?.client).toMatch(/^[0-9a-f]{32}$/);
  expect(Date.parse(String(first?.time))).toBeGreaterThan(0);
});

test("prompts and answers are logged where that is asked for", async () => {
  const log = join(folder, "texts.log");
  const running = await start([], "--audit-log", log, "--audit-texts");
  await running.post("/v1/chat/completions", {
    messages: [{ role: "user", content: "Who?" }],
    max_tokens: 6,
    seed: 1,
  });
  await running.end("SIGTERM");
  const line = JSON.parse((await readFile(log, "utf8")).trim()) as { prompts: string[]; answers: string[] };
  expect(line.prompts).toEqual(["Who?"]);
  expect(line.answers.length).toBe(1);
});

test("those who run the server have a port of their own", async () => {
  const { get, stdout } = await start([], "--admin-port", "0");
  const admin = /admin on (\S+)/.exec(stdout())?.[1] ?? "";
  for (const path of ["/metrics", "/stats", "/security", "/monitor/live"]) {
    expect((await get(path)).status).toBe(404);
    expect((await fetch(admin + path)).status).toBe(200);
  }
  expect((await fetch(`${admin}/v1/models`)).status).toBe(404);
  expect((await get("/v1/models")).status).toBe(200);
});

test("--admin-host says where that port is, and is as careful as --host", async () => {
  const { get, stdout } = await start([], "--admin-port", "0", "--admin-host", "127.0.0.2");
  const admin = /admin on (\S+)/.exec(stdout())?.[1] ?? "";
  expect(new URL(admin).hostname).toBe("127.0.0.2");
  expect((await fetch(`${admin}/stats`)).status).toBe(200);
  expect((await get("/stats")).status).toBe(404);
  await expect(fetch(`${admin.replace("127.0.0.2", "127.0.0.1")}/stats`)).rejects.toThrow();
  await expect(start([], "--admin-port", "0", "--admin-host", "0.0.0.0")).rejects.toThrow(/keys/);
});

test("--sanitize-patterns takes out what its file says, and nothing else", async () => {
  const file = join(folder, "patterns.json");
  await writeFile(file, JSON.stringify({ patterns: ["(?i)secret"] }));
  const { post } = await start([], "--sanitize-patterns", file);
  const prompt = async (content: string) => {
    const body = { messages: [{ role: "user", content }], max_tokens: 1, temperature: 0 };
    const answer = (await (await post("/v1/chat/completions", body)).json()) as {
      usage: { prompt_tokens: number };
    };
    return answer.usage.prompt_tokens;
  };
  expect(await prompt("a Secret b")).toBe(await prompt("a  b"));
  expect(await prompt("a javascript:x b")).toBeGreaterThan(await prompt("a x b"));
  await writeFile(file, JSON.stringify({ patterns: ["("] }));
  await expect(start([], "--sanitize-patterns", file)).rejects.toThrow("patterns[0]");
});

test("rules that cannot be used end the start", async () => {
  await expect(start([{ name: "x", pattern: "(" }])).rejects.toThrow("rules[0].pattern");
});
