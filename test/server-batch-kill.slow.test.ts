/** A server that is killed again and again while it works on a batch: every line is answered exactly once, with the text it always has. */
import { appendFile, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hasRedis, startRedis } from "./redis-process.ts";
import { seededIntegers } from "./seeded.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

const nLines = Number(process.env.BITNET_KILL_LINES ?? 500);
const nKills = Number(process.env.BITNET_KILLS ?? 20);
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-kill-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const input = Array.from({ length: nLines }, (_, i) => ({
  custom_id: `line-${i}`,
  method: "POST",
  url: "/v1/completions",
  // Every tenth is refused, so that the error file is a journal too.
  body: { prompt: `Number ${i}`, max_tokens: 1 + (i % 7), seed: i, temperature: i % 10 === 9 ? -1 : 0.9 },
}));

async function createBatch(server: ServerProcess): Promise<string> {
  const form = new FormData();
  form.append("file", new File([input.map((line) => `${JSON.stringify(line)}\n`).join("")], "in.jsonl"));
  form.append("purpose", "batch");
  const file = (await (await fetch(`${server.url}/v1/files`, { method: "POST", body: form })).json()) as {
    id: string;
  };
  const body = { input_file_id: file.id, endpoint: "/v1/completions", completion_window: "24h" };
  return ((await (await server.post("/v1/batches", body)).json()) as { id: string }).id;
}

interface Batch {
  status: string;
  output_file_id?: string;
  error_file_id?: string;
  request_counts: { total: number; completed: number; failed: number };
}

async function untilEnded(server: ServerProcess, id: string): Promise<Batch> {
  for (;;) {
    const batch = (await (await server.get(`/v1/batches/${id}`)).json()) as Batch;
    if (["completed", "failed", "expired", "cancelled"].includes(batch.status)) return batch;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** By custom_id: status and text. Fails on one that comes twice. */
async function answers(server: ServerProcess, batch: Batch): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const id of [batch.output_file_id, batch.error_file_id]) {
    const text = await (await server.get(`/v1/files/${id}/content`)).text();
    for (const line of text.trimEnd().split("\n")) {
      const { custom_id, response } = JSON.parse(line) as {
        custom_id: string;
        response: { status_code: number; body: { choices?: { text: string }[] } };
      };
      if (found.has(custom_id)) throw new Error(`${custom_id} was answered twice`);
      found.set(custom_id, `${response.status_code} ${response.body.choices?.[0]?.text ?? ""}`);
    }
  }
  return found;
}

/** The journals of the batch, which lie beside its record until it ends. */
async function journals(): Promise<string[]> {
  const [tenant = ""] = await readdir(join(folder, "batches"));
  const names = await readdir(join(folder, "batches", tenant));
  return names
    .filter((name) => /\.(output|error)$/.test(name))
    .map((name) => join(folder, "batches", tenant, name));
}

const totalSize = async () => {
  let sum = 0;
  for (const path of await journals()) sum += (await stat(path)).size;
  return sum;
};

test("killed at twenty random moments, every line is answered exactly once", async () => {
  const random = seededIntegers(19);
  let server = await startServerProcess(["--data", folder]);
  const id = await createBatch(server);
  for (let kill = 0; kill < nKills; kill++) {
    // Answers are some 350 bytes long, so that most kills come while lines are being written, a few right after the start.
    const goal = (await totalSize()) + (random() % 8000);
    while ((await totalSize()) < goal) await new Promise((resolve) => setImmediate(resolve));
    await server.end("SIGKILL");
    if (kill % 3 === 0)
      for (const path of await journals()) await appendFile(path, '{"id":"batch_req_1","custom_id":"line-');
    server = await startServerProcess(["--data", folder]);
  }
  const before = (await (await server.get(`/v1/batches/${id}`)).json()) as Batch;
  expect(before.status).toBe("in_progress");
  const batch = await untilEnded(server, id);
  expect(batch).toMatchObject({
    status: "completed",
    request_counts: { total: nLines, completed: nLines * 0.9, failed: nLines * 0.1 },
  });
  const broken = await answers(server, batch);
  expect(broken.size).toBe(nLines);
  const whole = await answers(server, await untilEnded(server, await createBatch(server)));
  expect([...broken].sort()).toEqual([...whole].sort());
  await server.end();
}, 300_000);

