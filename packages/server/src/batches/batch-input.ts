/**
 * The file that a batch is made of: where its lines are and what is wrong with them. Bodies are read again when their turn comes, so
 * that only places and ids stay in memory.
 */
import { createReadStream } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { isObject } from "../fields.ts";
import { estimateTokens } from "../token-estimate.ts";
import type { BatchEndpoint, BatchProblem } from "./batch-record.ts";

export interface InputLine {
  readonly customId: string;
  readonly offset: number;
  readonly bytes: number;
}

export interface BatchInput {
  readonly lines: readonly InputLine[];
  readonly problems: readonly BatchProblem[];
  /** What the lines may take, estimated: a token for four bytes of body, and the answer that is asked for. */
  readonly tokens: number;
}

interface InputLimits {
  readonly endpoint: BatchEndpoint;
  readonly maxLines: number;
  /** Of one line. */
  readonly maxLineBytes: number;
  readonly defaultOutputTokens: number;
  readonly maxOutputTokens: number;
}

/** OpenAI reports no more than this either. */
const maxProblems = 100;
const maxIdLength = 512;

/** Reads the whole file once. */
export async function readBatchInput(path: string, limits: InputLimits): Promise<BatchInput> {
  const lines: InputLine[] = [];
  const problems: BatchProblem[] = [];
  const ids = new Set<string>();
  let tokens = 0;
  let number = 0;
  const report = (code: string, message: string, param: string | null = null) => {
    problems.push({ code, message, param, line: number });
  };
  for await (const { text, offset, bytes } of splitLines(path, limits.maxLineBytes)) {
    number++;
    if (problems.length >= maxProblems) break;
    if (text === null) {
      report("line_too_long", `This line is longer than ${limits.maxLineBytes} bytes.`);
      continue;
    }
    if (text.trim() === "") continue;
    if (lines.length >= limits.maxLines) {
      report("too_many_requests", `A batch holds at most ${limits.maxLines} requests.`);
      break;
    }
    const line = readLine(text, limits.endpoint, report);
    if (line === null) continue;
    if (ids.has(line.customId)) {
      report("duplicate_custom_id", "Another line of this file has the same custom_id.", "custom_id");
      continue;
    }
    ids.add(line.customId);
    lines.push({ customId: line.customId, offset, bytes });
    tokens += estimateTokens((name) => line.body[name], bytes, limits.endpoint, limits);
  }
  if (lines.length === 0 && problems.length === 0)
    problems.push({ code: "empty_file", message: "The file holds no request.", param: null, line: null });
  return { lines, problems, tokens };
}

/** The body of a line, read from its place. */
export async function readLineBody(handle: FileHandle, line: InputLine): Promise<Record<string, unknown>> {
  const buffer = Buffer.alloc(line.bytes);
  let done = 0;
  while (done < line.bytes) {
    const { bytesRead } = await handle.read(buffer, done, line.bytes - done, line.offset + done);
    if (bytesRead === 0) throw new Error("the input file of the batch has become shorter");
    done += bytesRead;
  }
  return (JSON.parse(buffer.toString("utf8")) as { body: Record<string, unknown> }).body;
}

function readLine(
  text: string,
  endpoint: BatchEndpoint,
  report: (code: string, message: string, param?: string) => void,
): { customId: string; body: Record<string, unknown> } | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (!isObject(value)) {
    report("invalid_json_line", "This line is not a JSON object.");
    return null;
  }
  const { custom_id: customId, method, url, body } = value;
  if (typeof customId !== "string" || customId === "" || customId.length > maxIdLength) {
    report("invalid_custom_id", `custom_id must be a string of 1 to ${maxIdLength} characters.`, "custom_id");
    return null;
  }
  if (method !== "POST") {
    report("invalid_method", 'method must be "POST".', "method");
    return null;
  }
  if (url !== endpoint) {
    report("invalid_url", `url must be the endpoint of the batch, ${endpoint}.`, "url");
    return null;
  }
  if (!isObject(body)) {
    report("invalid_body", "body must be an object.", "body");
    return null;
  }
  if (body.stream === true) {
    report("invalid_body", "Answers of a batch are not streamed.", "body.stream");
    return null;
  }
  return { customId, body };
}

/** The lines of a file; `text` is null for one that is too long to be held. */
async function* splitLines(
  path: string,
  maxBytes: number,
): AsyncGenerator<{ text: string | null; offset: number; bytes: number }> {
  let parts: Buffer[] = [];
  let held = 0;
  let length = 0;
  let offset = 0;
  const take = () => {
    const text = length > maxBytes ? null : Buffer.concat(parts, held).toString("utf8");
    const line = { text, offset, bytes: length };
    parts = [];
    held = 0;
    offset += length + 1;
    length = 0;
    return line;
  };
  const add = (part: Buffer) => {
    length += part.length;
    if (length > maxBytes) return;
    parts.push(part);
    held += part.length;
  };
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let feed = chunk.indexOf(10); feed >= 0; feed = chunk.indexOf(10, from)) {
      add(chunk.subarray(from, feed));
      yield take();
      from = feed + 1;
    }
    add(chunk.subarray(from));
  }
  if (length > 0) yield take();
}
