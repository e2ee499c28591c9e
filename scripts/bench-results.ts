/** The results of the benches as they lie in bench/results. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { BenchResult, Cell } from "../bench/harness/result.ts";

/** Seen from build/scripts. */
export const repository = resolve(import.meta.dirname, "..", "..");

/**
 * null when that bench has not been run.
 * @throws Error for the result of a quick run, whose numbers mean nothing.
 */
export function readResult(name: string): BenchResult | null {
  const path = join(repository, "bench", "results", `${name}.json`);
  if (!existsSync(path)) return null;
  const result = JSON.parse(readFileSync(path, "utf8")) as BenchResult;
  if (result.quick) throw new Error(`${path} comes from a quick run; its numbers mean nothing`);
  return result;
}

/** NaN for a cell without a number. */
export function numberIn(cell: Cell | undefined): number {
  return typeof cell === "number" ? cell : Number.NaN;
}
