import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createLocalLeases, type Held, type Leases } from "../store/leases.ts";
import type { BatchRecord } from "./batch-record.ts";
import { BatchRunner, type RunnerParts } from "./batch-runner.ts";
import { BatchStore } from "./batch-store.ts";
import { FileStore } from "./file-store.ts";
import type { RunLine } from "./line-queue.ts";
import { type BatchSettings, defaultBatchSettings } from "./settings.ts";

const start = Date.UTC(2026, 0, 1);
const hour = 3600 * 1000;

let folder: string;
let time: number;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-runner-"));
  time = start;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const answer = (body: object) => ({
  status: 200,
  requestId: "req_1",
  body: { echo: body, usage: { prompt_tokens: 2, completion_tokens: 3 } },
});

async function world(runLine: RunLine, changes: { settings?: Partial<BatchSettings>; leases?: Leases } = {}) {
  const now = () => time;
  const files = await FileStore.open(folder, now);
  const batches = await BatchStore.open(folder, now);
  const log: string[] = [];
  const parts: RunnerParts = {
    batches,
    files,
    leases: changes.leases ?? createLocalLeases(),
    runLine,
    settings: { ...defaultBatchSettings, parallel: 2, ...changes.settings },
    limits: { maxLineBytes: 1000, defaultOutputTokens: 10, maxOutputTokens: 100 },
    now,
    log: (line) => log.push(line),
  };
  const runner = new BatchRunner(parts);
  const create = async (ids: readonly string[], tenant = "t") => {
    const record: BatchRecord = {
      id: batches.newId(),
      tenant,
      endpoint: "/v1/completions",
      input_file_id: files.newId(),
      completion_window: "24h",
      metadata: null,
      created_at: time / 1000,
      expires_at: time / 1000 + 24 * 3600,
      output_file_id: files.newId(),
      error_file_id: files.newId(),
      output_expires_after: null,
      status: "validating",
      errors: [],
      tokens: 0,
      counts: { total: 0, completed: 0, failed: 0 },
      usage: { input_tokens: 0, output_tokens: 0, cached_tokens: 0 },
      files: { output: false, error: false },
    };
    const input = await files.prepare(tenant, record.input_file_id);
    const line = (custom_id: string) =>
      JSON.stringify({ custom_id, method: "POST", url: "/v1/completions", body: { id: custom_id } });
    await writeFile(input, ids.map((id) => `${line(id)}\n`).join(""));
    await batches.create(record, input);
    return record;
  };
  const find = async ({ tenant, id }: BatchRecord) => (await batches.find(tenant, id)) as BatchRecord;
  const lines = async ({ tenant, output_file_id, error_file_id }: BatchRecord) => {
    const read = async (id: string) => {
      const text = await readFile(files.contentPath(tenant, id), "utf8").catch(() => "");
      return text
        .split("\n")
        .filter((each) => each !== "")
        .map((each) => JSON.parse(each) as { custom_id: string; error: { code: string } | null });
    };
    return { output: await read(output_file_id), errors: await read(error_file_id) };
  };
  /** Passes time until the batch is as wanted. */
  const until = async (record: BatchRecord, isReached: (found: BatchRecord) => boolean) => {
    for (let i = 0; i < 1000; i++) {
      await runner.tick();
      const found = await find(record);
      if (isReached(found)) return found;
      await new Promise((resolve) => setImmediate(resolve));
      time += 1000;
    }
    throw new Error(`the batch stays ${JSON.stringify(await find(record))}; ${log.join("; ")}`);
  };
  return { runner, batches, files, create, find, lines, until, log };
}

const isCompleted = ({ status }: BatchRecord) => status === "completed";
/** Waits until it is ended. */
const hang: RunLine = ({ signal }) =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve("again"), { once: true }));

