/** Reads whole JSON files of a model folder: size capped, errors with file, line and column. */
import type { ByteSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";
import { JsonReader } from "./json-reader.ts";

const maxJsonBytes = 64 * 2 ** 20;

/** @throws BitNetError FORMAT_INVALID when the file is larger than 64 MiB, not UTF-8 or not JSON. */
export async function readJsonFile(source: ByteSource): Promise<unknown> {
  const text = await readTextFile(source);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    locateError(text, source.name);
    throw new BitNetError("FORMAT_INVALID", `${source.name}: not JSON (${String(cause)})`, { cause });
  }
}

/** @throws BitNetError FORMAT_INVALID when the file is larger than 64 MiB or not UTF-8. */
export async function readTextFile(source: ByteSource): Promise<string> {
  if (source.size > maxJsonBytes) {
    throw new BitNetError(
      "FORMAT_INVALID",
      `${source.name}: expected a text file of at most 64 MiB, found ${source.size} bytes`,
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
function locateError(text: string, label: string): void {
  const reader = new JsonReader(text, label);
  reader.skip();
  reader.end();
}
