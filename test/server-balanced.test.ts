/** Two servers behind Debian's nginx and HAProxy, with one Redis: one limit, one cache's worth of prefixes, and restarts that nobody notices. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "./free-port.ts";
import { hasRedis, type RedisProcess, startRedis } from "./redis-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

const nginx = "/usr/sbin/nginx";
const haproxy = "/usr/sbin/haproxy";
const missing = Object.entries({ [nginx]: "nginx-light", [haproxy]: "haproxy" })
  .filter(([program]) => spawnSync(program, ["-v"]).error !== undefined)
  .map(([program, debian]) => `${program} is missing (Debian: ${debian})`);
if (missing.length > 0 && process.env.BITNET_REQUIRE_ALL === "1") throw new Error(missing.join("; "));
if (missing.length > 0) console.warn(`${missing.join("; ")}: servers behind a balancer are not tested`);
const isMissing = missing.length > 0 || !hasRedis;

let folder: string;
let redis: RedisProcess;
const balancers: ChildProcess[] = [];
/** Of nginx, and of HAProxy. */
let url: string;
let otherUrl: string;
let ports: [number, number];
const servers: ServerProcess[] = [];

const flags = ["--trust-proxy", "1", "--requests-per-minute", "500"];
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

/** The examples of the package, at places of this test. */
async function example(name: string, port: number): Promise<string> {
  const text = await readFile(new URL(`../packages/server/balancing/${name}`, import.meta.url), "utf8");
  return text
    .replace("127.0.0.1:8080", `127.0.0.1:${port}`)
    .replace(/(server .*)127\.0\.0\.1:8081/, `$1127.0.0.1:${ports[0]}`)
    .replace(/(server .*)127\.0\.0\.1:8082/, `$1127.0.0.1:${ports[1]}`);
}

async function startNginx(): Promise<string> {
  const port = await freePort();
  const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  const text = (await example("nginx.conf", port))
    .replace("worker_processes auto", "worker_processes 1")
    .replace("http {", `http { access_log off; ${folders.join(" ")}`);
  const file = join(folder, "nginx.conf");
  await writeFile(file, text);
  const global = `daemon off; pid ${folder}/nginx.pid; error_log ${folder}/error.log; user root;`;
  return startBalancer(spawn(nginx, ["-p", folder, "-c", file, "-g", global], { stdio: "ignore" }), port);
}

async function startHaproxy(): Promise<string> {
  const port = await freePort();
  const file = join(folder, "haproxy.cfg");
  await writeFile(file, await example("haproxy.cfg", port));
  return startBalancer(spawn(haproxy, ["-db", "-f", file], { stdio: "ignore" }), port);
}

async function startBalancer(child: ChildProcess, port: number): Promise<string> {
  balancers.push(child);
  const address = `http://127.0.0.1:${port}`;
  const answers = () =>
    fetch(`${address}/health`).then(
      ({ status }) => status === 200,
      () => false,
    );
  while (!(await answers())) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} has ended`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return address;
}

beforeAll(async () => {
  if (isMissing) return;
  folder = await mkdtemp(join(tmpdir(), "bitnet-balanced-"));
  redis = await startRedis(folder);
  ports = [await freePort(), await freePort()];
  servers.push(await startAt(ports[0]), await startAt(ports[1]));
  [url, otherUrl] = [await startNginx(), await startHaproxy()];
});
afterAll(async () => {
  for (const balancer of balancers) balancer.kill("SIGKILL");
  for (const server of servers) await server.end();
  await redis?.kill();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

const askAt = (
  address: string,
  prompt: string,
  headers: Record<string, string> = {},
  more: object = { max_tokens: 3 },
) =>
  fetch(`${address}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ prompt, temperature: 0, ignore_eos: true, ...more }),
  });
const cachedTokens = async (response: Response) => {
  const body = (await response.json()) as { usage: { prompt_tokens_details: { cached_tokens: number } } };
  return body.usage.prompt_tokens_details.cached_tokens;
};

test.skipIf(isMissing).each(["nginx", "HAProxy"] as const)(
  "%s: requests that send their prefix key back find their prefix in the cache",
  async (name) => {
    const ask = (prompt: string, headers = {}) => askAt(name === "nginx" ? url : otherUrl, prompt, headers);
    const prompt =
      `A long beginning that many requests of ${name} have in common, as instructions do: be kind, be right. `.repeat(
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
      expect(response.status).toBe(200);
      expect(response.headers.get("x-prefix-key")).toBe(key);
      expect(await cachedTokens(response)).toBeGreaterThan(0);
    }
    expect((await ask("Another beginning")).headers.get("x-prefix-key")).not.toBe(key);
  },
);

/** Whole or streamed: the text of an answer that is complete. */
async function textOf(response: Response, isStream: boolean): Promise<string> {
  const text = await response.text();
  if (response.status !== 200) return `${response.status} ${text}`;
  type Chunk = { choices: { text: string; finish_reason: string | null }[] };
  if (!isStream) return (JSON.parse(text) as Chunk).choices[0]?.text ?? "";
  const frames = text.split("\n\n").filter((frame) => frame.startsWith("data: "));
  if (frames.pop() !== "data: [DONE]") return `a stream without an end: ${text.slice(-200)}`;
  const choices = frames.flatMap((frame) => (JSON.parse(frame.slice(6)) as Chunk).choices);
  return choices.at(-1)?.finish_reason === "length" ? choices.map((each) => each.text).join("") : "cut off";
}

test.skipIf(isMissing)(
  "rolling restarts lose no request, whole or streamed, behind either balancer",
  async () => {
    const more = { max_tokens: 60, n: 1 };
    const prompts = Array.from({ length: 6 }, (_, i) => `Number ${i}`);
    const expected = await Promise.all(
      prompts.map(async (prompt) => textOf(await askAt(url, prompt, {}, more), false)),
    );
    let isOver = false;
    let nRunning = 0;
    let nDone = 0;
    const wrong: string[] = [];
    const client = async (at: number) => {
      // No more than the limit of the servers lets through.
      for (let i = 0; !isOver && i < 50; i++) {
        const isStream = (i + at) % 2 === 0;
        const which = (i * 5 + at) % prompts.length;
        nRunning++;
        const address = at % 2 === 0 ? url : otherUrl;
        // Without the header, most answers would come from the cache.
        const headers = { "cache-control": "no-cache" };
        const response = askAt(address, prompts[which] ?? "", headers, { ...more, stream: isStream });
        const text = await response.then(
          (found) => textOf(found, isStream),
          (error: unknown) => `no answer: ${String(error)}`,
        );
        nRunning--;
        nDone++;
        if (text !== expected[which]) wrong.push(`${address}: ${text}`);
      }
    };
    const clients = Array.from({ length: 6 }, (_, at) => client(at));
    const busy: number[] = [];
    for (const at of [0, 1, 0] as const) {
      const before = nDone;
      while (nDone < before + 12) await new Promise((resolve) => setImmediate(resolve));
      busy.push(nRunning);
      expect(await servers[at]?.end("SIGTERM")).toBe(143);
      servers[at] = await startAt(ports[at]);
    }
    isOver = true;
    await Promise.all(clients);
    expect(wrong, await readFile(join(folder, "error.log"), "utf8")).toEqual([]);
    expect(nDone).toBeGreaterThan(36);
    // Each end came while clients waited for answers.
    for (const count of busy) expect(count).toBeGreaterThan(2);
  },
  120_000,
);

test.skipIf(isMissing)("one limit holds for both", async () => {
  const used = async () => {
    const response = await askAt(url, "x");
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
