/** The thread of parquet-records.ts: decodes the file `workerData.path`, sends a `ParquetAnswer`, and ends. */
import { parentPort, workerData } from "node:worker_threads";
import { asyncBufferFromFile, type Compressors, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { maxParquetBytes, type ParquetAnswer } from "./parquet-records.ts";

async function readRows(path: string): Promise<ParquetAnswer> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file);
  const unpacked = metadata.row_groups.reduce((sum, group) => sum + Number(group.total_byte_size), 0);
  if (!(unpacked <= maxParquetBytes)) return { problem: tooLarge(unpacked) };
  const rows = await parquetReadObjects({ file, metadata, compressors: bounded() });
  return { rows: rows.map((row) => plain(row) as Record<string, unknown>) };
}

/** What pages claim to unpack to counts, too: the metadata may say something else. */
function bounded(): Compressors {
  let left = maxParquetBytes;
  return Object.fromEntries(
    Object.entries(compressors).map(([name, unpack]) => [
      name,
      (input: Uint8Array, outputLength: number) => {
        left -= Math.max(0, outputLength);
        if (left < 0) throw new Error(tooLarge(maxParquetBytes - left));
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
  return `unpacks to ${bytes} bytes, expected at most ${maxParquetBytes}`;
}

const { path } = workerData as { path: string };
parentPort?.postMessage(
  await readRows(path).catch((error: unknown): ParquetAnswer => ({ problem: (error as Error).message })),
);
