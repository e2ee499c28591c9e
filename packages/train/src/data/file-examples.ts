/**
 * Examples of a file on disk, read when they are asked for: the file is scanned once for the places of its lines (or paragraphs of
 * a .txt file), and every bad line is reported with its number. Memory holds one number per example, never the texts.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { BitNetError } from "@bitnet.ts/core";
import type { Example } from "./example.ts";
import { parseExample, type TextMode } from "./parse-example.ts";

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
}

/** A line longer than this is no example. */
const longestLine = 2 ** 24;
const chunkBytes = 2 ** 20;
/** Problems that an error lists. */
const listed = 20;

/** @throws BitNetError FILE_NOT_FOUND, IO_FAILED; FORMAT_INVALID that lists the bad lines, or when there is no example. */
export function openExamples(path: string, options: FileOptions = {}): FileExamples {
  const file = openFile(path);
  try {
    const isText = !/\.jsonl?$/i.test(path);
    const { textMode = "text", maxSamples = Number.POSITIVE_INFINITY } = options;
    const parse = (text: string, line: number): Example =>
      isText ? { kind: "text", text } : parseExample(text, `${path}:${line}`, textMode);
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
    report(path, problems, options);
    const count = Math.min(kept.length, maxSamples);
    if (count === 0) throw new BitNetError("FORMAT_INVALID", `${path}: holds no example`);
    return {
      path,
      count,
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

function report(path: string, problems: readonly string[], { skipsBadLines, onBadLine }: FileOptions): void {
  if (problems.length === 0) return;
  if (skipsBadLines) {
    for (const problem of problems) onBadLine?.(problem);
    return;
  }
  const rest = problems.length > listed ? `; and ${problems.length - listed} more` : "";
  throw new BitNetError(
    "FORMAT_INVALID",
    `${path}: ${problems.length} lines cannot be read: ${problems.slice(0, listed).join("; ")}${rest}`,
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
    const code = (cause as NodeJS.ErrnoException).code;
    throw new BitNetError(
      code === "ENOENT" ? "FILE_NOT_FOUND" : "IO_FAILED",
      `${path}: cannot be opened (${code})`,
      { cause },
    );
  }
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  throw new BitNetError("IO_FAILED", `${path}: is no file`);
}
