/**
 * The bytes of what a user named, as a stream that ends with the run. A pipe is read as its writer goes on: opened like a file, one that nobody
 * writes to would keep a thread, and with it the program, waiting for ever.
 */
import { constants, createReadStream, openSync } from "node:fs";
import { stat } from "node:fs/promises";
import { Socket } from "node:net";
import { addAbortSignal, type Readable } from "node:stream";
import { BitNetError } from "@bitnet.ts/core";

/** @throws BitNetError ABORTED while it is read; what opening and reading throw. */
export async function* fileStream(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  const stream = addAbortSignal(signal, await openStream(path));
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (cause) {
    if (signal.aborted) throw new BitNetError("ABORTED", `interrupted while reading ${path}`, { cause });
    throw cause;
  }
}

async function openStream(path: string): Promise<Readable> {
  const isPipe = process.platform !== "win32" && (await stat(path)).isFIFO();
  if (!isPipe) return createReadStream(path);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK); // which waits for nothing
  return new Socket({ fd, readable: true, writable: false });
}
