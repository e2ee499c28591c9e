/** Limits, refusals, disconnects and the end of a server, against the real process. */

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { tinyModel } from "./cli-process.ts";
import { readEvents, type ServerProcess, startServerProcess } from "./server-process.ts";

let server: ServerProcess | null = null;
afterEach(async () => {
  await server?.end();
  server = null;
});

const chat = (more: object = {}) => ({ messages: [{ role: "user", content: "Hello" }], ...more });
/** Runs until it is stopped or the context is full: the embedded model writes some 240 tokens. */
const long = chat({ max_tokens: 4096, ignore_eos: true });

interface Stats {
  requests: { running: number; queued: number; refused: number };
  models: { engine: { running: number; waiting: number } }[];
}

async function stats(of: ServerProcess): Promise<Stats> {
  return (await (await of.get("/stats")).json()) as Stats;
}

/** Asks again until it holds; the test's own time limit is the end of patience. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

/** A request whose answer nobody reads: it fills the socket and then stands still. */
async function openUnread(of: ServerProcess, body: object): Promise<Socket> {
  const socket = connect(of.port, "127.0.0.1");
  await once(socket, "connect");
  socket.pause();
  const text = JSON.stringify(body);
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
  );
  return socket;
}

test("a full queue refuses at once, with a time to come back", async () => {
  server = await startServerProcess(["--parallel", "1", "--max-queued", "1"]);
  const { url } = server;
  const controllers = [new AbortController(), new AbortController()];
  const start = (signal: AbortSignal) =>
    fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ ...long, n: 128 }),
      signal,
    }).catch(() => null);
  const first = start(controllers[0]?.signal as AbortSignal);
  const second = start(controllers[1]?.signal as AbortSignal);
  await until(async () => (await stats(server as ServerProcess)).requests.queued === 1);
  for (const [path, status] of [
    ["/v1/chat/completions", 503],
    ["/v1/messages", 529],
    ["/api/chat", 503],
  ] as const) {
    const refused = await server.post(path, { ...chat({ max_tokens: 1 }), model: "tiny" });
    expect(refused.status).toBe(status);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(Number(refused.headers.get("retry-after-ms"))).toBeGreaterThanOrEqual(1000);
    expect(refused.headers.get("x-bitnet-code")).toBe("QUEUE_FULL");
  }
  // Whoever leaves the queue or a running answer makes room.
  controllers[1]?.abort();
  await until(async () => (await stats(server as ServerProcess)).requests.queued === 0);
  controllers[0]?.abort();
  await until(async () => {
    const { requests, models } = await stats(server as ServerProcess);
    return requests.running === 0 && models[0]?.engine.running === 0 && models[0]?.engine.waiting === 0;
  });
  await Promise.all([first, second]);
  expect((await server.post("/v1/chat/completions", chat({ max_tokens: 1 }))).status).toBe(200);
});

test.each(["whole", "stream"])("a client that leaves a %s answer frees its slot", async (kind) => {
  server = await startServerProcess(["--parallel", "1"]);
  const socket = await openUnread(server, { ...long, n: 100, stream: kind === "stream" });
  await until(async () => (await stats(server as ServerProcess)).requests.running === 1);
  socket.destroy();
  await until(async () => {
    const { requests, models } = await stats(server as ServerProcess);
    return requests.running === 0 && models[0]?.engine.running === 0;
  });
});

test("a request that takes too long ends with an error, in an answer and in a stream", async () => {
  server = await startServerProcess(["--timeout", "1"]);
  const slow = { ...long, n: 128, logprobs: true, top_logprobs: 20 };
  const whole = await server.post("/v1/chat/completions", slow);
  // A machine that is fast enough answers in time.
  if (whole.status !== 200) {
    expect(whole.status).toBe(504);
    expect(whole.headers.get("x-should-retry")).toBe("false");
    const response = await server.post("/v1/chat/completions", { ...slow, stream: true });
    const text = await response.clone().text();
    const events = await readEvents(response);
    expect(events.at(-1)).toMatchObject({ error: { code: "timeout" } });
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  }
});

