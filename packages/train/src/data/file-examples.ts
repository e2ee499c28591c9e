/**
 * Examples of a file on disk, read when they are asked for: the file is scanned once for the places of its lines (or paragraphs of
 * a .txt file), and every bad line is reported with its number. Memory holds one number per example, never the texts, but for lists of
 * records, of a .json file or in memory already.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { BitNetError } from "@bitnet.ts/core";
import { unreadableFile } from "@bitnet.ts/core/node";
import type { Example } from "./example.ts";
import { exampleOf, parseExample, type TextMode } from "./parse-example.ts";

export interface FileExamples {
  readonly path: string;
  readonly count: number;
  at(index: number): Example;
  close(): void;
}

export interface FileOptions {
  textMode?: TextMode;
  /** Take so many examples at most, the first ones. */
  maxSamples?: number;
  /** Leave bad lines out and tell `onBadLine`, rather than fail. */
  skipsBadLines?: boolean;
  onBadLine?: (message: string) => void;
  /** The file's name in messages, and of its lines (see `lineFile`); default: its path, and `path:line`. */
  name?: string;
  placeOf?: (line: number) => string;
}

/** A line longer than this is no example. */
const longestLine = 2 ** 24;
const chunkBytes = 2 ** 20;
/** Bytes of a JSON list. */
const largestList = 2 ** 28;
/** Problems that an error lists. */
const listed = 20;

/**
 * @param data A file, or records like those of a JSONL file's lines.
 * @throws BitNetError FILE_NOT_FOUND, IO_FAILED; FORMAT_INVALID that lists the bad lines, or when there is no example.
 */
