/**
 * The thread of parquet-lines.node.ts: decodes the file `workerData.path` row group by row group, sends a `ParquetAnswer`, waits for any message
 * before the next one, and ends after `done` or a problem.
 */
import { once } from "node:events";
import { parentPort, workerData } from "node:worker_threads";
import { asyncBufferFromFile, type Compressors, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { maxGroupBytes, type ParquetAnswer } from "./parquet-lines.node.ts";

/** Rows of one message. */
const rowsTogether = 4096;

async function* readLines(path: string): AsyncGenerator<string[]> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  let rowStart = 0;
  for (const { num_rows, total_byte_size } of metadata.row_groups) {
    const unpacked = Number(total_byte_size);
    if (!(unpacked <= maxGroupBytes)) throw new Error(tooLarge(unpacked));
    const rowEnd = rowStart + Number(num_rows);
    const rows = await parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors: bounded() });
    for (let from = 0; from < rows.length; from += rowsTogether)
      yield rows.slice(from, from + rowsTogether).map((row) => JSON.stringify(plain(row)));
    rowStart = rowEnd;
  }
}

/** What pages claim to unpack to counts, too: the metadata may say something else. */
function bounded(): Compressors {
  let left = maxGroupBytes;
  return Object.fromEntries(
    Object.entries(compressors).map(([name, unpack]) => [
      name,
      (input: Uint8Array, outputLength: number) => {
        left -= Math.max(0, outputLength);
        if (left < 0) throw new Error(tooLarge(maxGroupBytes - left));
        return unpack(input, outputLength);
      },
    ]),
  );
}

/** Parquet's 64-bit integers are BigInts; an index or a label is a number. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

function tooLarge(bytes: number): string {
  return `rows that lie together unpack to ${bytes} bytes, expected at most ${maxGroupBytes}`;
}

const send = (answer: ParquetAnswer) => parentPort?.postMessage(answer);
try {
  for await (const lines of readLines((workerData as { path: string }).path)) {
    send({ lines });
    if (parentPort !== null) await once(parentPort, "message");
  }
  send({ done: true });
} catch (error) {
  send({ problem: (error as Error).message });
}
// What failed columns leave behind does not matter any more.
parentPort?.close();