test("bodies: too large, not JSON, not UTF-8, too deep, with __proto__, empty", async () => {
  server = await startServerProcess(["--max-body", "100000", "--max-prompt", "1000"]);
  const deep = "[".repeat(40_000) + "]".repeat(40_000);
  const cases: [string | Uint8Array, number][] = [
    ["x".repeat(200_000), 413],
    [JSON.stringify(chat({ messages: [{ role: "user", content: "x".repeat(2000) }] })), 413],
    ["{", 400],
    ["", 400],
    ["[]", 400],
    ["null", 400],
    [Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), 400],
    [`{"messages":${deep}}`, 400],
    [`{"messages":[{"role":"user","content":"x"}],"x":${deep}}`, 400],
    ['{"__proto__":{"x":1},"messages":[{"role":"user","content":"x"}]}', 400],
    ['{"messages":[{"role":"user","content":"x"}],"max_tokens":1e999}', 400],
    ['{"messages":[{"role":"user","content":"x"}],"max_tokens":1,"temperature":-0.0}', 200],
  ];
  for (const [body, status] of cases) {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      body: body as BodyInit,
    });
    expect([response.status, String(body).slice(0, 80)]).toEqual([status, String(body).slice(0, 80)]);
    const answer = (await response.json()) as { error?: { message: string } };
    if (status !== 200) expect(answer.error?.message).not.toBe("");
  }
});

test("header floods and slow headers end the connection, not the server", async () => {
  server = await startServerProcess();
  const response = await server.get("/health/live", { "x-flood": "y".repeat(20_000) });
  expect([response.status, await response.json()]).toMatchObject([
    431,
    { error: { type: "invalid_request_error" } },
  ]);
  for (const path of ["/v1/models/%ff", `/v1/responses/${"x".repeat(400)}`]) {
    const odd = await server.get(path);
    expect([odd.status, await odd.json()]).toMatchObject([400, { error: { code: "invalid_input" } }]);
    expect(odd.headers.get("x-request-id")).toMatch(/^req_/);
  }
  expect((await server.get("/health/live")).status).toBe(200);
});

