/** Keys and their limits, against the real process. */
import { mkdtemp, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterEach, beforeEach, expect, test } from "vitest";
import { bitnet, bitnetJson } from "./cli-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

let file: string;
let server: ServerProcess | null = null;
beforeEach(async () => {
  file = join(await mkdtemp(join(tmpdir(), "bitnet-keys-")), "sub", "keys.json");
});
afterEach(async () => {
  await server?.end();
  server = null;
});

const body = { messages: [{ role: "user", content: "Hello" }], max_tokens: 2 };
const create = (...args: string[]) =>
  bitnetJson<{ id: string; key: string }>(["keys", "create", ...args, "--keys", file]);

test("every route wants a key, by either header, except health", async () => {
  const { key, id } = await create("Ada");
  const text = await readFile(file, "utf8");
  expect(text).not.toContain(key);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  server = await startServerProcess(["--keys", file, "--host", "0.0.0.0"]);
  const url = `http://127.0.0.1:${server.port}`;
  for (const [method, path] of [
    ["GET", "/v1/models"],
    ["POST", "/v1/chat/completions"],
    ["POST", "/v1/messages"],
    ["POST", "/api/chat"],
    ["GET", "/stats"],
    ["GET", "/usage"],
    ["GET", "/props"],
    ["GET", "/api/version"],
  ] as const) {
    const send = (headers: Record<string, string>) =>
      fetch(url + path, {
        method,
        headers,
        ...(method === "POST" ? { body: JSON.stringify({ ...body, model: "tiny" }) } : {}),
      });
    for (const headers of [
      {},
      { authorization: "Bearer " },
      { authorization: `Bearer ${key}x` },
      { "x-api-key": "wrong" },
    ])
      expect([path, (await send(headers as Record<string, string>)).status]).toEqual([path, 401]);
    expect([path, (await send({ authorization: `Bearer ${key}` })).status]).toEqual([path, 200]);
    expect([path, (await send({ "x-api-key": key })).status]).toEqual([path, 200]);
  }
  for (const path of ["/health", "/health/live", "/health/ready"])
    expect((await fetch(url + path)).status).toBe(200);
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "wrong", maxRetries: 0 });
  await expect(client.models.list()).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
  expect((await bitnet(["keys", "list", "--keys", file])).stdout).toContain("Ada");
  expect(JSON.stringify(await bitnetJson(["keys", "list", "--keys", file]))).not.toContain("hash");
  expect((await bitnet(["keys", "revoke", id, "--keys", file])).status).toBe(0);
  const status = async () =>
    (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;
  while ((await status()) !== 401) await new Promise((resolve) => setImmediate(resolve));
});

test("limits per key, their headers, and what has been used", async () => {
  const one = await create("One", "--requests-per-minute", "2");
  const two = await create("Two", "--tokens-per-minute", "100");
  server = await startServerProcess(["--keys", file]);
  const ask = (key: string, more: object = {}) =>
    (server as ServerProcess).post(
      "/v1/chat/completions",
      { ...body, ...more },
      { authorization: `Bearer ${key}` },
    );
  const first = await ask(one.key);
  expect(first.headers.get("x-ratelimit-limit-requests")).toBe("2");
  expect(first.headers.get("x-ratelimit-remaining-requests")).toBe("1");
  expect((await ask(one.key)).status).toBe(200);
  const refused = await ask(one.key);
  expect(refused.status).toBe(429);
  expect(refused.headers.get("x-bitnet-code")).toBe("RATE_LIMIT_EXCEEDED");
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  expect(await refused.json()).toMatchObject({
    error: { type: "rate_limit_exceeded", code: "rate_limit_exceeded" },
  });
  // 16 tokens of prompt and 80 reserved; what was not used comes back.
  expect((await ask(two.key, { max_tokens: 80, stop: "e" })).status).toBe(200);
  expect((await ask(two.key, { max_tokens: 40, stop: "e" })).status).toBe(200);
  expect((await ask(two.key, { max_tokens: 90 })).status).toBe(400);
  const usage = (await (await server.get("/usage", { "x-api-key": two.key })).json()) as Record<
    string,
    number
  >;
  expect(usage).toMatchObject({ client: "Two", requests: 3 });
  expect(usage.prompt_tokens).toBeGreaterThan(20);
});

test("one tenant's prompts are not found in another's cache", async () => {
  const keys = [
    await create("A"),
    await create("B"),
    await create("C", "--tenant", "shared"),
    await create("D", "--tenant", "shared"),
  ];
  server = await startServerProcess(["--keys", file]);
  const cached = async (index: number) => {
    const response = await (server as ServerProcess).post(
      "/v1/chat/completions",
      { messages: [{ role: "user", content: "the people of the United States ".repeat(4) }], max_tokens: 1 },
      { "x-api-key": keys[index]?.key ?? "" },
    );
    const { usage } = (await response.json()) as OpenAI.ChatCompletion;
    return usage?.prompt_tokens_details?.cached_tokens ?? -1;
  };
  expect(await cached(0)).toBe(0);
  expect(await cached(0)).toBeGreaterThan(0);
  expect(await cached(1)).toBe(0);
  expect(await cached(2)).toBe(0);
  expect(await cached(3)).toBeGreaterThan(0);
});

test("files that hold no keys, or are no files of keys, are errors at the start", async () => {
  await expect(startServerProcess(["--keys", file])).rejects.toThrow(/holds no key/);
  await create("x");
  await writeFile(file, '{"keys":[{"id":1}]}');
  await expect(startServerProcess(["--keys", file])).rejects.toThrow(/not keys as/);
  expect((await bitnet(["keys", "revoke", "key_x", "--keys", file])).status).toBe(1);
});

test("a tenant that fills the queue leaves others room and turns", async () => {
  const [ada, bob] = [(await create("Ada")).key, (await create("Bob")).key];
  server = await startServerProcess(["--keys", file, "--parallel", "1", "--max-queued", "3"]);
  const { url } = server;
  const order: string[] = [];
  const ask = async (name: string, key: string, more: object, signal: AbortSignal | null = null) => {
    const headers = { authorization: `Bearer ${key}` };
    const text = JSON.stringify({ ...body, ...more });
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers,
      body: text,
      signal,
    });
    order.push(`${name} ${response.status}`);
  };
  const counted = async (what: "queued" | "running", n: number) => {
    const headers = { authorization: `Bearer ${ada}` };
    const stats = async () =>
      (await (await fetch(`${url}/stats`, { headers })).json()) as { requests: Record<string, number> };
    while ((await stats()).requests[what] !== n) await new Promise((resolve) => setImmediate(resolve));
  };
  const running = new AbortController();
  // One that runs until it is stopped.
  const long = { max_tokens: 4096, n: 128, ignore_eos: true };
  const asked = [ask("ada", ada, long, running.signal).catch(() => {})];
  await counted("running", 1);
  for (let n = 1; n <= 3; n++) {
    asked.push(ask(`ada ${n}`, ada, {}));
    await counted("queued", n);
  }
  const other = ask("bob", bob, {});
  while (order.length === 0) await new Promise((resolve) => setImmediate(resolve));
  running.abort();
  await Promise.all([...asked, other]);
  expect(order).toEqual(["ada 3 503", "ada 1 200", "bob 200", "ada 2 200"]);
});
