/** Servers that share one Redis: limits hold together, answers are found everywhere, batches outlive their server and Redis. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bitnet, tinyModel } from "./cli-process.ts";
import { repo, startHub } from "./hub-server.ts";
import { hasRedis, type RedisProcess, startRedis } from "./redis-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

let folder: string;
let redis: RedisProcess;
const started: ServerProcess[] = [];

beforeAll(async () => {
  if (!hasRedis) return;
  folder = await mkdtemp(join(tmpdir(), "bitnet-redis-"));
  redis = await startRedis(folder);
});
afterAll(async () => {
  for (const server of started) await server.end();
  await redis?.kill();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

async function start(...args: string[]): Promise<ServerProcess> {
  const server = await startServerProcess(["--redis", redis.url, "--data", join(folder, "data"), ...args]);
  started.push(server);
  return server;
}

const complete = (server: ServerProcess, body: object = {}) =>
  server.post("/v1/completions", { prompt: "Hello", max_tokens: 2, ...body });
const untilLogged = async (server: ServerProcess, pattern: RegExp, from = 0) => {
  while (!pattern.test(server.log().slice(from))) await new Promise((resolve) => setImmediate(resolve));
};

interface Batch {
  id: string;
  status: string;
  output_file_id: string;
  request_counts: { completed: number };
}
const getBatch = async (server: ServerProcess, id: string) =>
  (await (await server.get(`/v1/batches/${id}`)).json()) as Batch;
async function batchUntil(
  server: ServerProcess,
  id: string,
  isReached: (batch: Batch) => boolean,
): Promise<Batch> {
  for (;;) {
    const batch = await getBatch(server, id);
    if (isReached(batch)) return batch;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
async function createBatch(server: ServerProcess, nLines: number, max_tokens = 20): Promise<string> {
  const lines = Array.from({ length: nLines }, (_, i) => ({
    custom_id: `line-${i}`,
    method: "POST",
    url: "/v1/completions",
    body: { prompt: `Number ${i}`, max_tokens, seed: i, ignore_eos: true },
  }));
  const form = new FormData();
  form.append("file", new File([lines.map((line) => `${JSON.stringify(line)}\n`).join("")], "in.jsonl"));
  form.append("purpose", "batch");
  const file = (await (
    await fetch(`${server.url}/v1/files`, { method: "POST", body: form })
  ).json()) as Batch;
  const body = { input_file_id: file.id, endpoint: "/v1/completions", completion_window: "24h" };
  return ((await (await server.post("/v1/batches", body)).json()) as Batch).id;
}
async function idsOf(server: ServerProcess, batch: Batch): Promise<string[]> {
  const text = await (await server.get(`/v1/files/${batch.output_file_id}/content`)).text();
  return text
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { custom_id: string }).custom_id);
}
const allIds = (n: number) => Array.from({ length: n }, (_, i) => `line-${i}`).sort();

test.skipIf(!hasRedis)("limits hold together: requests and tokens a minute", async () => {
  const servers = [await start("--requests-per-minute", "6"), await start("--requests-per-minute", "6")];
  const statuses = await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      const response = await complete(servers[i % 2] as ServerProcess);
      await response.text();
      return response;
    }),
  );
  expect(statuses.filter(({ status }) => status === 200)).toHaveLength(6);
  const refused = statuses.find(({ status }) => status === 429);
  expect(Number(refused?.headers.get("retry-after"))).toBeGreaterThan(0);
  for (const server of servers) await server.end("SIGTERM");
  await redis.kill();
  await redis.start();
  const others = [await start("--tokens-per-minute", "100"), await start("--tokens-per-minute", "100")];
  const ask = (i: number, max_tokens: number) =>
    complete(others[i] as ServerProcess, { prompt: [1], max_tokens, ignore_eos: true });
  expect((await ask(0, 59)).status).toBe(200);
  expect((await ask(1, 59)).status).toBe(429);
  const fitting = await ask(1, 19);
  expect([fitting.status, fitting.headers.get("x-ratelimit-remaining-tokens")]).toEqual([200, "20"]);
  for (const server of others) await server.end("SIGTERM");
});

test.skipIf(!hasRedis)(
  "requests at once are counted together, and a place that is left is free again",
  async () => {
    const keys = join(folder, "keys.json");
    const made = await bitnet(["keys", "create", "Ada", "--keys", keys, "--concurrent", "1"]);
    const headers = { authorization: `Bearer ${made.stdout.trim()}` };
    const [a, b] = [await start("--keys", keys), await start("--keys", keys)];
    const body = { prompt: "Hello", max_tokens: 2000, ignore_eos: true, stream: true };
    const controller = new AbortController();
    const held = await fetch(`${a.url}/v1/completions`, {
      method: "POST",
      body: JSON.stringify(body),
      headers,
      signal: controller.signal,
    });
    expect(held.status).toBe(200);
    const ask = () => b.post("/v1/completions", { prompt: "Hello", max_tokens: 1 }, headers);
    expect((await ask()).status).toBe(429);
    controller.abort();
    await held.text().catch(() => {});
    while ((await ask()).status === 429) await new Promise((resolve) => setImmediate(resolve));
    expect((await ask()).status).toBe(200);
    for (const server of [a, b]) await server.end("SIGTERM");
  },
);

test.skipIf(!hasRedis)(
  "an answer that one server keeps is found by the other, until it is deleted",
  async () => {
    const [a, b] = [await start(), await start()];
    const create = async (server: ServerProcess, body: object) =>
      (await (await server.post("/v1/responses", { max_output_tokens: 4, ...body })).json()) as {
        id: string;
        output: { id: string }[];
      };
    const first = await create(a, { input: "My name is Ada." });
    const second = await create(b, { input: "And?", previous_response_id: first.id });
    expect(second).toMatchObject({ status: expect.any(String), previous_response_id: first.id });
    const item = { type: "item_reference", id: first.output[0]?.id };
    expect(await create(b, { input: [item, { role: "user", content: "And?" }] })).toHaveProperty("output");
    expect((await b.get(`/v1/responses/${second.id}`)).status).toBe(200);
    expect((await a.get(`/v1/responses/${second.id}`)).status).toBe(200);
    await fetch(`${a.url}/v1/responses/${second.id}`, { method: "DELETE" });
    expect((await b.get(`/v1/responses/${second.id}`)).status).toBe(404);
    for (const server of [a, b]) await server.end("SIGTERM");
  },
);

test.skipIf(!hasRedis)(
  "servers with a model of a hub, each in a cache of its own, share answers",
  async () => {
    const bytes = await readFile(tinyModel);
    const files = { "model.gguf": { bytes, isLarge: true }, "again.gguf": { bytes, isLarge: true } };
    const hub = await startHub(files);
    const serve = async (cache: string, file: string) => {
      const args = ["--redis", redis.url, "--model", `hf:${repo}:${file}`];
      const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: join(folder, cache) };
      const server = await startServerProcess(args, env);
      started.push(server);
      return server;
    };
    const ask = async (server: ServerProcess) => {
      const response = await complete(server, { temperature: 0, max_tokens: 5 });
      await response.text();
      return response.headers.get("x-bitnet-cache");
    };
    const first = await serve("hub-1", "model.gguf");
    expect(await ask(first)).toBe("miss");
    const second = await serve("hub-2", "model.gguf");
    while ((await ask(second)) !== "hit") await new Promise((resolve) => setImmediate(resolve));
    const stats = (await (await second.get("/stats")).json()) as { answer_cache: { misses: number } };
    // What it has is what the first one computed.
    expect(stats.answer_cache.misses).toBe(0);
    expect(await ask(await serve("hub-2", "again.gguf"))).toBe("miss");
    for (const server of started.splice(-3)) await server.end("SIGTERM");
    await hub.close();
  },
);

test.skipIf(!hasRedis)("a batch goes on when the server that works on it is killed", async () => {
  const nLines = 120;
  const servers = [await start(), await start()];
  const id = await createBatch(servers[0] as ServerProcess, nLines);
  for (const goal of [10, 40]) {
    const [first, second] = servers as [ServerProcess, ServerProcess];
    await batchUntil(first, id, (batch) => batch.request_counts.completed >= goal);
    const isFirst = /bitnet_num_batches 1/.test(await (await first.get("/metrics")).text());
    const [victim, other] = isFirst ? [first, second] : [second, first];
    await victim.end("SIGKILL");
    servers.splice(0, 2, other, await start());
  }
  const [server] = servers as [ServerProcess];
  const batch = await batchUntil(server, id, ({ status }) => status === "completed");
  expect((await idsOf(server, batch)).sort()).toEqual(allIds(nLines));
  for (const each of servers) await each.end("SIGTERM");
});

test.skipIf(!hasRedis)(
  "without Redis generation goes on, limits are local, batches pause and resume",
  async () => {
    const nLines = 300;
    const server = await start("--requests-per-minute", "5");
    const id = await createBatch(server, nLines, 100);
    await batchUntil(server, id, (batch) => batch.request_counts.completed >= 5);
    let at = server.log().length;
    await redis.kill();
    await untilLogged(server, /redis: lost/, at);
    const during = await complete(server);
    expect([during.status, await during.json()]).toEqual([
      200,
      expect.objectContaining({ object: "text_completion" }),
    ]);
    // A file, a batch and this request have been counted here, too.
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await complete(server)).status);
    expect(statuses).toEqual([200, 200, 429, 429]);
    // The lease runs out within seconds, and the batch is put down.
    while (!/bitnet_num_batches 0/.test(await (await server.get("/metrics")).text()))
      await new Promise((resolve) => setImmediate(resolve));
    const paused = await getBatch(server, id);
    expect(paused.status).toBe("in_progress");
    at = server.log().length;
    await redis.start();
    await untilLogged(server, /redis: connected/, at);
    const batch = await batchUntil(server, id, ({ status }) => status === "completed");
    expect((await idsOf(server, batch)).sort()).toEqual(allIds(nLines));
    expect(await server.end("SIGTERM")).toBe(143);
  },
);

test.skipIf(!hasRedis)("a Redis that throws keys away is refused, and so is what is no address", async () => {
  const other = await mkdtemp(join(tmpdir(), "bitnet-redis-"));
  const evicting = await startRedis(other, ["--maxmemory-policy", "allkeys-lru"]);
  const { status, stderr } = await bitnet(["serve", "--port", "0", "--redis", evicting.url]);
  expect([status, stderr]).toEqual([1, expect.stringMatching(/allkeys-lru.*noeviction/)]);
  await evicting.kill();
  await rm(other, { recursive: true });
  expect((await bitnet(["serve", "--port", "0", "--redis", "localhost"])).stderr).toMatch(/expected redis:/);
});
