/** Texts to embed from lines or JSONL: one a line, with what names it. */
import { BitNetError } from "@bitnet.ts/core";
import { fileStream } from "./file-stream.ts";
import { readLines } from "./read-input.ts";

export interface NamedText {
  text: string;
  /** `id` of a JSONL object, if it has one. */
  id?: string | number;
}

/**
 * @param path A file; null for standard input.
 * @param field Of JSONL objects, the member that holds the text; null for plain lines.
 * @throws BitNetError FILE_NOT_FOUND, IO_FAILED, INVALID_ARGUMENT naming the line, ABORTED.
 */
export async function* readTexts(
  path: string | null,
  field: string | null,
  signal: AbortSignal,
): AsyncGenerator<NamedText, void> {
  const name = path ?? "standard input";
  let line = 0;
  try {
    for await (const text of readLines(path === null ? process.stdin : fileStream(path, signal))) {
      line++;
      if (field === null) yield { text };
      else if (text.trim() !== "") yield parseLine(text, field, `${name}, line ${line}`);
    }
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new BitNetError("FILE_NOT_FOUND", `${name}: no such file`, { cause });
    throw new BitNetError("IO_FAILED", `${name}: cannot be read (${message})`, { cause });
  }
}

function parseLine(line: string, field: string, where: string): NamedText {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new BitNetError("INVALID_ARGUMENT", `${where}: expected JSON, found something else`, { cause });
  }
  if (typeof value === "string") return { text: value };
  const record = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const text = Object.hasOwn(record, field) ? record[field] : undefined;
  if (typeof text !== "string")
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${where}: expected a text, or an object with a text ${JSON.stringify(field)}`,
    );
  const { id } = record;
  return typeof id === "string" || typeof id === "number" ? { text, id } : { text };
}
