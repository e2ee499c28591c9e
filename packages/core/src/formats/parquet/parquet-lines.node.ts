/**
 * Rows of a Parquet file, the form in which hubs keep datasets, as lines of JSON. Decoding is hyparquet's, in a thread that can be ended: what a
 * damaged file claims of its lengths is believed there, up to loops without an end and memory without a bound.
 */
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { BitNetError } from "../../base/errors.ts";

/** What the thread sends. */
export type ParquetAnswer = { lines: string[] } | { problem: string } | { done: true };

/** Unpacked bytes of rows that lie together (a row group), which are decoded at once. */
export const maxGroupBytes: number = 2 ** 30;
/** Of a file of no size; each of its megabytes adds as much as the second number. Honest files take a small part of either. */
const [heapMiB, heapMiBPerMB, mostHeapMiB] = [256, 64, 4096];
const secondsPerMB = 10;

export interface ParquetOptions {
  /** Most characters of all lines together. */
  maxLength: number;
  /** Time to decode rows that lie together in a file of no size; default a minute. */
  patienceMs?: number;
}

/**
 * Row by row in the order of the file, some thousand lines at a time; memory holds one row group.
 * @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID.
 */
export async function* parquetLines(
  path: string,
  { maxLength, patienceMs = 60_000 }: ParquetOptions,
): AsyncGenerator<string[], void> {
  const { size } = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new BitNetError("FILE_NOT_FOUND", `${path}: cannot be read (${cause.code})`, { cause });
  });
  // Built; sources run by a test use the built one as well.
  const worker = new Worker(
    new URL("../../../dist/formats/parquet/parquet-worker.node.js", import.meta.url),
    {
      workerData: { path },
      resourceLimits: {
        maxOldGenerationSizeMb: Math.min(mostHeapMiB, heapMiB + (size / 1e6) * heapMiBPerMB),
      },
    },
  );
  const waitMs = patienceMs + (size / 1e6) * secondsPerMB * 1000;
  let length = 0;
  try {
    for (;;) {
      const answer = await nextAnswer(worker, waitMs);
      if ("done" in answer) return;
      if ("problem" in answer)
        throw invalid(path, `is no Parquet file that can be read (${answer.problem.slice(0, 200)})`);
      length += answer.lines.reduce((sum, line) => sum + line.length, 0);
      if (length > maxLength)
        throw invalid(path, `holds over ${maxLength} characters, the most that are read`);
      yield answer.lines;
      worker.postMessage("next");
    }
  } finally {
    await worker.terminate();
  }
}

/** Whatever becomes of the thread. */
async function nextAnswer(worker: Worker, waitMs: number): Promise<ParquetAnswer> {
  const stop = new AbortController();
  const { signal } = stop;
  const timer = setTimeout(() => stop.abort(), waitMs);
  try {
    return await Promise.race([
      once(worker, "message", { signal }).then(([answer]) => answer as ParquetAnswer),
      once(worker, "exit", { signal }).then((): ParquetAnswer => ({ problem: "decoding it ended" })),
    ]);
  } catch (error) {
    return { problem: problemOf(error as NodeJS.ErrnoException) };
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}

/** `once` fails with what the thread fails with. */
function problemOf({ name, code, message }: NodeJS.ErrnoException): string {
  if (name === "AbortError") return "decoding it does not come to an end";
  return code === "ERR_WORKER_OUT_OF_MEMORY" ? "its contents take more memory than its size" : message;
}

function invalid(path: string, what: string): BitNetError {
  return new BitNetError("FORMAT_INVALID", `${path}: ${what}`);
}
