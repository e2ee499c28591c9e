/** Batches in the hands of several servers that are killed and frozen, with a Redis that fails and lies, over many seeds; planted bugs are found. */
import { afterEach, expect, test, vi } from "vitest";
import { BatchStore } from "#server/batches/batch-store.ts";
import { Journal } from "#server/batches/journal.ts";
import { type BatchesPlan, current, simulateBatches } from "./simulation/simulate-batches.ts";

vi.mock("node:fs/promises", () => {
  const call =
    (name: keyof NonNullable<typeof current.disk>["module"]) =>
    (...args: unknown[]) => {
      if (current.disk === null) throw new Error("no disk is simulated");
      return (current.disk.module[name] as (...all: unknown[]) => unknown)(...args);
    };
  const names = [
    ...(["open", "copyFile", "rename", "rm", "link", "mkdir", "readdir", "readFile"] as const),
    ...(["writeFile", "stat", "unlink"] as const),
  ];
  return Object.fromEntries(names.map((name) => [name, call(name)]));
});
vi.mock("node:fs", async (original) => ({
  ...(await original<typeof import("node:fs")>()),
  createReadStream: (path: string) => current.disk?.createReadStream(path),
}));

const nSeeds = Number(process.env.BITNET_SIMULATION_SEEDS ?? 60);
const from = Number(process.env.BITNET_SIMULATION_FROM ?? 0);
afterEach(() => vi.restoreAllMocks());

test(`every line is there exactly once, over ${nSeeds} seeds`, { timeout: 24 * 3600 * 1000 }, async () => {
  const seen = new Set<string>();
  for (let seed = from; seed < from + nSeeds; seed++) {
    const { trace } = await simulateBatches(seed);
    for (const line of trace) seen.add(line.replace(/^\d+ ms: /, "").replace(/[: ].*/, ""));
  }
  for (const what of ["kill", "freeze", "away", "forget", "completed", "cancelled", "expired"])
    expect(seen).toContain(what);
});

test("a seed is the same run again", async () => {
  const plain = ({ trace }: { trace: string[] }) =>
    trace.map((line) => line.replaceAll(/[0-9a-f]{12,}/g, "id"));
  for (const seed of [1, 2, 3])
    expect(plain(await simulateBatches(seed))).toEqual(plain(await simulateBatches(seed)));
});

async function firstFailure(planted: BatchesPlan = {}): Promise<string> {
  for (let seed = 0; seed < 300; seed++) {
    try {
      await simulateBatches(seed, planted);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
  return "all seeds went well";
}

test("a planted bug is found: whoever takes a batch over goes on in the same journal", async () => {
  const changeLeases: BatchesPlan["changeLeases"] = (leases) => ({
    async acquire(name) {
      const held = await leases.acquire(name);
      return held === null
        ? null
        : {
            mayBeStale: false,
            get isLost() {
              return held.isLost;
            },
            release: () => held.release(),
          };
    },
  });
  expect(await firstFailure({ changeLeases })).toMatch(/missing, doubled|has changed|not what its record/);
});

test("a planted bug is found: how a batch ends is decided anew by each that ends it", async () => {
  const { decide } = BatchStore.prototype;
  vi.spyOn(BatchStore.prototype, "decide").mockImplementation(async function (
    this: BatchStore,
    record,
    journals,
  ) {
    const end = await decide.call(this, record, journals);
    return end === null ? null : { ...end, record };
  });
  vi.spyOn(BatchStore.prototype, "end").mockImplementation(async function (this: BatchStore, { record }) {
    await this.save(record);
    await this.settle(record);
  });
  expect(await firstFailure()).toMatch(/has changed|counts are|missing, doubled|is shown as/);
});

test("a planted bug is found: now and then a line is taken for written that is not", async () => {
  const { append } = Journal.prototype;
  let n = 0;
  vi.spyOn(Journal.prototype, "append").mockImplementation(async function (this: Journal, id, line) {
    if (n++ % 50 !== 49) await append.call(this, id, line);
  });
  expect(await firstFailure()).toMatch(/missing, doubled|not come to its end/);
});

test("leases that everybody gets do no harm, only double work", async () => {
  const changeLeases: BatchesPlan["changeLeases"] = () => ({
    acquire: async () => ({ isLost: false, mayBeStale: true, release: async () => {} }),
  });
  for (let seed = 0; seed < 20; seed++) await simulateBatches(seed, { changeLeases });
});
