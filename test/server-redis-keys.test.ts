/** What servers share through one Redis beside limits: API keys and kept answers; and a Redis that stalls, forgets or evicts. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { bitnet } from "./cli-process.ts";
import { hasRedis, type RedisProcess, startRedis } from "./redis-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

let folder: string;
let redis: RedisProcess;
const started: ServerProcess[] = [];
/** Every key is made by a process of its own, and every server is one. */
const slow = 240_000;

beforeAll(async () => {
  if (!hasRedis) return;
  folder = await mkdtemp(join(tmpdir(), "bitnet-redis-"));
  redis = await startRedis(folder);
});
afterEach(async () => {
  for (const server of started.splice(0)) await server.end();
});
afterAll(async () => {
  redis?.goOn();
  await redis?.kill();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

async function start(...args: string[]): Promise<ServerProcess> {
  const server = await startServerProcess(["--redis", redis.url, ...args]);
  started.push(server);
  return server;
}

async function pair(...args: string[]): Promise<[ServerProcess, ServerProcess]> {
  return [await start(...args), await start(...args)];
}

const complete = (server: ServerProcess, body: object = {}, key?: string) =>
  server.post(
    "/v1/completions",
    { prompt: "Hello", max_tokens: 2, ...body },
    key === undefined ? {} : { authorization: `Bearer ${key}` },
  );
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const untilLogged = async (server: ServerProcess, pattern: RegExp, from = 0) => {
  while (!pattern.test(server.log().slice(from))) await nextTurn();
};
const keysCommand = (...args: string[]) =>
  bitnet(["keys", ...args, "--keys", "redis:", "--redis", redis.url]);
const createKey = async (name: string) => (await keysCommand("create", name)).stdout.trim();
/** Until a server answers a key so. */
const untilStatus = async (server: ServerProcess, key: string, status: number) => {
  while ((await complete(server, {}, key)).status !== status) await nextTurn();
};

test.skipIf(!hasRedis)(
  "a key is made and revoked for all servers, and outlives the memory of Redis",
  async () => {
    const none = await bitnet(["serve", "--port", "0", "--redis", redis.url, "--keys", "redis:"]);
    expect([none.status, none.stderr]).toEqual([1, expect.stringMatching(/holds no key/)]);
    const ada = await createKey("Ada");
    const [a, b] = await pair("--keys", "redis:");
    expect(a.log()).toMatch(/keeps nothing on disk/);
    expect((await complete(a)).status).toBe(401);
    for (const server of [a, b]) expect((await complete(server, {}, ada)).status).toBe(200);
    const bob = await createKey("Bob");
    for (const server of [a, b]) await untilStatus(server, bob, 200);
    const listed = JSON.parse((await keysCommand("list", "--json")).stdout) as {
      keys: { id: string; name: string }[];
    };
    expect(listed.keys.map(({ name }) => name)).toEqual(["Ada", "Bob"]);
    expect(JSON.stringify(listed)).not.toMatch(/hash/);
    const [, second] = listed.keys;
    expect((await keysCommand("revoke", second?.id ?? "")).status).toBe(0);
    for (const server of [a, b]) await untilStatus(server, bob, 401);
    expect((await keysCommand("revoke", second?.id ?? "")).stderr).toMatch(/no key/);

    let at = a.log().length;
    await redis.kill();
    await untilLogged(a, /redis: lost/, at);
    expect((await complete(a, {}, ada)).status).toBe(200);
    expect((await complete(a, {}, bob)).status).toBe(401);
    expect((await keysCommand("create", "Eve")).stderr).toMatch(/Redis does not answer/);
    const late = await bitnet(["serve", "--port", "0", "--redis", redis.url, "--keys", "redis:"]);
    expect([late.status, late.stderr]).toEqual([1, expect.stringMatching(/Redis does not answer/)]);
    at = a.log().length;
    await redis.start();
    await untilLogged(a, /redis: connected/, at);
    while (!/lost its memory/.test(a.log() + b.log())) {
      await complete(a, {}, ada);
      await nextTurn();
    }
    expect((await keysCommand("list")).stdout).toMatch(/Ada/);
    expect((await complete(a, {}, ada)).status).toBe(200);
  },
  slow,
);

test.skipIf(!hasRedis)("redis: without --redis is refused", async () => {
  const { status, stderr } = await bitnet(["serve", "--port", "0", "--keys", "redis:"]);
  expect([status, stderr]).toEqual([1, expect.stringMatching(/needs --redis/)]);
});

test.skipIf(!hasRedis)("an answer that one server has kept is the other's too, to the letter", async () => {
  const [a, b] = await pair();
  const body = { prompt: "Once", max_tokens: 12, seed: 7, temperature: 0.9, logprobs: 3, ignore_eos: true };
  const ask = async (server: ServerProcess) => {
    const response = await complete(server, body);
    const { choices, usage } = (await response.json()) as { choices: object[]; usage: object };
    return { cache: response.headers.get("x-bitnet-cache"), choices, usage };
  };
  const first = await ask(a);
  expect(first.cache).toBe("miss");
  const textsKey = async () => (await redis.command("KEYS", "bitnet:cache:*:texts"))[0] ?? "";
  while ((await textsKey()) === "") await nextTurn();
  const second = await ask(b);
  expect(second.cache).toBe("hit");
  expect(second.choices).toEqual(first.choices);
  // One that computes otherwise does not take it for its own.
  expect((await ask(await start("--backend", "reference", "--activations", "f32"))).cache).toBe("miss");
  // What no server has written is no answer.
  const texts = await textsKey();
  const entries = await redis.command("HKEYS", texts);
  for (const broken of ["{", "[]", '{"pieces":[{"id":1}],"result":{}}']) {
    for (const entry of entries) await redis.command("HSET", texts, entry, `${Date.now()} ${broken}`);
    const c = await start();
    expect(await ask(c)).toEqual({ ...first, cache: "miss" });
  }
});

test.skipIf(!hasRedis)(
  "what is kept together is bounded by bytes, the longest at rest goes first",
  async () => {
    await redis.command("FLUSHALL");
    const a = await start("--cache-bytes", "9000");
    const ask = (seed: number) => complete(a, { seed, max_tokens: 4, ignore_eos: true });
    for (let seed = 0; seed < 40; seed++) expect((await ask(seed)).status).toBe(200);
    const [texts = ""] = await redis.command("KEYS", "bitnet:cache:*:texts");
    const prefix = texts.replace(/texts$/, "");
    const bytes = async () => Number((await redis.command("GET", `${prefix}bytes`))[0]);
    const held = await redis.command("HVALS", texts);
    const counted = held.reduce((sum, text) => sum + Buffer.byteLength(text) + 256, 0);
    expect(await bytes()).toBe(counted);
    expect(counted).toBeLessThanOrEqual(9000);
    expect(held.length).toBeGreaterThan(1);
    expect(await redis.command("ZCARD", `${prefix}uses`)).toEqual([String(held.length)]);
    expect(Number((await redis.command("PTTL", texts))[0])).toBeGreaterThan(0);
  },
);

test.skipIf(!hasRedis)("a Redis that stalls holds up one request, not each", async () => {
  const server = await start("--requests-per-minute", "10000");
  expect((await complete(server, { seed: 1 })).status).toBe(200);
  let at = server.log().length;
  redis.stall();
  // Each asks Redis several times; those after the first ask it no more.
  for (let i = 0; i < 20; i++) expect((await complete(server, { seed: i })).status).toBe(200);
  expect(server.log().slice(at)).toMatch(/redis: lost \(no answer within/);
  expect(
    server
      .log()
      .slice(at)
      .match(/redis:/g),
  ).toHaveLength(1);
  at = server.log().length;
  redis.goOn();
  await untilLogged(server, /redis: connected/, at);
});

test.skipIf(!hasRedis)("a Redis that begins to throw keys away is not used until it stops", async () => {
  const other = await mkdtemp(join(tmpdir(), "bitnet-redis-"));
  const changing = await startRedis(other);
  const server = await startServerProcess(["--redis", changing.url, "--requests-per-minute", "3"]);
  started.push(server);
  await changing.kill();
  await untilLogged(server, /redis: lost/);
  await changing.start();
  // The one that comes back is another one than at the start.
  await changing.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
  await changing.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
  await untilLogged(server, /redis: not used: .*allkeys-lru/);
  expect((await complete(server)).status).toBe(200);
  const at = server.log().length;
  await changing.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
  await untilLogged(server, /redis: connected/, at);
  await changing.kill();
  await rm(other, { recursive: true });
});
