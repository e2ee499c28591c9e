/** Reads the records of a task's file: JSONL, plain or gzipped, or Parquet; every bad line by its number. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { BitNetError } from "@bitnet.ts/core";
import { unreadableFile } from "@bitnet.ts/core/node";
import { readParquet } from "./parquet-records.ts";
import type { TaskRecord } from "./task-record.ts";

/** Unpacked bytes of a file, at most. */
const maxBytes = 2 ** 30;

/** @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID. */
export async function readRecords(path: string): Promise<TaskRecord[]> {
  if (path.endsWith(".parquet")) return readParquet(path);
  let text: string;
  try {
    const bytes = readFileSync(path);
    const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b;
    text = (isPacked ? gunzipSync(bytes, { maxOutputLength: maxBytes }) : bytes).toString("utf8");
  } catch (cause) {
    throw unreadableFile(path, cause);
  }
  const problems: string[] = [];
  const records = text.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    const where = `${path}:${i + 1}`;
    try {
      const fields: unknown = JSON.parse(line);
      if (typeof fields === "object" && fields !== null && !Array.isArray(fields))
        return [{ fields: fields as Record<string, unknown>, line, where }];
      problems.push(`${where}: expected an object`);
    } catch (error) {
      problems.push(`${where}: is not JSON (${(error as Error).message.slice(0, 60)})`);
    }
    return [];
  });
  if (problems.length > 0)
    throw new BitNetError("FORMAT_INVALID", problems.slice(0, 20).join("; "), { details: { problems } });
  if (records.length === 0) throw new BitNetError("FORMAT_INVALID", `${path}: holds no item`);
  return records;
}

export function textField({ fields, where }: TaskRecord, ...names: string[]): string {
  for (const name of names) {
    const value = fields[name];
    if (typeof value === "string") return value;
  }
  throw new BitNetError("FORMAT_INVALID", `${where}: expected a text as ${names.join(" or ")}`);
}

export function textList({ fields, where }: TaskRecord, name: string): string[] {
  const value = fields[name];
  if (Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string"))
    return value as string[];
  throw new BitNetError("FORMAT_INVALID", `${where}: expected a list of texts as ${name}`);
}

/** An index below `count`. */
export function indexField({ fields, where }: TaskRecord, name: string, count: number): number {
  const value = typeof fields[name] === "string" ? Number(fields[name]) : fields[name];
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) < count) return value as number;
  throw new BitNetError("FORMAT_INVALID", `${where}: expected a number from 0 to ${count - 1} as ${name}`);
}

export function idOf(record: TaskRecord, index: number, ...names: string[]): string {
  for (const name of ["id", ...names]) {
    const value = record.fields[name];
    if (typeof value === "string" || typeof value === "number") return String(value);
  }
  return String(index);
}
