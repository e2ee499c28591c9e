/**
 * Files that cannot be read from the middle (Parquet, CSV, whatever is gzipped) as files that can: written once as lines of JSON, or unpacked, into a
 * folder of the run, from where examples are read like any other. Memory holds a part of the file at a time.
 */
import { createReadStream, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, join } from "node:path";
import { createGunzip } from "node:zlib";
import { BitNetError } from "@bitnet.ts/core";
import { unreadableFile } from "@bitnet.ts/core/node";
import { parquetLines } from "@bitnet.ts/core/parquet";
import { type CsvError, type Info, parse } from "csv-parse";
import { makeFolder, writeWhole } from "../export/write-file.ts";

export interface LineFile {
  /** What to read: the file itself where it can be read as it is. */
  readonly path: string;
  /** For messages, whose numbers count lines or rows of the file that was given. */
  readonly placeOf: (line: number) => string;
  remove(): void;
}

/** Bytes that a file may grow to: a multiple of its own, or so many. Damaged and hostile ones claim more. */
const usualRoom = 2 ** 30;
const growth = 100;
/** Characters of one record of a CSV file. */
const longestRecord = 2 ** 24;

/**
 * @param folder Made when something is written into it.
 * @param index Tells files of one name apart.
 * @param leastRoom Bytes that any file may grow to.
 * @throws BitNetError FILE_NOT_FOUND, IO_FAILED, FORMAT_INVALID.
 */
export async function lineFile(
  path: string,
  folder: string,
  index: number,
  leastRoom: number = usualRoom,
): Promise<LineFile> {
  const asRow = (row: number) => `${path}, row ${row}`;
  const asLine = (line: number) => `${path}:${line}`;
  const { isPacked, size } = await look(path);
  const plainName = isPacked ? path.replace(/\.gz$/i, "") : path;
  const kind = /\.parquet$/i.test(path) ? "parquet" : /\.csv$/i.test(plainName) ? "csv" : "other";
  if (kind === "other" && !isPacked) return { path, placeOf: asLine, remove() {} };
  const room = Math.max(leastRoom, growth * size);
  const suffix = kind === "other" ? basename(plainName) : `${basename(plainName)}.jsonl`;
  const target = join(folder, `${index}-${suffix}`);
  const pieces =
    kind === "parquet"
      ? utf8(parquetLines(path, { maxLength: room }))
      : kind === "csv"
        ? utf8(csvLines(path, isPacked))
        : bytesOf(path, isPacked);
  await makeFolder(folder);
  await writeWhole(target, within(path, room, pieces));
  return {
    path: target,
    placeOf: kind === "other" ? asLine : asRow,
    remove: () => rmSync(target, { force: true }),
  };
}

async function look(path: string): Promise<{ isPacked: boolean; size: number }> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
      return { isPacked: bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b, size };
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw unreadableFile(path, cause);
  }
}

async function* bytesOf(path: string, isPacked: boolean): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path);
  if (!isPacked) return yield* file;
  const unpacked = file.pipe(createGunzip());
  file.on("error", (error) => unpacked.destroy(error));
  try {
    yield* unpacked;
  } catch (cause) {
    throw new BitNetError("FORMAT_INVALID", `${path}: cannot be unpacked (${(cause as Error).message})`, {
      cause,
    });
  } finally {
    file.destroy();
  }
}

/** Records under the names of the first line, each an object of texts; every record that is none is reported at once. */
async function* csvLines(path: string, isPacked: boolean): AsyncGenerator<string[]> {
  const problems: string[] = [];
  const parser = parse({
    ...{ bom: true, columns: true, skip_empty_lines: true, info: true },
    max_record_size: longestRecord,
    skip_records_with_error: true,
    on_skip: (error: CsvError | undefined) => {
      if (error !== undefined)
        problems.push(`${path}:${String(error.lines)}: ${error.message.slice(0, 160)}`);
      return undefined;
    },
  });
  const feed = async () => {
    for await (const piece of bytesOf(path, isPacked))
      if (!parser.write(piece)) await new Promise((resolve) => parser.once("drain", resolve));
    parser.end();
  };
  feed().catch((error: Error) => parser.destroy(error));
  try {
    for await (const { record } of parser as AsyncIterable<{ record: unknown; info: Info }>)
      yield [JSON.stringify(record)];
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    problems.push(`${path}: ${(cause as Error).message.slice(0, 160)}`);
  }
  if (problems.length > 0)
    throw new BitNetError(
      "FORMAT_INVALID",
      `${path}: ${problems.length} records cannot be read: ${problems.slice(0, 20).join("; ")}`,
      { details: { problems } },
    );
}

async function* utf8(groups: AsyncIterable<string[]>): AsyncGenerator<Uint8Array> {
  for await (const lines of groups) yield Buffer.from(`${lines.join("\n")}\n`);
}

async function* within(
  path: string,
  room: number,
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    if (bytes > room)
      throw new BitNetError(
        "FORMAT_INVALID",
        `${path}: unpacks to more than ${room} bytes, the most that are read`,
      );
    yield piece;
  }
}
