/**
 * A table of byte strings: all bytes end to end and one offset per border. Vocabularies and merge lists stay in this form
 * from the file to the tokenizer, since hundreds of thousands of JavaScript strings cost more than the bytes themselves.
 * Knows nothing of what the bytes mean.
 */
import { BitNetError } from "./errors.ts";

/** String i is `bytes[offsets[i] .. offsets[i + 1])`. Usually UTF-8, but any bytes are allowed. Not modified after building. */
export interface ByteStrings {
  readonly bytes: Uint8Array;
  readonly offsets: Uint32Array; // [count + 1], ascending, offsets[0] = 0
  readonly count: number;
}

const encoder = new TextEncoder();
// A leading byte-order mark is part of a string, not of its encoding.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Tells a table from other values, for instance among the metadata of a model file. */
export function isByteStrings(value: unknown): value is ByteStrings {
  if (typeof value !== "object" || value === null) return false;
  const { bytes, offsets, count } = value as Partial<ByteStrings>;
  return (
    bytes instanceof Uint8Array && offsets instanceof Uint32Array && offsets.length === (count ?? -1) + 1
  );
}

/**
 * Encodes JavaScript strings as UTF-8; lone surrogates become U+FFFD.
 * @throws BitNetError INVALID_ARGUMENT when they come to 4 GiB or more.
 */
export function byteStringsFrom(strings: readonly string[]): ByteStrings {
  const offsets = new Uint32Array(strings.length + 1);
  let capacity = 0;
  for (const text of strings) capacity += text.length;
  let bytes = new Uint8Array(capacity + 3);
  let used = 0;
  let index = 0;
  for (const text of strings) {
    // A UTF-16 unit takes at most three bytes.
    if (bytes.length - used < 3 * text.length) bytes = grow(bytes, used, 3 * text.length);
    used += encoder.encodeInto(text, bytes.subarray(used)).written;
    index++;
    offsets[index] = used;
  }
  return { bytes: bytes.subarray(0, used), offsets, count: strings.length };
}

function grow(bytes: Uint8Array, used: number, needed: number): Uint8Array<ArrayBuffer> {
  const wanted = used + needed;
  if (wanted >= 2 ** 32) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `byte strings: the table needs ${wanted} bytes, at most 4 GiB fit`,
    );
  }
  const larger = new Uint8Array(Math.min(2 ** 32 - 1, Math.max(wanted, used * 2)));
  larger.set(bytes.subarray(0, used));
  return larger;
}

/** A view of string `index`: not a copy, do not modify it. `index` must be below `count`. */
export function byteStringAt(table: ByteStrings, index: number): Uint8Array {
  return table.bytes.subarray(table.offsets[index], table.offsets[index + 1]);
}

/** String `index` decoded as UTF-8; malformed sequences become U+FFFD. `index` must be below `count`. */
export function stringAt(table: ByteStrings, index: number): string {
  return decoder.decode(byteStringAt(table, index));
}