test("foreign host names and origins are refused, allowed ones served", async () => {
  server = await startServerProcess(["--allow-host", "Models.example", "--cors", "https://app.example"]);
  const { port, url } = server;
  const statusFor = async (host: string) => {
    const socket = connect(port, "127.0.0.1");
    socket.write(`GET /v1/models HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    const [chunk] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    return Number(/^HTTP\/1.1 (\d+)/.exec(chunk.toString())?.[1]);
  };
  for (const host of [
    "localhost",
    `localhost:${port}`,
    "127.0.0.1",
    "[::1]:80",
    "x.localhost",
    "models.example",
    "192.168.1.5",
  ])
    expect([host, await statusFor(host)]).toEqual([host, 200]);
  for (const host of ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", ""])
    expect([host, await statusFor(host)]).toEqual([host, 403]);
  const from = (origin: string, method = "GET") => fetch(`${url}/v1/models`, { method, headers: { origin } });
  expect((await from("https://evil.example")).status).toBe(403);
  expect((await from("null")).status).toBe(403);
  expect((await from(url)).status).toBe(200);
  const allowed = await from("https://app.example");
  expect(allowed.status).toBe(200);
  expect(allowed.headers.get("access-control-allow-origin")).toBe("https://app.example");
  expect(allowed.headers.get("access-control-expose-headers")).toBe("*");
  expect((await from("https://app.example", "OPTIONS")).status).toBe(204);
  expect((await from("https://evil.example", "OPTIONS")).status).toBe(403);
});

test("origins that no browser sends, and a data folder that is none, end the start", async () => {
  for (const origin of ["app.example", "https://app.example/", "https://App.example", "https://a.example/x"])
    await expect(startServerProcess(["--cors", origin])).rejects.toThrow("expected an origin");
  await expect(startServerProcess(["--data", tinyModel])).rejects.toThrow(
    `${tinyModel}: cannot be used as data folder`,
  );
  server = await startServerProcess(["--cors", "app://obsidian.md", "--cors", "chrome-extension://abcdef"]);
  const response = await server.get("/v1/models", { origin: "app://obsidian.md" });
  expect(response.headers.get("access-control-allow-origin")).toBe("app://obsidian.md");
});

test("an address that others reach needs keys", async () => {
  await expect(startServerProcess(["--host", "0.0.0.0"])).rejects.toThrow(/needs keys/);
});

test("SIGTERM under load loses no accepted request and takes no new one", { timeout: 300_000 }, async () => {
  // Long enough for any machine: what does not end in that time is told, and that is another test's matter.
  server = await startServerProcess(["--parallel", "4", "--drain-timeout", "280"]);
  const { url, port } = server;
  const ask = (stream: boolean) =>
    fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ ...long, n: 3, stream, seed: 1 }),
    }).then(async (response) => [response.status, await response.text()] as const);
  const pending = Array.from({ length: 12 }, (_, i) => ask(i % 2 === 0));
  await until(async () => (await stats(server as ServerProcess)).requests.queued === 8);
  const ended = server.end("SIGTERM");
  const answers = await Promise.all(pending);
  for (const [status, text] of answers) {
    expect(status).toBe(200);
    expect(text.includes('"finish_reason":"length"')).toBe(true);
    expect(text.includes('"error"')).toBe(false);
  }
  expect(await ended).toBe(143);
  const socket = connect(port, "127.0.0.1");
  const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
  expect(error.code).toBe("ECONNREFUSED");
});

test("a second SIGTERM ends at once", async () => {
  server = await startServerProcess(["--parallel", "1"]);
  const socket = await openUnread(server, { ...long, n: 128 });
  socket.on("error", () => {});
  await until(async () => (await stats(server as ServerProcess)).requests.running === 1);
  server.child.kill("SIGTERM");
  await until(async () => server?.log().includes("a second signal") ?? false);
  expect(await server.end("SIGTERM")).toBe(143);
  socket.destroy();
});

test("the same seed gives the same text alone and among 63 others, masked and unmasked", async () => {
  server = await startServerProcess(["--parallel", "64"]);
  const textOf = async (more: object) => {
    const response = await (server as ServerProcess).post("/v1/chat/completions", {
      ...chat({ max_tokens: 40 }),
      ...more,
    });
    return ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message
      .content;
  };
  const masked = { seed: 42, guided_regex: "[a-z]{3,9}( [a-z]{2,9}){3,6}\\." };
  const alone = await textOf({ seed: 42 });
  const aloneMasked = await textOf(masked);
  expect(aloneMasked).toMatch(/^[a-z]+( [a-z]+){3,6}\.?$/);
  const others = [{ temperature: 1.5 }, { guided_choice: ["war", "peace"] }, { seed: 7 }];
  const crowd = await Promise.all(
    Array.from({ length: 64 }, (_, i) =>
      textOf(
        i === 31
          ? { seed: 42 }
          : i === 40
            ? masked
            : { ...others[i % 3], ...(i % 5 === 0 ? { seed: i } : {}) },
      ),
    ),
  );
  expect(crowd[31]).toBe(alone);
  expect(crowd[40]).toBe(aloneMasked);
});

test("a deep health check generates", async () => {
  server = await startServerProcess();
  const [first, second] = await Promise.all([server.get("/health?deep=1"), server.get("/health?deep=1")]);
  expect([first.status, second.status]).toEqual([200, 200]);
  const report = (await first.json()) as { response_time_ms: number };
  expect(report).toMatchObject({ status: "ok", model: "tiny", tokens_generated: 10 });
  // The second has waited for the same check.
  expect(((await second.json()) as { response_time_ms: number }).response_time_ms).toBe(
    report.response_time_ms,
  );
});
