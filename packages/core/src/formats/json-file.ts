/** Reads whole JSON files of a model folder: size capped, errors with file, line and column. */
import type { ByteSource } from "../base/byte-source.ts";
import { BitNetError, throwIfAborted } from "../base/errors.ts";
import { createPause } from "../base/event-loop.ts";
import { JsonReader } from "./json-reader.ts";

/** Larger than the largest vocabularies. */
const maxTextMiB = 64;

export interface TextFileOptions {
  /** The most that the file may hold; 64 unless given. */
  maxMiB?: number;
  signal?: AbortSignal | undefined;
}

/** @throws BitNetError FORMAT_INVALID when the file is larger than `maxMiB`, not UTF-8 or not JSON; ABORTED. */
export async function readJsonFile(source: ByteSource, options: TextFileOptions = {}): Promise<unknown> {
  const text = await readTextFile(source, options);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    await locateError(text, source.name, options.signal);
    throw new BitNetError("FORMAT_INVALID", `${source.name}: not JSON (${String(cause)})`, { cause });
  }
}

/** @throws BitNetError FORMAT_INVALID when the file is larger than `maxMiB` or not UTF-8; ABORTED. */
export async function readTextFile(
  source: ByteSource,
  { maxMiB = maxTextMiB, signal }: TextFileOptions = {},
): Promise<string> {
  throwIfAborted(signal);
  if (source.size > maxMiB * 2 ** 20) {
    throw new BitNetError(
      "FORMAT_INVALID",
      `${source.name}: expected a text file of at most ${maxMiB} MiB, found ${source.size} bytes`,
    );
  }
  return decodeText(await source.read(0, source.size), source.name);
}

/** @throws BitNetError FORMAT_INVALID when the bytes are not UTF-8. */
export function decodeText(bytes: Uint8Array, label: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new BitNetError("FORMAT_INVALID", `${label}: expected UTF-8 text, found bytes that are not`, {
      cause,
    });
  }
}

/** Throws with the position of what `JSON.parse` refused: engines do not agree on telling it. */
async function locateError(text: string, label: string, signal: AbortSignal | undefined): Promise<void> {
  const reader = new JsonReader(text, label);
  await reader.skip(createPause(signal));
  reader.end();
}
