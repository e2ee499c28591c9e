/** A server that is killed again and again while it works on a batch: every line is answered exactly once, with the text it always has. */
import { appendFile, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hasRedis, startRedis } from "./redis-process.ts";
import { seededIntegers } from "./seeded.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

const nLines = 500;
const nKills = 20;
/** Of two servers, which takes minutes: BITNET_KILLS=20 is the whole. */
const nKillsOfTwo = Number(process.env.BITNET_KILLS ?? 8);
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
async function journals(data: string): Promise<string[]> {
  const [tenant = ""] = await readdir(join(data, "batches")).catch(() => []);
  const names = tenant === "" ? [] : await readdir(join(data, "batches", tenant));
  return names
    .filter((name) => /\.(output|error)$/.test(name))
    .map((name) => join(data, "batches", tenant, name));
}

const totalSize = async (data: string) => {
  let sum = 0;
  for (const path of await journals(data)) sum += (await stat(path).catch(() => ({ size: 0 }))).size;
  return sum;
};

test("killed at twenty random moments, every line is answered exactly once", async () => {
  const random = seededIntegers(19);
  let server = await startServerProcess(["--data", folder]);
  const id = await createBatch(server);
  for (let kill = 0; kill < nKills; kill++) {
    // Answers are some 350 bytes long, so that most kills come while lines are being written, a few right after the start.
    const goal = (await totalSize(folder)) + (random() % 8000);
    while ((await totalSize(folder)) < goal) await new Promise((resolve) => setImmediate(resolve));
    await server.end("SIGKILL");
    if (kill % 3 === 0)
      for (const path of await journals(folder))
        await appendFile(path, '{"id":"batch_req_1","custom_id":"line-');
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
  `two servers with one Redis under load, whichever works killed at ${nKillsOfTwo} random moments, Redis, too, one stopped: the same`,
  async () => {
    const own = await mkdtemp(join(tmpdir(), "bitnet-kill-"));
    const data = join(own, "data");
    const redis = await startRedis(own);
    const start = () => startServerProcess(["--redis", redis.url, "--data", data, "--batch-lease", "0.6"]);
    /** Null while it comes up again. */
    const servers: (ServerProcess | null)[] = [await start(), await start()];
    const coming = new Set<Promise<void>>();
    const alive = () => servers.filter((server) => server !== null);
    const tick = () => new Promise((resolve) => setImmediate(resolve));
    const kill = async (server: ServerProcess) => {
      const at = servers.indexOf(server);
      servers[at] = null;
      await server.end("SIGKILL");
      const again = start().then((next) => {
        servers[at] = next;
        coming.delete(again);
      });
      coming.add(again);
    };
    /** The one that works on the batch, as far as can be seen. */
    const holder = async () => {
      for (const server of alive())
        if (/bitnet_num_batches 1/.test(await (await server.get("/metrics")).text())) return server;
      return null;
    };
    const untilWritten = async (bytes: number) => {
      const goal = (await totalSize(data)) + bytes;
      while ((await totalSize(data)) < goal) await tick();
    };
    let isOver = false;
    const statuses = new Set<number>();
    const client = async (at: number) => {
      for (let i = 0; !isOver; i++) {
        const body = { prompt: "Hello", max_tokens: 2, seed: i };
        // One that is killed meanwhile answers nothing.
        const answer = await servers[at]
          ?.post("/v1/completions", body, { "cache-control": "no-cache" })
          .catch(() => null);
        if (answer) statuses.add(answer.status);
        await answer?.text().catch(() => {});
        await tick();
      }
    };
    const random = seededIntegers(20);
    const id = await createBatch(servers[0] as ServerProcess);
    const clients = [client(0), client(1)];
    for (let n = 0; n < nKillsOfTwo; n++) {
      await untilWritten(random() % 4000);
      if (n % 5 === 4) {
        await redis.kill();
        await redis.start();
        await untilWritten(1);
      }
      if (n === nKillsOfTwo >> 1) {
        // It stands still, the other takes the batch over, and then it goes on as if nothing had been.
        await Promise.all(coming);
        let stopped = await holder();
        while (stopped === null) stopped = await holder();
        stopped.child.kill("SIGSTOP");
        await untilWritten(1500);
        stopped.child.kill("SIGCONT");
        await untilWritten(1500);
      }
      const victim = (await holder()) ?? alive()[random() % alive().length];
      if (victim !== undefined) await kill(victim);
      while (alive().length === 0) await Promise.race(coming);
    }
    await Promise.all(coming);
    const [server, other] = alive() as [ServerProcess, ServerProcess];
    expect(((await (await server.get(`/v1/batches/${id}`)).json()) as Batch).status).toBe("in_progress");
    isOver = true;
    await Promise.all(clients);
    expect([...statuses]).toEqual([200]);
    const batch = await untilEnded(server, id);
    expect(batch).toMatchObject({
      status: "completed",
      request_counts: { total: nLines, completed: nLines * 0.9, failed: nLines * 0.1 },
    });
    const broken = await answers(server, batch);
    const whole = await answers(other, await untilEnded(other, await createBatch(other)));
    expect([...broken].sort()).toEqual([...whole].sort());
    for (const each of [server, other]) await each.end();
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
