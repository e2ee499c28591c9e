/**
 * Every reader of files against damaged ones, the same ones every time: the result is a value or a BitNetError, never another exception, a hang
 * or memory out of proportion. BITNET_FUZZ=n runs n times as many; BITNET_FUZZ_SEED chooses others. A mutant that fails is left in the folder
 * for temporary files; its cause becomes one of the fixed cases.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fileReaders } from "./fuzz/file-readers.ts";
import { modelReaders } from "./fuzz/model-readers.ts";
import type { Files, FuzzedReader } from "./fuzz/reader.ts";
import { serverReaders } from "./fuzz/server-readers.ts";
import { stateReaders } from "./fuzz/state-readers.ts";
import { watchAllocations, watchProgress } from "./fuzz/watch.ts";
import { seededIntegers } from "./seeded.ts";

const times = Number(process.env.BITNET_FUZZ ?? 1);
const seed = Number(process.env.BITNET_FUZZ_SEED ?? 1);
/** The inputs take under a megabyte, and the largest table that does not depend on them half of one. */
const largestBytes = 64 * 2 ** 20;
const longestMessage = 20_000;

let folder = "";
let progress: ReturnType<typeof watchProgress>;
let allocations: ReturnType<typeof watchAllocations>;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-fuzz-"));
  progress = watchProgress();
  allocations = watchAllocations();
});
afterAll(async () => {
  allocations.stop();
  await progress.stop();
  rmSync(folder, { recursive: true, force: true });
});

type Outcome = "read" | "refused";

async function tryReading({ read }: FuzzedReader, files: Files): Promise<Outcome> {
  const place = mkdtempSync(join(folder, "mutant-"));
  allocations.largest = 0;
  const outcome = await outcomeOf(() => read(files, place));
  rmSync(place, { recursive: true, force: true });
  if (allocations.largest > largestBytes)
    throw new Error(`${allocations.largest} bytes were asked for at once`);
  return outcome;
}

async function outcomeOf(read: () => Promise<void> | void): Promise<Outcome> {
  try {
    await read();
    return "read";
  } catch (error) {
    const isOurs = error instanceof BitNetError && error.code !== "INTERNAL";
    if (isOurs && error.message.length < longestMessage) return "refused";
    throw error;
  }
}

/** Where a mutant that fails can be looked at. */
function keep(files: Files, label: string): string {
  const place = join(tmpdir(), label.replaceAll(/\W+/g, "-"));
  mkdirSync(place, { recursive: true });
  for (const [name, bytes] of files) writeFileSync(join(place, basename(name)), bytes);
  return place;
}

describe.each([...modelReaders, ...fileReaders, ...serverReaders, ...stateReaders])(
  "$name",
  { timeout: 300_000 * Math.max(1, times) },
  (reader) => {
    it("reads damaged files or refuses them", async () => {
      const tally: Record<Outcome, number> = { read: 0, refused: 0 };
      for (let i = 0; i < reader.rounds * times; i++) {
        // Each mutant by itself, so that one can be had again alone.
        const random = seededIntegers(Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b));
        for (let warm = 0; warm < 8; warm++) random();
        const files = reader.mutant(random);
        const label = `${reader.name} ${i} of seed ${seed}`;
        progress.begin(label);
        try {
          tally[await tryReading(reader, files)]++;
        } catch (error) {
          throw new Error(`mutant ${label}, kept in ${keep(files, label)}, ended in ${String(error)}`, {
            cause: error,
          });
        }
      }
      // Both must occur, or the mutants test little.
      expect(tally.read).toBeGreaterThan(0);
      if (reader.takesAnything !== true) expect(tally.refused).toBeGreaterThan(0);
    });
  },
);