it("answers every line and counts what it took", async () => {
  const { create, until, lines, batches, find } = await world(async ({ body }) => answer(body));
  const record = await create(["a", "b", "c"]);
  const done = await until(record, isCompleted);
  expect(done).toMatchObject({
    counts: { total: 3, completed: 3, failed: 0 },
    usage: { input_tokens: 6, output_tokens: 9 },
    files: { output: true, error: false },
  });
  expect((await lines(record)).output.map(({ custom_id }) => custom_id).sort()).toEqual(["a", "b", "c"]);
  expect([await batches.active(), (await find(record)).status]).toEqual([[], "completed"]);
});

it("a batch that is not done after a day expires, and its open lines say so", async () => {
  const { runner, create, until, lines } = await world((request) =>
    request.body.id === "quick" ? Promise.resolve(answer({})) : hang(request),
  );
  const record = await create(["quick", "slow 1", "slow 2", "slow 3"]);
  await until(record, ({ counts }) => counts.completed === 1);
  time = start + 24 * hour - 1000;
  await runner.tick();
  expect(runner.stats).toEqual({ batches: 1, lines: 2 });
  time = start + 24 * hour;
  const done = await until(record, ({ status }) => status === "expired");
  expect(done).toMatchObject({ counts: { completed: 1, failed: 3 }, expired_at: time / 1000 });
  const { output, errors } = await lines(record);
  expect([output.length, errors.map(({ error }) => error?.code)]).toEqual([
    1,
    Array(3).fill("batch_expired"),
  ]);
  expect(runner.stats).toEqual({ batches: 0, lines: 0 });
});

it("lines that cannot be answered now are tried again, and only those", async () => {
  const asked: unknown[] = [];
  let nBusy = 3;
  const { create, until, lines } = await world(async ({ body }) => {
    asked.push(body.id);
    return nBusy-- > 0 ? "again" : answer(body);
  });
  const record = await create(["a", "b", "c"]);
  await until(record, isCompleted);
  expect(asked).toHaveLength(6);
  expect((await lines(record)).output).toHaveLength(3);
});

it("batches take turns", async () => {
  const order: string[] = [];
  const { create, until } = await world(
    async ({ body }) => {
      order.push(String(body.id));
      return answer(body);
    },
    { settings: { parallel: 1 } },
  );
  await create(["a1", "a2", "a3", "a4"]);
  const short = await create(["b1"], "another tenant");
  await until(short, isCompleted);
  expect(order.indexOf("b1")).toBeLessThanOrEqual(2);
});

it("the tokens of a client's open batches are limited, and come back line by line", async () => {
  let mayRun = false;
  const { create, until } = await world(async ({ body }) => (mayRun ? answer(body) : "again"), {
    settings: { maxQueuedTokens: 100 },
  });
  // Ten tokens of answer and some twenty of body, a line.
  const first = await create(["a", "b", "c"]);
  await until(first, ({ status }) => status === "in_progress");
  const refused = await until(await create(["d"]), ({ status }) => status === "failed");
  expect(refused.errors).toMatchObject([{ code: "token_limit_exceeded", line: null }]);
  const others = await create(["e"], "another tenant");
  await until(others, ({ status }) => status === "in_progress");
  mayRun = true;
  await until(first, isCompleted);
  await until(await create(["d"]), isCompleted);
});

/** Files that take a part of what is written, and then no more, while the disk is full. */
async function withDisk(test: (disk: { isFull: boolean }) => Promise<void>): Promise<void> {
  const disk = { isFull: true };
  const handle = await open(folder, "r");
  const prototype = Object.getPrototypeOf(handle) as { write: (...args: unknown[]) => Promise<unknown> };
  await handle.close();
  const write = prototype.write;
  prototype.write = async function (this: { write: unknown }, ...args: unknown[]) {
    if (!disk.isFull) return write.apply(this, args);
    await write.call(this, args[0], 0, 7);
    throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  };
  try {
    await test(disk);
  } finally {
    prototype.write = write;
  }
}

