/**
 * A multipart upload, spooled to disk as it comes in: clients send the file before the fields that say what it is for. Whatever goes
 * wrong, nothing of it is left behind.
 */
import { type FileHandle, open, rm } from "node:fs/promises";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Busboy, type BusboyHeaders } from "@fastify/busboy";
import { invalid, ServeError } from "../errors.ts";

export interface Upload {
  readonly filename: string;
  readonly bytes: number;
  readonly fields: Readonly<Record<string, string>>;
}

interface UploadOptions {
  readonly headers: BusboyHeaders;
  /** Where the content goes. */
  readonly path: string;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

interface SpooledFile {
  readonly filename: string;
  readonly stream: Readable;
  /** Bytes, once all of them are on the disk. */
  readonly written: Promise<number>;
}

/** @throws ServeError INVALID_INPUT for what is no multipart form with one file, TOO_LARGE, ABORTED when the client leaves. */
export async function receiveUpload(body: Readable, options: UploadOptions): Promise<Upload> {
  const { path, signal } = options;
  // There from the start: a file that is still being opened could come into being after it has been removed.
  const target = await open(path, "wx", 0o600).catch((error: unknown) => {
    throw hasNoRoom(error) ? noRoom() : error;
  });
  try {
    return await receive(body, target, options).finally(() => target.close());
  } catch (error) {
    await rm(path, { force: true });
    if (error instanceof ServeError) throw error;
    if (signal.aborted) throw new ServeError("ABORTED", "the client has left");
    if (hasNoRoom(error)) throw noRoom();
    if ((error as NodeJS.ErrnoException).code !== undefined) throw error;
    throw new ServeError("INVALID_INPUT", "the body is not a valid multipart form", { cause: error });
  }
}

function hasNoRoom(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
}

function noRoom(): ServeError {
  return new ServeError("TOO_LARGE", "there is no room on the disk for this file");
}

async function receive(
  body: Readable,
  target: FileHandle,
  { headers, maxBytes, signal }: UploadOptions,
): Promise<Upload> {
  const parser = new Busboy({
    headers,
    limits: {
      files: 1,
      fileSize: maxBytes,
      fields: 16,
      fieldSize: 1024,
      fieldNameSize: 100,
      headerPairs: 32,
    },
  });
  const fields: Record<string, string> = {};
  let file: SpooledFile | null = null;
  let problem: ServeError | null = null;
  parser.on("field", (name, value) => {
    fields[name] = value;
  });
  parser.on("file", (name, stream, filename) => {
    // A part that ends early says so here, beside the parser: unheard, it would end the process.
    stream.on("error", (cause: Error) => {
      problem ??= new ServeError("INVALID_INPUT", "the body ends in the midst of a file", { cause });
    });
    if (name !== "file") {
      problem ??= invalid("file", "the file in the field of this name");
      stream.resume();
      return;
    }
    let bytes = 0;
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    stream.once("limit", () => {
      problem ??= new ServeError("TOO_LARGE", `the file is larger than ${maxBytes} bytes`);
    });
    const written = pipeline(stream, target.createWriteStream()).then(() => bytes);
    written.catch((error) => parser.destroy(error));
    file = { filename: filename ?? "", written, stream };
  });
  await pipeline(body, parser, { signal }).catch(async (error: unknown) => {
    const begun = file as SpooledFile | null;
    begun?.stream.destroy();
    // Only then does nothing write any more.
    await begun?.written.catch(() => {});
    throw error;
  });
  const received = file as SpooledFile | null;
  const bytes = await received?.written;
  if (problem !== null) throw problem;
  if (received === null || bytes === undefined) throw invalid("file", "a file; it is missing");
  return { filename: received.filename.slice(0, 255), bytes, fields };
}
