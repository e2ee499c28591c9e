/** The journal of a batch on a simulated disk, over many seeds; planted bugs are found. */
import { expect, test, vi } from "vitest";
import { type BatchPlan, current, simulateBatch } from "./simulation/simulate-batch.ts";

vi.mock("node:fs/promises", () => {
  const call =
    (name: "open" | "copyFile" | "rename" | "rm" | "link") =>
    (...args: unknown[]) => {
      if (current.disk === null) throw new Error("no disk is simulated");
      return (current.disk.module[name] as (...all: unknown[]) => unknown)(...args);
    };
  return Object.fromEntries(
    (["open", "copyFile", "rename", "rm", "link"] as const).map((name) => [name, call(name)]),
  );
});

const nSeeds = Number(process.env.BITNET_SIMULATION_SEEDS ?? 1000);

test(`every line is there exactly once, over ${nSeeds} seeds`, { timeout: 24 * 3600 * 1000 }, async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < nSeeds; seed++) {
    const { trace } = await simulateBatch(seed);
    for (const line of trace) seen.add(line.replace(/^\d+ ms: /, "").replace(/line-\d+|\d+/, "n"));
  }
  for (const what of ["kill", "power", "taken for dead", "n: no space left"]) expect(seen).toContain(what);
});

test("a seed is the same run again", async () => {
  for (const seed of [1, 2, 3, 4, 5]) expect(await simulateBatch(seed)).toEqual(await simulateBatch(seed));
});

async function firstFailure(planted: BatchPlan): Promise<string> {
  for (let seed = 0; seed < 1000; seed++) {
    try {
      await simulateBatch(seed, planted);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
  return "all seeds went well";
}

test("a planted bug is found: torn lines are not cut off", async () => {
  expect(await firstFailure({ ignoresTruncate: true })).toMatch(
    /missing, doubled or broken|has not come to an end|torn/,
  );
});

test("a planted bug is found: one that was taken for dead writes into the same file", async () => {
  expect(await firstFailure({ ignoresFence: true })).toMatch(/missing, doubled or broken|acknowledged|torn/);
});
