/**
 * Several servers on one data folder, and their Redis, work on batches: the server's own runner, stores, journals and leases. Servers are killed
 * and frozen, the disk stalls and fails, Redis is away, forgets, and lies: it grants a lease that another holds, and takes or leaves what it
 * should not. Rules: every line stands exactly once in the files of its batch, as soon as the batch is shown as ended and for ever; every batch
 * ends; nothing is left behind.
 */
import { type BatchRecord, isEnded } from "#server/batches/batch-record.ts";
import { BatchRunner } from "#server/batches/batch-runner.ts";
import { BatchStore } from "#server/batches/batch-store.ts";
import { FileStore } from "#server/batches/file-store.ts";
import type { RunLine } from "#server/batches/line-queue.ts";
import { defaultBatchSettings } from "#server/batches/settings.ts";
import type { Leases } from "#server/store/leases.ts";
import type { RedisLink } from "#server/store/redis.ts";
import { createRedisLeases } from "#server/store/redis-leases.ts";
import { Chance } from "./chance.ts";
import { SimulatedClock } from "./clock.ts";
import { type SimulatedDisk as Disk, running, SimulatedDisk, type SimulatedProcess } from "./disk.ts";
import { SimulatedRedis } from "./redis.ts";

const folder = "/data";
const tenant = "t";
/** From then on nothing fails any more, and everything has to come to its end. */
const troubleMs = 30_000;
const lifeMs = troubleMs + 120_000;
/** Longer than what has been cut off is left lying. */
const sweptMs = 25 * 3600 * 1000;

/** Lets the mocked modules find the disk of the run. */
export const current: { disk: Disk | null } = { disk: null };

/** Bugs that a test plants. */
export interface BatchesPlan {
  changeLeases?: (leases: Leases) => Leases;
}

interface Watched {
  readonly record: BatchRecord;
  readonly ids: readonly string[];
  /** What was seen when it was first shown as ended. */
  seen: string | null;
}

