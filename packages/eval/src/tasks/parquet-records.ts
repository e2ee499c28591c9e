/**
 * Records of a Parquet file, the form in which hubs keep datasets. Decoding is hyparquet's, in a thread that can be ended: what a damaged file
 * claims of its lengths is believed there, up to loops without an end and memory without a bound.
 */
import { stat } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { BitNetError } from "@bitnet.ts/core";
import type { TaskRecord } from "./task-record.ts";

/** What the thread sends. */
export type ParquetAnswer = { rows: Record<string, unknown>[] } | { problem: string };

/** Bytes of the file, and unpacked ones. */
export const maxParquetBytes: number = 2 ** 30;
/** Of a file of no size; each of its megabytes adds as much as the second number. Honest files take a small part of either. */
const [heapMiB, heapMiBPerMB, mostHeapMiB] = [256, 64, 4096];
const secondsPerMB = 10;

/**
 * @param patienceMs Time for a file of no size.
 * @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID.
 */
export async function readParquet(path: string, patienceMs = 60_000): Promise<TaskRecord[]> {
  const { size } = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new BitNetError("FILE_NOT_FOUND", `${path}: cannot be read (${cause.code})`, { cause });
  });
  const fail = (what: string): never => {
    throw new BitNetError("FORMAT_INVALID", `${path}: ${what}`);
  };
  if (size > maxParquetBytes) fail(`has ${size} bytes, expected at most ${maxParquetBytes}`);
  const answer = await answerOf(path, {
    heapMiB: Math.min(mostHeapMiB, heapMiB + (size / 1e6) * heapMiBPerMB),
    patienceMs: patienceMs + (size / 1e6) * secondsPerMB * 1000,
  });
  if ("problem" in answer)
    return fail(`is no Parquet file that can be read (${answer.problem.slice(0, 200)})`);
  if (answer.rows.length === 0) fail("holds no item");
  return answer.rows.map((fields, i) => {
    return { fields, line: JSON.stringify(fields), where: `${path}, row ${i + 1}` };
  });
}

/** Whatever becomes of the thread. */
function answerOf(path: string, limits: { heapMiB: number; patienceMs: number }): Promise<ParquetAnswer> {
  // Built; sources run by a test use the built one as well.
  const worker = new Worker(new URL("../../dist/tasks/parquet-worker.js", import.meta.url), {
    workerData: { path },
    resourceLimits: { maxOldGenerationSizeMb: limits.heapMiB },
  });
  return new Promise<ParquetAnswer>((resolve) => {
    const fail = (problem: string) => resolve({ problem });
    const timer = setTimeout(fail, limits.patienceMs, "decoding it does not come to an end");
    worker.on("message", resolve);
    worker.on("error", (error: NodeJS.ErrnoException) =>
      fail(
        error.code === "ERR_WORKER_OUT_OF_MEMORY"
          ? "its contents take more memory than its size"
          : error.message,
      ),
    );
    worker.on("exit", () => {
      clearTimeout(timer);
      fail("decoding it ended");
    });
  }).finally(() => worker.terminate());
}
