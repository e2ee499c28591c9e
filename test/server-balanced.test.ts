/** Two servers behind Debian's nginx, with one Redis: one limit, one cache's worth of prefixes, and a restart that nobody notices. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hasRedis, type RedisProcess, startRedis } from "./redis-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

const nginx = "/usr/sbin/nginx";
const hasNginx = spawnSync(nginx, ["-v"]).error === undefined;
if (!hasNginx && process.env.BITNET_REQUIRE_ALL === "1")
  throw new Error(`${nginx} is missing (Debian: nginx-light)`);
if (!hasNginx)
  console.warn(`${nginx} is missing (Debian: nginx-light): servers behind a balancer are not tested`);
const isMissing = !hasNginx || !hasRedis;

let folder: string;
let redis: RedisProcess;
let balancer: ChildProcess;
let url: string;
let ports: [number, number];
const servers: ServerProcess[] = [];

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

const flags = ["--trust-proxy", "1", "--requests-per-minute", "400"];
const startAt = (port: number) =>
  startServerProcess([
    "--redis",
    redis.url,
    "--data",
    join(folder, "data"),
    "--port",
    String(port),
    ...flags,
  ]);

/** The example of the package, at places of this test. */
async function startBalancer(): Promise<number> {
  const port = await freePort();
  const example = await readFile(new URL("../packages/server/balancing/nginx.conf", import.meta.url), "utf8");
  const text = example
    .replace("listen 127.0.0.1:8080", `listen 127.0.0.1:${port}`)
    .replace("server 127.0.0.1:8081", `server 127.0.0.1:${ports[0]}`)
    .replace("server 127.0.0.1:8082", `server 127.0.0.1:${ports[1]}`)
    .replace("worker_processes auto", "worker_processes 1")
    .replace(
      "http {",
      `http { access_log off; ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join(" ")}`,
    );
  const file = join(folder, "nginx.conf");
  await writeFile(file, text);
  const global = `daemon off; pid ${folder}/nginx.pid; error_log ${folder}/error.log; user root;`;
  balancer = spawn(nginx, ["-p", folder, "-c", file, "-g", global], { stdio: "ignore" });
  const answers = () =>
    fetch(`http://127.0.0.1:${port}/health`).then(
      () => true,
      () => false,
    );
  while (!(await answers())) {
    if (balancer.exitCode !== null) throw new Error("nginx has ended");
    await new Promise((resolve) => setImmediate(resolve));
  }
  return port;
}

beforeAll(async () => {
  if (isMissing) return;
  folder = await mkdtemp(join(tmpdir(), "bitnet-balanced-"));
  redis = await startRedis(folder);
  ports = [await freePort(), await freePort()];
  servers.push(await startAt(ports[0]), await startAt(ports[1]));
  url = `http://127.0.0.1:${await startBalancer()}`;
});
afterAll(async () => {
  balancer?.kill("SIGKILL");
  for (const server of servers) await server.end();
  await redis?.kill();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

const ask = (prompt: string, headers: Record<string, string> = {}, max_tokens = 3) =>
  fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ prompt, max_tokens, temperature: 0, ignore_eos: true }),
  });
const cachedTokens = async (response: Response) => {
  const body = (await response.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } } };
  return body.usage.prompt_tokens_details.cached_tokens;
};

test.skipIf(isMissing)(
  "requests that send their prefix key back find their prefix in the cache",
  async () => {
    const prompt =
      "A long beginning that many requests have in common, as instructions do: be kind, be brief, be right. ".repeat(
        3,
      );
    const first = await ask(prompt);
    const key = first.headers.get("x-prefix-key") ?? "";
    expect(key).toMatch(/^[0-9a-f]{16}$/);
    await first.text();
    // Not the same prompt: its answer is kept in Redis, and the other server would compute nothing.
    await (await ask(`${prompt}!`, { "x-prefix-key": key })).text();
    for (let i = 0; i < 6; i++) {
      const response = await ask(`${prompt}${i}`, { "x-prefix-key": key });
      expect(response.headers.get("x-prefix-key")).toBe(key);
      expect(await cachedTokens(response)).toBeGreaterThan(0);
    }
    expect((await ask("Another beginning")).headers.get("x-prefix-key")).not.toBe(key);
  },
);

test.skipIf(isMissing)("a rolling restart loses no request", async () => {
  let isOver = false;
  const statuses = new Map<number, number>();
  const client = async () => {
    for (let i = 0; !isOver && i < 90; i++) {
      const response = await ask(`Number ${i}`, {}, 100);
      await response.text();
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
    }
  };
  const clients = [client(), client(), client(), client()];
  for (const at of [0, 1] as const) {
    expect(await servers[at]?.end("SIGTERM")).toBe(143);
    servers[at] = await startAt(ports[at]);
  }
  isOver = true;
  await Promise.all(clients);
  expect([...statuses.keys()], await readFile(join(folder, "error.log"), "utf8")).toEqual([200]);
  expect(statuses.get(200)).toBeGreaterThan(8);
});

test.skipIf(isMissing)("one limit holds for both", async () => {
  const used = async () => {
    const response = await ask("x");
    await response.text();
    return response;
  };
  const first = await used();
  const left = Number(first.headers.get("x-ratelimit-remaining-requests"));
  const before = servers.map((server) => server.log().length);
  expect(before).toHaveLength(2);
  let nGood = 0;
  let status = first.status;
  while (status === 200 && nGood <= left) {
    status = (await used()).status;
    if (status === 200) nGood++;
  }
  expect(status).toBe(429);
  // What has left the window meanwhile may be used again.
  expect(nGood).toBeGreaterThanOrEqual(left);
  const both = await Promise.all(
    servers.map(
      async (server) =>
        (await (await server.get("/metrics")).text()).match(
          /route="\/v1\/completions",code="200"} (\d+)/,
        )?.[1],
    ),
  );
  for (const count of both) expect(Number(count)).toBeGreaterThan(20);
});
