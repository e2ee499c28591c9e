/**
 * A batch on a simulated disk: processes that take the lines which the journal lacks, answer them and append, and are killed, lose power,
 * or are taken for dead and write on. Every line has to be there exactly once in the end.
 */
import { Journal } from "#server/batches/journal.ts";
import { Chance } from "./chance.ts";
import { SimulatedClock } from "./clock.ts";
import { type SimulatedDisk as Disk, SimulatedDisk, type SimulatedProcess } from "./disk.ts";

const path = "/batch/output.jsonl";
/** A journal syncs within a fifth of a second; the disk may take two. */
const unsyncedMs = 200 + 2 * 2000 + 100;

/** Lets the mocked module find the disk of the run. */
export const current: { disk: Disk | null } = { disk: null };

export interface BatchPlan {
  ignoresTruncate?: boolean;
  ignoresFence?: boolean;
}

/** @throws Error that names the seed and the rule that was broken. */
export async function simulateBatch(seed: number, planted: BatchPlan = {}): Promise<{ trace: string[] }> {
  const clock = new SimulatedClock();
  const chance = new Chance(seed);
  const disk = new SimulatedDisk(clock, chance, chance.one(0, 0, 40));
  disk.ignoresTruncate = planted.ignoresTruncate === true;
  const ids = Array.from({ length: chance.int(3, 24) }, (_, i) => `line-${i}`);
  const crashes = Array.from({ length: chance.int(0, 3) }, () => ({
    afterMs: chance.int(1, 600),
    kind: chance.one("kill", "power", "taken for dead"),
  }));
  const acknowledged = new Map<string, number>();
  const trace: string[] = [];
  const problems: string[] = [];
  const note = (text: string) => trace.push(`${clock.now - 1_000_000} ms: ${text}`);
  let isDone = false;
  /** One that was taken for dead while it opened the file may take its name from the other: then both do all that is left. */
  let isLoose = false;
  let nLives = 0;
  const opened = new Set<SimulatedProcess>();

  const work = async (owner: SimulatedProcess, journal: Journal, queue: string[]) => {
    for (let id = queue.shift(); id !== undefined && !owner.isDead; id = queue.shift()) {
      await clock.sleep(chance.int(1, 60));
      try {
        await journal.append(id, JSON.stringify({ id, text: "é".repeat(chance.int(0, 120)) }));
        // What one says that was taken for dead counts for nobody.
        if (disk.process === owner) acknowledged.set(id, clock.now);
      } catch (error) {
        note(`${id}: ${error instanceof Error ? error.message : error}`);
        return;
      }
    }
  };
  const live = async (owner: SimulatedProcess): Promise<boolean> => {
    disk.process = owner;
    const idOf = (line: string) => {
      try {
        return (JSON.parse(line) as { id: string }).id;
      } catch {
        return null;
      }
    };
    const fence = planted.ignoresFence === true ? null : `${path}.${nLives++}`;
    const journal = await Journal.open(path, { idOf, fence });
    opened.add(owner);
    for (const id of mustBeThere)
      if (!isLoose && !journal.ids.has(id)) problems.push(`${id} was acknowledged and is gone`);
    const queue = ids.filter((id) => !journal.ids.has(id));
    note(`${queue.length} lines are left`);
    await Promise.all(Array.from({ length: chance.int(1, 3) }, () => work(owner, journal, queue)));
    await journal.close();
    return ids.every((id) => journal.ids.has(id));
  };
  let mustBeThere: string[] = [];

  const restore = clock.install(seed);
  current.disk = disk;
  try {
    void (async () => {
      for (let life = 0; life < 200 && !isDone; life++) {
        const owner = { isDead: false };
        const crash = crashes[life];
        const living = live(owner).catch((error) => {
          note(`the process ends: ${error instanceof Error ? error.message : error}`);
          return false;
        });
        const dying = crash === undefined ? null : clock.sleep(crash.afterMs).then(() => "crash" as const);
        const end = await (dying === null ? living : Promise.race([living, dying]));
        if (end !== "crash") {
          isDone = end;
          continue;
        }
        note(`${crash?.kind}`);
        const isPower = crash?.kind === "power";
        if (crash?.kind === "taken for dead" && !opened.has(owner)) isLoose = true;
        owner.isDead = crash?.kind !== "taken for dead";
        if (isPower) disk.losePower();
        for (const [id, at] of acknowledged)
          if (isPower && clock.now - at <= unsyncedMs) acknowledged.delete(id);
        mustBeThere = [...acknowledged.keys()];
      }
    })();
    await clock.run(() => problems.length > 0);
  } finally {
    restore();
    current.disk = null;
  }
  if (!isDone) problems.push("the batch has not come to an end");
  const lines = disk.textOf(path).split("\n");
  // What the other has not cut off yet, the next to open the file will.
  if (lines.pop() !== "" && !isLoose) problems.push("the last line is torn");
  const found = lines.map((line) => {
    try {
      return (JSON.parse(line) as { id: string }).id;
    } catch {
      return `no line: ${line.slice(0, 40)}`;
    }
  });
  const wanted = isLoose ? ids.filter((id) => found.includes(id)) : ids;
  if (found.toSorted().join() !== wanted.toSorted().join())
    problems.push(`lines are missing, doubled or broken: ${found.join(", ")}`);
  if (problems.length > 0)
    throw new Error([`batch seed ${seed}: ${problems[0]}`, ...trace.slice(-40)].join("\n  "));
  return { trace };
}