/** @throws Error that names the seed and the rule that was broken. */
export async function simulateBatches(seed: number, planted: BatchesPlan = {}): Promise<{ trace: string[] }> {
  const clock = new SimulatedClock();
  const chance = new Chance(seed);
  const disk = new SimulatedDisk(clock, chance, 0);
  const redis = new SimulatedRedis(clock, new Chance(seed ^ 0x2a2a));
  const begin = clock.now;
  const trace: string[] = [];
  const problems: string[] = [];
  const note = (text: string) => trace.push(`${clock.now - begin} ms: ${text}`);
  const violate = (text: string) => {
    note(text);
    problems.push(text);
  };
  const isTroubled = () => clock.now - begin < troubleMs;
  const watched: Watched[] = [];
  let isDone = false;
  /** All has ended; whatever still runs somewhere gets time to do harm. */
  let isQuiet = false;
  const isOver = () => isDone || problems.length > 0 || isQuiet || clock.now - begin >= lifeMs;
  const watcher: SimulatedProcess = { isDead: false, isWatcher: true };
  const servers: { name: string; process: SimulatedProcess }[] = [];

  /** Whoever answers a line says something else about it. */
  const answering =
    (name: string, process: SimulatedProcess): RunLine =>
    async ({ body, signal }) => {
      await clock.sleep(chance.int(5, 700));
      if (process.isDead) await new Promise(() => {});
      if (signal.aborted || chance.oneIn(20)) return "again";
      const answer = { line: body.line, by: `${name}-${chance.int(0, 1e6)}` };
      return { status: chance.oneIn(6) ? 400 : 200, requestId: "r", body: answer };
    };

  const linkOf = (process: SimulatedProcess): RedisLink => {
    const link = redis.link();
    return {
      ...link,
      async ask(act) {
        while ((process.frozenUntil ?? 0) > clock.now)
          await clock.sleep((process.frozenUntil ?? 0) - clock.now);
        if (process.isDead) await new Promise(() => {});
        return link.ask(act);
      },
    };
  };

  const serve = async (name: string, process: SimulatedProcess) => {
    const now = () => clock.now;
    const files = await FileStore.open(folder, now);
    const batches = await BatchStore.open(folder, now);
    const leases = createRedisLeases(linkOf(process), 6000);
    const runner = new BatchRunner({
      ...{ batches, files, now, leases: planted.changeLeases?.(leases) ?? leases },
      runLine: answering(name, process),
      settings: { ...defaultBatchSettings, parallel: 3 },
      limits: { maxLineBytes: 1000, defaultOutputTokens: 10, maxOutputTokens: 100 },
      log: (line) => note(`${name}: ${line}`),
    });
    while (!process.isDead && !isOver()) {
      await clock.sleep(1000);
      if (!process.isDead && (process.frozenUntil ?? 0) <= clock.now) void runner.tick();
    }
  };

  const keepUp = async (at: number) => {
    for (let life = 0; !isOver(); life++) {
      const process: SimulatedProcess = { isDead: false };
      const name = `s${at}.${life}`;
      servers[at] = { name, process };
      await running
        .run(process, () => serve(name, process))
        .catch((error) => {
          process.isDead = true;
          note(`${name} ends: ${error instanceof Error ? error.message : error}`);
        });
      await clock.sleep(chance.int(200, 3000));
    }
  };

  const fate = async () => {
    while (isTroubled() && !isOver()) {
      await clock.sleep(chance.int(300, 5000));
      const victim = servers[chance.int(0, servers.length - 1)];
      const what = chance.one("kill", "kill", "freeze", "freeze", "away", "forget");
      if (what === "kill" && victim !== undefined) victim.process.isDead = true;
      if (what === "freeze" && victim !== undefined)
        victim.process.frozenUntil = clock.now + chance.int(500, 14_000);
      note(what === "kill" || what === "freeze" ? `${what} ${victim?.name}` : what);
      if (what !== "away" && what !== "forget") continue;
      redis.isAway = true;
      if (what === "forget") redis.forget();
      await clock.sleep(chance.int(100, 8000));
      redis.isAway = false;
    }
    Object.assign(redis, { lieEvery: 0, isAway: false });
    disk.failEvery = 0;
    note("nothing fails any more");
  };

  const create = async () => {
    const now = () => clock.now;
    const files = await FileStore.open(folder, now);
    const batches = await BatchStore.open(folder, now);
    for (let n = chance.int(1, 2); n > 0; n--) {
      const seconds = Math.floor(clock.now / 1000);
      const ids = Array.from({ length: chance.int(2, 24) }, (_, i) => `line-${i}`);
      const record: BatchRecord = {
        ...{ id: batches.newId(), tenant, endpoint: "/v1/completions", input_file_id: files.newId() },
        ...{ completion_window: "24h", metadata: null, created_at: seconds },
        expires_at: seconds + (chance.oneIn(5) ? 20 : 24 * 3600),
        ...{ output_file_id: files.newId(), error_file_id: files.newId(), output_expires_after: null },
        ...{ status: "validating", errors: [], tokens: 0, files: { output: false, error: false } },
        counts: { total: 0, completed: 0, failed: 0 },
        usage: { input_tokens: 0, output_tokens: 0, cached_tokens: 0 },
      };
      const input = await files.prepare(tenant, record.input_file_id);
      const lines = ids.map((id) =>
        JSON.stringify({ custom_id: id, method: "POST", url: "/v1/completions", body: { line: id } }),
      );
      await disk.module.writeFile(input, `${lines.join("\n")}\n`);
      await batches.create(record, input);
      await disk.module.rm(input);
      watched.push({ record, ids, seen: null });
      if (chance.oneIn(5))
        void clock
          .sleep(chance.int(500, 15_000))
          .then(() => void batches.requestCancel(record).catch(() => {}));
    }
    return { files, batches };
  };

  /** What a client sees of a batch that has ended. */
  const look = async (each: Watched, files: FileStore, batches: BatchStore) => {
    const record = await batches.find(tenant, each.record.id);
    if (record === null) return violate("the record of a batch is gone");
    if (!isEnded(record)) {
      if (each.seen !== null) violate(`a batch that had ended is shown as ${record.status}`);
      return;
    }
    const texts = await Promise.all(
      (["output", "error"] as const).map(async (kind) => {
        if (!record.files[kind]) return "";
        const id = kind === "output" ? record.output_file_id : record.error_file_id;
        const file = await files.find(tenant, id);
        const text = disk.textOf(files.contentPath(tenant, id));
        if (file?.bytes !== Buffer.byteLength(text)) violate(`the ${kind} file is not what its record says`);
        return text;
      }),
    );
    const seen = JSON.stringify([record, texts]);
    if (each.seen !== null && each.seen !== seen) violate("what was shown of an ended batch has changed");
    if (each.seen === null) checkLines(each, record, texts);
    each.seen = seen;
  };

  const checkLines = ({ ids }: Watched, record: BatchRecord, texts: readonly string[]) => {
    note(`${record.status}: ${JSON.stringify(record.counts)}`);
    const lines = texts.map((text) => text.split("\n").slice(0, -1));
    const found = lines.flat().map((line) => {
      const { custom_id, response } = JSON.parse(line) as {
        custom_id: string;
        response: { body: { line: string } } | null;
      };
      return response === null || response.body.line === custom_id ? custom_id : `${custom_id} of another`;
    });
    if (found.toSorted().join() !== ids.toSorted().join())
      violate(`lines are missing, doubled or mixed up: ${found.join(", ")}`);
    const { total, completed, failed } = record.counts;
    if (`${[total, completed, failed]}` !== `${[ids.length, lines[0]?.length, lines[1]?.length]}`)
      violate(`counts are ${[total, completed, failed]}, lines ${[lines[0]?.length, lines[1]?.length]}`);
    if (record.status === "failed") violate("a batch has failed");
  };

  const watch = async ({ files, batches }: { files: FileStore; batches: BatchStore }) => {
    while (!isOver()) {
      await clock.sleep(150);
      for (const each of watched) await look(each, files, batches);
      const haveEnded = !isTroubled() && watched.every(({ seen }) => seen !== null);
      if (!haveEnded || (await batches.active()).length > 0) continue;
      await clock.sleep(20_000);
      isQuiet = true;
      clock.now += sweptMs;
      for (const each of watched) await look(each, files, batches);
      await batches.sweep();
      await files.sweep();
      const left = disk
        .names()
        .filter((name) => !/\/[a-z]+[-_][0-9a-f]{30}\.(json|bin|decided|ended)$/.test(name));
      if (left.length > 0) violate(`left behind: ${left.join(", ")}`);
      isDone = true;
    }
    if (isDone || problems.length > 0) return;
    const shown = (await batches.active()).map(({ id, status, counts }) =>
      JSON.stringify([id, status, counts]),
    );
    violate(`a batch has not come to its end: ${shown.join(", ")}; ${disk.names().join(" ")}`);
  };

  const restore = clock.install(seed);
  current.disk = disk;
  try {
    void running.run(watcher, async () => {
      const stores = await create();
      disk.failEvery = chance.one(0, 0, 150);
      redis.lieEvery = chance.one(0, 3, 12);
      for (let at = chance.int(1, 2); at >= 0; at--) void keepUp(at);
      void fate();
      void watch(stores);
    });
    await clock.run(() => isDone || problems.length > 0);
  } finally {
    restore();
    current.disk = null;
  }
  if (problems.length > 0)
    throw new Error([`batches seed ${seed}: ${problems[0]}`, ...trace.slice(-40)].join("\n  "));
  return { trace };
}