export function openExamples(data: string | readonly unknown[], options: FileOptions = {}): FileExamples {
  if (typeof data !== "string") return listExamples(data, "records", options);
  const file = openFile(data);
  const { name: path = data, placeOf = (line: number) => `${path}:${line}` } = options;
  try {
    if (/\.json$/i.test(data) && holdsList(file))
      return { ...listExamples(readList(file, path), path, options), close: () => closeSync(file) };
    const isText = !/\.jsonl?$/i.test(data);
    if (isText) checkText(file, path);
    const { textMode = "text", maxSamples = Number.POSITIVE_INFINITY } = options;
    const parse = (text: string, line: number): Example =>
      isText ? { kind: "text", text } : parseExample(text, placeOf(line), textMode);
    const places = scan(file, path, isText);
    const problems: string[] = [];
    const kept = places.filter(({ start, end, line }) => {
      try {
        parse(readText(file, start, end), line);
        return true;
      } catch (error) {
        if (!(error instanceof BitNetError)) throw error;
        problems.push(error.message);
        return false;
      }
    });
    report(path, problems, "lines", options);
    return {
      path,
      count: countOf(path, kept.length, maxSamples),
      at(index) {
        const place = kept[index];
        if (place === undefined) throw new BitNetError("INTERNAL", `${path}: there is no example ${index}`);
        return parse(readText(file, place.start, place.end), place.line);
      },
      close: () => closeSync(file),
    };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** Records that are in memory already, in the file's order. */
function listExamples(records: readonly unknown[], path: string, options: FileOptions): FileExamples {
  const { textMode = "text", maxSamples = Number.POSITIVE_INFINITY } = options;
  const problems: string[] = [];
  const kept = records.flatMap((record, i) => {
    try {
      return [exampleOf(record, `${path}[${i}]`, textMode)];
    } catch (error) {
      if (!(error instanceof BitNetError)) throw error;
      problems.push(error.message);
      return [];
    }
  });
  report(path, problems, "records", options);
  return {
    path,
    count: countOf(path, kept.length, maxSamples),
    at(index) {
      const example = kept[index];
      if (example === undefined) throw new BitNetError("INTERNAL", `${path}: there is no example ${index}`);
      return example;
    },
    close() {},
  };
}

function countOf(path: string, nKept: number, maxSamples: number): number {
  if (nKept === 0) throw new BitNetError("FORMAT_INVALID", `${path}: holds no example`);
  return Math.min(nKept, maxSamples);
}

/** Archives and pictures are no text, whatever their names. */
function checkText(file: number, path: string): void {
  const bytes = new Uint8Array(4096);
  const n = readSync(file, bytes, 0, bytes.length, 0);
  if (bytes.subarray(0, n).includes(0))
    throw new BitNetError(
      "FORMAT_INVALID",
      `${path}: is no text; data are .jsonl, .json, .csv or .parquet files, or texts, gzipped or not`,
    );
}

/** Whether the first byte that is no white space begins a list. */
function holdsList(file: number): boolean {
  const bytes = new Uint8Array(4096);
  const n = readSync(file, bytes, 0, bytes.length, 0);
  return new TextDecoder().decode(bytes.subarray(0, n)).trimStart().startsWith("[");
}

function readList(file: number, path: string): readonly unknown[] {
  const { size } = fstatSync(file);
  if (size > largestList)
    throw new BitNetError(
      "FORMAT_INVALID",
      `${path}: a list of ${size} bytes is read whole, which at most ${largestList} are; give it as JSONL`,
    );
  try {
    return JSON.parse(readText(file, 0, size)) as readonly unknown[];
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    throw new BitNetError(
      "FORMAT_INVALID",
      `${path}: is not JSON (${(cause as Error).message.slice(0, 80)})`,
      { cause },
    );
  }
}

function report(
  path: string,
  problems: readonly string[],
  units: string,
  { skipsBadLines, onBadLine }: FileOptions,
): void {
  if (problems.length === 0) return;
  if (skipsBadLines) {
    for (const problem of problems) onBadLine?.(problem);
    return;
  }
  const rest = problems.length > listed ? `; and ${problems.length - listed} more` : "";
  throw new BitNetError(
    "FORMAT_INVALID",
    `${path}: ${problems.length} ${units} cannot be read: ${problems.slice(0, listed).join("; ")}${rest}`,
    { details: { problems } },
  );
}

/** Bytes of one line or paragraph, and the number of its first line. */
interface Place {
  start: number;
  end: number;
  line: number;
}

/** Lines that are not blank; paragraphs separated by blank lines of a plain text. */
function scan(file: number, path: string, isText: boolean): Place[] {
  const places: Place[] = [];
  const chunk = new Uint8Array(chunkBytes);
  const open: Place = { start: 0, end: 0, line: 1 };
  let position = 0;
  let line = 1;
  let lineStart = 0;
  let isBlank = true;
  const finish = () => {
    if (open.end > open.start) places.push({ ...open });
    open.start = open.end = -1;
  };
  open.start = open.end = -1;
  const endLine = (end: number) => {
    if (end - lineStart > longestLine)
      throw new BitNetError(
        "FORMAT_INVALID",
        `${path}:${line}: the line has ${end - lineStart} bytes, at most ${longestLine} are read`,
      );
    if (isBlank) finish();
    else {
      if (open.start < 0) Object.assign(open, { start: lineStart, line });
      open.end = end;
      if (!isText) finish();
    }
    line++;
    isBlank = true;
  };
  for (;;) {
    const n = readSync(file, chunk, 0, chunk.length, position);
    for (let i = 0; i < n; i++) {
      const byte = chunk[i] ?? 0;
      if (byte === 10) {
        endLine(position + i);
        lineStart = position + i + 1;
      } else if (byte > 32) isBlank = false;
    }
    position += n;
    if (n === 0) break;
  }
  if (position > lineStart) endLine(position);
  finish();
  return places;
}

function readText(file: number, start: number, end: number): string {
  const bytes = new Uint8Array(end - start);
  let done = 0;
  while (done < bytes.length) {
    const n = readSync(file, bytes, done, bytes.length - done, start + done);
    if (n === 0) throw new BitNetError("IO_FAILED", "a data file became shorter while it was used");
    done += n;
  }
  return new TextDecoder().decode(bytes).replace(/^\uFEFF/, "");
}

function openFile(path: string): number {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    throw unreadableFile(path, cause);
  }
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  throw new BitNetError("IO_FAILED", `${path}: is no file`);
}