test.skipIf(!hasRedis)(
  "two servers with one Redis under load, either killed at twenty random moments, one stopped for a while, and Redis four times: the same",
  async () => {
    const own = await mkdtemp(join(tmpdir(), "bitnet-kill-"));
    const redis = await startRedis(own);
    const start = () => startServerProcess(["--redis", redis.url, "--data", join(own, "data")]);
    const servers = [await start(), await start()] as [ServerProcess, ServerProcess];
    const random = seededIntegers(20);
    const id = await createBatch(servers[0]);
    const progress = async () => {
      const { request_counts: counts, status } = (await (
        await servers[0].get(`/v1/batches/${id}`)
      ).json()) as Batch;
      return status === "completed" ? Number.POSITIVE_INFINITY : counts.completed + counts.failed;
    };
    let isOver = false;
    const statuses = new Set<number>();
    const client = async (at: 0 | 1) => {
      while (!isOver) {
        const body = { prompt: "Hello", max_tokens: 4, seed: statuses.size };
        const headers = { "cache-control": "no-cache" };
        // One that is killed meanwhile answers nothing.
        const answer = await servers[at].post("/v1/completions", body, headers).catch(() => null);
        if (answer !== null) statuses.add(answer.status);
        await answer?.text().catch(() => {});
      }
    };
    const clients = [client(0), client(1)];
    const holds = async (server: ServerProcess) =>
      /bitnet_num_batches 1/.test(await (await server.get("/metrics")).text());
    for (let kill = 0; kill < nKills; kill++) {
      const goal = (await progress()) + (random() % 20);
      while ((await progress()) < goal) await new Promise((resolve) => setImmediate(resolve));
      if (kill % 5 === 4) {
        await redis.kill();
        await redis.start();
      }
      const at = (random() % 2) as 0 | 1;
      if (kill === 10) {
        // It stands still, the other takes the batch over, and then it goes on as if nothing had been.
        while (!(await holds(servers[0])) && !(await holds(servers[1])))
          await new Promise((resolve) => setImmediate(resolve));
        const stopped = (await holds(servers[0])) ? 0 : 1;
        const other = stopped === 0 ? 1 : 0;
        servers[stopped].child.kill("SIGSTOP");
        while (!(await holds(servers[other]))) await new Promise((resolve) => setImmediate(resolve));
        servers[stopped].child.kill("SIGCONT");
        continue;
      }
      await servers[at].end("SIGKILL");
      servers[at] = await start();
    }
    isOver = true;
    await Promise.all(clients);
    expect([...statuses]).toEqual([200]);
    const batch = await untilEnded(servers[0], id);
    expect(batch).toMatchObject({
      status: "completed",
      request_counts: { total: nLines, completed: nLines * 0.9, failed: nLines * 0.1 },
    });
    const broken = await answers(servers[0], batch);
    const whole = await answers(servers[1], await untilEnded(servers[1], await createBatch(servers[1])));
    expect([...broken].sort()).toEqual([...whole].sort());
    for (const server of servers) await server.end();
    await redis.kill();
    await rm(own, { recursive: true, force: true });
  },
  600_000,
);

test("a data folder has one server; that of a dead one is taken over", async () => {
  const first = await startServerProcess(["--data", folder]);
  await expect(startServerProcess(["--data", folder])).rejects.toThrow(
    /another server uses this data folder/,
  );
  await first.end("SIGKILL");
  const second = await startServerProcess(["--data", folder]);
  expect(await second.end("SIGTERM")).toBe(143);
  expect(await readdir(folder)).not.toContain("lock");
});