it("while no answer can be written, ever fewer are asked for, and it is told once a minute; a clock set back does no harm", async () => {
  let nAsked = 0;
  const world1 = await world(async ({ body }) => {
    nAsked++;
    return answer(body);
  });
  const record = await world1.create(["a", "b"]);
  const settle = async () => {
    while (world1.runner.stats.lines > 0) await new Promise((resolve) => setImmediate(resolve));
  };
  await withDisk(async (disk) => {
    for (let second = 0; second < 600; second++) {
      await world1.runner.tick();
      await settle();
      time += 1000;
    }
    // After 1, 2, 4, … 32 seconds, and then every minute, for each of the two lines.
    expect(nAsked).toBeLessThanOrEqual(2 * (6 + 10));
    expect(nAsked).toBeGreaterThan(10);
    expect(world1.log.length).toBeLessThanOrEqual(11);
    disk.isFull = false;
    time -= 3_600_000;
    await world1.runner.tick();
    await settle();
    await world1.until(record, isCompleted);
  });
  expect((await world1.lines(record)).output.length).toBe(2);
});

it("an answer that cannot be written is asked for again", async () => {
  const world1 = await world(async ({ body }) => answer(body));
  const record = await world1.create(["a", "b"]);
  await withDisk(async (disk) => {
    await world1.runner.tick();
    while (world1.log.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(world1.log[0]).toMatch(/no space left/);
    disk.isFull = false;
    await world1.until(record, isCompleted);
  });
  expect((await world1.lines(record)).output.map(({ custom_id }) => custom_id).sort()).toEqual(["a", "b"]);
});

it("puts a batch down when its lease is lost, and takes it up when it is free", async () => {
  const state = { isLost: false, isFree: true };
  const leases: Leases = {
    async acquire(): Promise<Held | null> {
      if (!state.isFree) return null;
      state.isLost = false;
      return {
        mayBeStale: true,
        get isLost() {
          return state.isLost;
        },
        async release() {},
      };
    },
  };
  let nAsked = 0;
  const { runner, create, until, lines } = await world(
    (request) =>
      nAsked++ < 2
        ? Promise.resolve(answer(request.body))
        : state.isFree && nAsked > 6
          ? Promise.resolve(answer(request.body))
          : hang(request),
    { leases },
  );
  const record = await create(["a", "b", "c", "d"]);
  await until(record, ({ counts }) => counts.completed === 2);
  Object.assign(state, { isLost: true, isFree: false });
  await runner.tick();
  await runner.tick();
  expect(runner.stats).toEqual({ batches: 0, lines: 0 });
  state.isFree = true;
  nAsked = 6;
  await until(record, isCompleted);
  expect((await lines(record)).output.map(({ custom_id }) => custom_id).sort()).toEqual(["a", "b", "c", "d"]);
});

it("what a former holder still writes after another has taken over is not there twice", async () => {
  const granting: Leases = {
    acquire: async () => ({ isLost: false, mayBeStale: true, async release() {} }),
  };
  let letGo: () => void = () => {};
  const former = await world(
    ({ body }) =>
      body.id === "b"
        ? new Promise((resolve) => {
            letGo = () => resolve(answer(body));
          })
        : Promise.resolve(answer(body)),
    { leases: granting },
  );
  const record = await former.create(["a", "b", "c"]);
  await former.until(record, ({ counts }) => counts.completed === 2);
  const later = await world(async ({ body }) => answer(body), { leases: granting });
  await later.until(record, isCompleted);
  letGo();
  await new Promise((resolve) => setImmediate(resolve));
  await former.runner.stop();
  const { output } = await later.lines(record);
  expect(output.map(({ custom_id }) => custom_id).sort()).toEqual(["a", "b", "c"]);
});

it("files expire, and go", async () => {
  const { files, runner } = await world(hang);
  const id = files.newId();
  await writeFile(await files.prepare("t", id), "x");
  await files.register({
    id,
    tenant: "t",
    bytes: 1,
    filename: "f",
    purpose: "batch",
    created_at: start / 1000,
    expires_at: start / 1000 + 3600,
  });
  expect([(await files.find("t", id))?.id, files.storedBytes]).toEqual([id, 1]);
  time += hour;
  expect(await files.find("t", id)).toBeNull();
  await runner.tick();
  expect([await files.ids("t"), files.storedBytes]).toEqual([[], 0]);
  await expect(readFile(files.contentPath("t", id))).rejects.toThrow("ENOENT");
});
