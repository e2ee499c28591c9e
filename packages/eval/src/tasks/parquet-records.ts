/** Records of a Parquet file, the form in which hubs keep datasets. Decoding is hyparquet's. */
import { stat } from "node:fs/promises";
import { BitNetError } from "@bitnet.ts/core";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import type { TaskRecord } from "./task-record.ts";

/** Unpacked bytes of a file, and bytes of the file itself, at most. */
const maxBytes = 2 ** 30;

/** @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID. */
export async function readParquet(path: string): Promise<TaskRecord[]> {
  const { size } = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new BitNetError("FILE_NOT_FOUND", `${path}: cannot be read (${cause.code})`, { cause });
  });
  if (size > maxBytes) return tooLarge(path, size);
  let rows: Record<string, unknown>[];
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const unpacked = metadata.row_groups.reduce((sum, group) => sum + Number(group.total_byte_size), 0);
    if (!(unpacked <= maxBytes)) return tooLarge(path, unpacked);
    rows = await parquetReadObjects({ file, metadata, compressors });
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    const why = (cause as Error).message.slice(0, 200);
    throw new BitNetError("FORMAT_INVALID", `${path}: is no Parquet file that can be read (${why})`, {
      cause,
    });
  }
  if (rows.length === 0) throw new BitNetError("FORMAT_INVALID", `${path}: holds no item`);
  return rows.map((row, i) => {
    const fields = plain(row) as Record<string, unknown>;
    return { fields, line: JSON.stringify(fields), where: `${path}, row ${i + 1}` };
  });
}

/** Parquet's 64-bit integers are BigInts; an index or a label is a number. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

function tooLarge(path: string, bytes: number): never {
  throw new BitNetError("FORMAT_INVALID", `${path}: unpacks to ${bytes} bytes, expected at most ${maxBytes}`);
}
