/**
 * The vocabulary: the bytes of every token and an open-addressing hash from bytes to id, all in typed arrays, so that a
 * hundred thousand tokens load in milliseconds. Knows nothing of merging or of special-token syntax.
 */
import { type ByteStrings, stringAt } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import { unspell } from "./byte-alphabet.ts";

/** How a token takes part. */
export const tokenKind = {
  /** Spelled as the vocabulary's `Spelling` says; found by merging. */
  ordinary: 0,
  /** Spelled as plain text, and may be part of merges. */
  added: 1,
  /** A control token, spelled as plain text; merging never finds it. */
  control: 2,
  /** Spelled as plain text; merging never finds it. */
  unused: 3,
  /** SentencePiece's `<0x41>`: stands for one byte of a character that has no token. */
  byte: 4,
} as const;

/** How ordinary tokens are written: in GPT-2's byte alphabet, or as the text itself, with SentencePiece's visible space. */
export type Spelling = "byte-level" | "plain";

export interface Vocabulary {
  /** The bytes that each token stands for in the text that merging sees. */
  readonly tokens: ByteStrings;
  readonly kinds: Uint8Array; // [count], tokenKind
  /** Open addressing: id + 1 (0 = free) and the hash of its bytes. */
  readonly slots: Int32Array; // [2 · (mask + 1)]
  readonly mask: number;
  /** No token lies further than this many slots from its own, so no search is longer. */
  readonly longestProbe: number;
}

/** A table that is a third empty never comes near this by chance; a file that was made to does. */
export const maxProbe = 512;

/**
 * @param spelled Tokens as the file writes them; index = id.
 * @param kinds One `tokenKind` per token.
 * @throws BitNetError TOKENIZER_INVALID when one of the 256 bytes has no token of its own.
 */
export function createVocabulary(
  spelled: ByteStrings,
  kinds: Uint8Array,
  name: string,
  spelling: Spelling = "byte-level",
): Vocabulary {
  const reachable = kinds.slice();
  const tokens = spelling === "plain" ? spelled : readTokens(spelled, reachable);
  const mask = tableSize(tokens.count) - 1;
  const slots = new Int32Array(2 * (mask + 1));
  let longestProbe = 0;
  for (let id = 0; id < tokens.count; id++) {
    if ((reachable[id] ?? 0) > tokenKind.added) continue;
    const probe = insert(tokens, slots, mask, id);
    if (probe > maxProbe) throw collisions(name, "tokens");
    if (probe > longestProbe) longestProbe = probe;
  }
  const vocabulary = { tokens, kinds, slots, mask, longestProbe };
  if (spelling === "byte-level") requireAllBytes(vocabulary, name);
  return vocabulary;
}

/** Slots for `count` entries: a power of two, at most two thirds full. */
export function tableSize(count: number): number {
  let size = 16;
  while (size < 1.5 * count) size *= 2;
  return size;
}

export function collisions(name: string, what: string): BitNetError {
  return new BitNetError(
    "TOKENIZER_INVALID",
    `${name}: the ${what} cannot be indexed, too many share a hash; the file was made to slow its readers down`,
  );
}

/** Bytes of every token; ordinary ones that are not in the byte alphabet keep their text and become unreachable. */
function readTokens(spelled: ByteStrings, kinds: Uint8Array): ByteStrings {
  const bytes = new Uint8Array(spelled.bytes.length);
  const offsets = new Uint32Array(spelled.count + 1);
  let at = 0;
  for (let id = 0; id < spelled.count; id++) {
    const start = spelled.offsets[id] ?? 0;
    const end = spelled.offsets[id + 1] ?? 0;
    let written = -1;
    if (kinds[id] === tokenKind.ordinary) {
      written = unspell(spelled.bytes, start, end, bytes, at);
      if (written < 0 || end === start) kinds[id] = tokenKind.unused;
    }
    if (written < 0) {
      bytes.set(spelled.bytes.subarray(start, end), at);
      written = at + end - start;
    }
    at = written;
    offsets[id + 1] = at;
  }
  return { bytes: bytes.subarray(0, at), offsets, count: spelled.count };
}

/** @returns The distance from the token's own slot. Of two tokens with equal bytes the first stays. */
function insert(tokens: ByteStrings, slots: Int32Array, mask: number, id: number): number {
  const start = tokens.offsets[id] ?? 0;
  const end = tokens.offsets[id + 1] ?? 0;
  const hash = hashBytes(tokens.bytes, start, end);
  for (let probe = 0; probe <= maxProbe; probe++) {
    const slot = 2 * ((firstSlot(hash) + probe) & mask);
    const held = slots[slot] ?? 0;
    if (held === 0) {
      slots[slot] = id + 1;
      slots[slot + 1] = hash;
      return probe;
    }
    if (slots[slot + 1] === hash && equalBytes(tokens, held - 1, tokens.bytes, start, end)) return probe;
  }
  return maxProbe + 1;
}

/** FNV-1a, 32 bits. `seed` = the hash of what came before. */
export function hashBytes(bytes: Uint8Array, start: number, end: number, seed = 0x811c9dc5 | 0): number {
  let hash = seed;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
  return hash;
}

function firstSlot(hash: number): number {
  return hash ^ (hash >>> 15);
}

/** Id of the token whose bytes are `bytes[start, end)`, −1 when there is none. Control tokens are never found. */
export function findToken(vocabulary: Vocabulary, bytes: Uint8Array, start: number, end: number): number {
  return findHashed(vocabulary, hashBytes(bytes, start, end), bytes, start, end);
}

/** As `findToken`, for callers that have hashed the bytes already. */
export function findHashed(
  vocabulary: Vocabulary,
  hash: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  const { slots, mask, tokens, longestProbe } = vocabulary;
  for (let probe = 0; probe <= longestProbe; probe++) {
    const slot = 2 * ((firstSlot(hash) + probe) & mask);
    const held = slots[slot] ?? 0;
    if (held === 0) return -1;
    if (slots[slot + 1] === hash && equalBytes(tokens, held - 1, bytes, start, end)) return held - 1;
  }
  return -1;
}

function equalBytes(tokens: ByteStrings, id: number, bytes: Uint8Array, start: number, end: number): boolean {
  const offset = tokens.offsets[id] ?? 0;
  const length = end - start;
  if ((tokens.offsets[id + 1] ?? 0) - offset !== length) return false;
  for (let i = 0; i < length; i++) if (tokens.bytes[offset + i] !== bytes[start + i]) return false;
  return true;
}

function requireAllBytes(vocabulary: Vocabulary, name: string): void {
  const missing: string[] = [];
  const one = new Uint8Array(1);
  for (let byte = 0; byte < 256; byte++) {
    one[0] = byte;
    if (findToken(vocabulary, one, 0, 1) < 0) missing.push(`0x${byte.toString(16).padStart(2, "0")}`);
  }
  if (missing.length === 0) return;
  const shown =
    missing.slice(0, 8).join(", ") + (missing.length > 8 ? ` and ${missing.length - 8} more` : "");
  throw new BitNetError(
    "TOKENIZER_INVALID",
    `${name}: a byte-level vocabulary needs a token for each of the 256 bytes; missing: ${shown}. ` +
      "Is this a SentencePiece vocabulary, or a damaged file?",
    { details: { missing } },
  );
}

/** Content of a token for messages: quoted, cut when long. */
export function quoteToken(table: ByteStrings, index: number): string {
  const text = stringAt(table, index);
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
