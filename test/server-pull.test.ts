/** Models that clients bring from a hub: only when the operator allows it, by name, within limits; against a hub of the test's own. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ollama, type ProgressResponse } from "ollama";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tinyModel } from "./cli-process.ts";
import { type HubServer, repo, sha256, startHub } from "./hub-server.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";

const bytes = readFileSync(tinyModel);
let hub: HubServer;
let home: string;
let server: ServerProcess | null = null;
beforeEach(async () => {
  hub = await startHub({ "model.gguf": { bytes, isLarge: true } });
  home = mkdtempSync(join(tmpdir(), "bitnet-server-pull-"));
});
afterEach(async () => {
  await server?.end();
  server = null;
  await hub.close();
  rmSync(home, { recursive: true, force: true });
});

async function start(...args: string[]): Promise<ServerProcess> {
  server = await startServerProcess(args, {
    HF_ENDPOINT: hub.endpoint,
    HF_HUB_CACHE: home,
    HF_TOKEN: "hf_secret",
  });
  return server;
}

const pull = (of: ServerProcess, body: object) => of.post("/api/pull", body);
const snapshot = () => join(home, "models--tests--tiny");
const generate = (of: ServerProcess, model: string) =>
  of.post("/api/generate", {
    model,
    prompt: "The",
    stream: false,
    options: { num_predict: 4, temperature: 0 },
  });

test("nobody may unless it is allowed: the hub hears nothing", async () => {
  const denied = await start();
  for (const body of [{ model: repo }, { name: repo, stream: false }, { model: "bitnet-2b" }]) {
    const response = await pull(denied, body);
    expect([response.status, await response.json()]).toEqual([
      403,
      { error: expect.stringContaining("--allow-pull") },
    ]);
  }
  const removal = await fetch(`${denied.url}/api/delete`, {
    method: "DELETE",
    body: JSON.stringify({ model: repo }),
  });
  expect(removal.status).toBe(403);
  expect((await denied.post("/api/copy", { source: "tiny", destination: "x" })).status).toBe(501);
  expect(hub.seen).toEqual([]);
});

test("Ollama's client brings a model, sees its progress, uses it and deletes it", async () => {
  const allowed = await start("--allow-pull", "tests/*");
  const ollama = new Ollama({ host: allowed.url });
  const lines: ProgressResponse[] = [];
  for await (const line of await ollama.pull({ model: repo, stream: true })) {
    checkWire("ollama", "StatusEvent", line);
    lines.push(line);
  }
  expect(lines.map(({ status }) => status)).toEqual([
    "pulling manifest",
    ...lines.slice(1, -2).map(({ status }) => status),
    "writing manifest",
    "success",
  ]);
  const digest = `sha256:${sha256(bytes)}`;
  const steps = lines.slice(1, -2);
  expect(steps.length).toBeGreaterThan(0);
  for (const step of steps) {
    expect(step.digest).toBe(digest);
    expect(step.status).toMatch(/^(pulling [0-9a-f]{12}|verifying sha256 digest)$/);
    if (step.total !== undefined) expect(step.completed).toBeLessThanOrEqual(step.total);
  }
  expect((await ollama.list()).models.map(({ name }) => name)).toContain(`${repo}:latest`);
  const [own, brought] = [await generate(allowed, "tiny"), await generate(allowed, repo)];
  const textOf = async (response: Response) => ((await response.json()) as { response: string }).response;
  expect(await textOf(brought)).toBe(await textOf(own));
  const nAsked = hub.seen.length;
  expect((await ollama.pull({ model: `${repo}:latest` })).status).toBe("success"); // it is there
  expect(hub.seen.length).toBe(nAsked);
  await ollama.delete({ model: repo });
  expect(existsSync(snapshot())).toBe(false);
  expect((await generate(allowed, repo)).status).toBe(404);
  const again = await fetch(`${allowed.url}/api/delete`, {
    method: "DELETE",
    body: JSON.stringify({ name: repo }),
  });
  expect(again.status).toBe(404);
});

test("what is not a name on the operator's hub is not asked for", async () => {
  const allowed = await start("--allow-pull", "tests/tiny", "--alias", "gpt");
  const statusOf = async (model: unknown, more: object = {}) =>
    (await pull(allowed, { model, stream: false, ...more })).status;
  for (const name of [
    "http://169.254.169.254/latest/meta-data",
    "https://huggingface.co@127.0.0.1/tests/tiny",
    "file:///etc/passwd",
    "hf://tests/tiny",
    "../../etc/passwd",
    "tests/tiny:../../x.gguf",
    "tests/tiny@../x",
    "tests",
    "",
    `tests/${"x".repeat(300)}`,
    7,
  ])
    expect(await statusOf(name), String(name)).toBe(400);
  expect(await statusOf("other/tiny")).toBe(403);
  expect(await statusOf("tests/tiny2")).toBe(403);
  expect(await statusOf(repo, { insecure: true })).toBe(400);
  expect(hub.seen).toEqual([]);
  // The names of what is served are there already.
  expect(await statusOf("gpt")).toBe(200);
  expect(await statusOf("tiny:latest")).toBe(200);
  expect(hub.seen).toEqual([]);
  const own = await fetch(`${allowed.url}/api/delete`, {
    method: "DELETE",
    body: JSON.stringify({ model: "tiny" }),
  });
  expect(own.status).toBe(400);
  expect(await statusOf(`${repo}:none.gguf`)).toBe(404);
  expect(await statusOf(`hf.co/${repo}`)).toBe(200);
});

test("a model beyond the limit of disk is refused before it is brought", async () => {
  const small = await start("--allow-pull", "*", "--pull-limit", "64K");
  const response = await pull(small, { model: repo });
  expect([response.status, await response.json()]).toEqual([
    413,
    { error: expect.stringContaining(String(bytes.length)) },
  ]);
  expect(hub.seen.some(({ path }) => path.includes("/resolve/"))).toBe(false);
  expect(existsSync(snapshot())).toBe(false);
});

test("a hub that fails: a word to the client, no path of this machine; midway it is a line", async () => {
  const allowed = await start("--allow-pull", "*");
  const text = async (body: object) => {
    const response = await pull(allowed, body);
    return { status: response.status, text: await response.text() };
  };
  hub.misbehave = (_request, response) => {
    response.writeHead(403).end();
    return true;
  };
  const forbidden = await text({ model: repo });
  expect(forbidden.status).toBe(403);
  hub.misbehave = (_request, response) => {
    response.setHeader("content-type", "application/json").end("[]");
    return true;
  };
  const broken = await text({ model: repo });
  expect(broken.status).toBe(502);
  hub.misbehave = null;
  hub.files.set("model.gguf", { bytes, isLarge: true, promisedHash: "a".repeat(64) });
  const wrong = await text({ model: repo });
  expect(wrong.status).toBe(200);
  expect(wrong.text).toMatch(/\n\{"error":"[^"]+"\}\n$/);
  expect(wrong.text).not.toContain("success");
  for (const each of [forbidden, broken, wrong]) {
    expect(each.text).not.toContain(home);
    expect(each.text).not.toContain("hf_secret");
  }
  expect((await generate(allowed, repo)).status).toBe(404);
  // What went wrong does not stay.
  hub.files.set("model.gguf", { bytes, isLarge: true });
  expect((await text({ model: repo, stream: false })).status).toBe(200);
});

test("two clients watch one download; it ends when both have left, and is gone on with", async () => {
  const allowed = await start("--allow-pull", "*");
  let arrived = () => {};
  const asked = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  let closed = () => {};
  const ended = new Promise<void>((resolve) => {
    closed = resolve;
  });
  hub.misbehave = (request, response, { n }) => {
    if (n !== 0) return false;
    // Half of the file, then nothing.
    response.writeHead(request.headers.range === undefined ? 200 : 206, {
      "content-length": bytes.length,
      "content-range": `bytes 0-${bytes.length - 1}/${bytes.length}`,
    });
    response.write(bytes.subarray(0, bytes.length / 2));
    response.on("close", closed);
    arrived();
    return true;
  };
  const leave = [new AbortController(), new AbortController()];
  const watching = leave.map(({ signal }) =>
    fetch(`${allowed.url}/api/pull`, { method: "POST", body: JSON.stringify({ model: repo }), signal }).then(
      async (response) => response.text(),
    ),
  );
  await asked;
  const other = await pull(allowed, { model: "tests/other" });
  expect(other.status).toBe(503);
  expect(Number(other.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  const nFiles = () => hub.seen.filter(({ path }) => path.includes("/resolve/")).length;
  expect(nFiles()).toBe(1);
  for (const each of leave) each.abort();
  await Promise.allSettled(watching);
  await ended;
  const whole = await pull(allowed, { model: repo, stream: false });
  expect([whole.status, await whole.json()]).toEqual([200, { status: "success" }]);
  expect((await generate(allowed, repo)).status).toBe(200);
});

test("what was brought is there again after kill -9, without the hub, until it is deleted", async () => {
  const data = join(home, "data");
  const flags = ["--allow-pull", "tests/*", "--data", data];
  const first = await start(...flags);
  for (const model of [repo, `hf.co/${repo}`])
    expect(await (await pull(first, { model, stream: false })).json()).toEqual({ status: "success" });
  const textOf = async (of: ServerProcess, model: string) =>
    ((await (await generate(of, model)).json()) as { response: string }).response;
  const before = await textOf(first, repo);
  expect(await first.end("SIGKILL")).toBe("SIGKILL");
  const nAsked = hub.seen.length;
  writeFileSync(join(data, "pulled", "torn.json"), '{"name":"tests/to');

  const second = await start(...flags);
  const names = async (of: ServerProcess) =>
    (await new Ollama({ host: of.url }).list()).models.map(({ name }) => name);
  expect(await names(second)).toEqual(["tiny:latest", `${repo}:latest`, `hf.co/${repo}:latest`]);
  expect(await textOf(second, repo)).toBe(before);
  expect((await pull(second, { model: repo, stream: false })).status).toBe(200);
  expect(hub.seen.length).toBe(nAsked);
  await new Ollama({ host: second.url }).delete({ model: `hf.co/${repo}` });
  expect(await second.end("SIGKILL")).toBe("SIGKILL");

  // What the operator no longer allows is not served; its files stay.
  const stricter = await start("--allow-pull", "others/*", "--data", data);
  expect(await names(stricter)).toEqual(["tiny:latest"]);
  expect(stricter.log()).toContain("no longer allowed");
  await stricter.end("SIGKILL");
  const third = await start(...flags);
  expect(await names(third)).toEqual(["tiny:latest", `${repo}:latest`]);
  await third.end("SIGKILL");
  rmSync(snapshot(), { recursive: true });
  const without = await start(...flags);
  expect(await names(without)).toEqual(["tiny:latest"]);
  expect((await generate(without, repo)).status).toBe(404);
}, 120_000);

test("a pattern that is none is refused at the start", async () => {
  await expect(start("--allow-pull", "https://x/y")).rejects.toThrow(/expected owner\/name/);
});
