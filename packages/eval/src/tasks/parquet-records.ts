/** Records of a Parquet file, the form in which hubs keep datasets. */
import { BitNetError } from "@bitnet.ts/core";
import { parquetLines } from "@bitnet.ts/core/parquet";
import type { TaskRecord } from "./task-record.ts";

/** Characters of all records, which are kept. */
const maxLength = 2 ** 30;

/**
 * @param patienceMs Time for a file of no size.
 * @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID.
 */
export async function readParquet(path: string, patienceMs?: number): Promise<TaskRecord[]> {
  const records: TaskRecord[] = [];
  for await (const lines of parquetLines(path, {
    maxLength,
    ...(patienceMs === undefined ? {} : { patienceMs }),
  }))
    for (const line of lines) {
      const fields = JSON.parse(line) as Record<string, unknown>;
      records.push({ fields, line, where: `${path}, row ${records.length + 1}` });
    }
  if (records.length === 0) throw new BitNetError("FORMAT_INVALID", `${path}: holds no item`);
  return records;
}
