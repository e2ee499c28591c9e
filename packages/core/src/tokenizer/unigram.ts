/**
 * Unigram segmentation: of all ways to cut a piece into tokens the one with the highest sum of log-probabilities
 * (Kudo, "Subword Regularization", 2018; Viterbi's algorithm). Knows nothing of splitting or special tokens.
 * Behaviour, order of additions included: `Unigram` of the Hugging Face tokenizers library.
 */
import type { ByteStrings } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import { checkPieceLength, type IdList, pushId } from "./bpe.ts";
import { charLength } from "./char-class.ts";
import { tokenKind, type Vocabulary } from "./vocabulary.ts";

export interface Unigram {
  readonly tokens: ByteStrings;
  readonly scores: Float64Array; // [count]
  /** Tokens that text can become, in the order of their bytes. */
  readonly sorted: Int32Array;
  /** Where in `sorted` the tokens with each first byte begin. */
  readonly firstOf: Int32Array; // [257]
  readonly unknownId: number;
  readonly unknownScore: number;
  readonly byteIds: Int32Array; // [256], −1 where there is no token for the byte
}

/** An unknown character is this much less likely than the least likely token. */
const unknownPenalty = 10;

/** @throws BitNetError TOKENIZER_INVALID for a score that is no number. */
export function createUnigram(
  vocabulary: Vocabulary,
  parts: {
    scores: ArrayLike<number>;
    unknownId: number;
    byteIds: Int32Array;
    findsWrittenBytes: boolean;
    name: string;
  },
): Unigram {
  const { tokens, kinds } = vocabulary;
  const scores = Float64Array.from({ length: tokens.count }, (_, id) => parts.scores[id] ?? Number.NaN);
  let lowest = Number.POSITIVE_INFINITY;
  const ids: number[] = [];
  for (let id = 0; id < tokens.count; id++) {
    const score = scores[id] ?? Number.NaN;
    if (!Number.isFinite(score)) {
      throw new BitNetError(
        "TOKENIZER_INVALID",
        `${parts.name}: token ${id} must have a finite score, found ${score}`,
      );
    }
    lowest = Math.min(lowest, score);
    const isEmpty = tokens.offsets[id] === tokens.offsets[id + 1];
    const isByte = kinds[id] === tokenKind.byte;
    const isReachable = (kinds[id] ?? 0) <= tokenKind.added || (isByte && parts.findsWrittenBytes);
    if (isReachable && id !== parts.unknownId && !isEmpty) ids.push(id);
  }
  ids.sort((a, b) => compareBytes(tokens, a, b));
  const firstOf = new Int32Array(257).fill(ids.length);
  for (let i = ids.length - 1; i >= 0; i--) firstOf[byteOf(tokens, ids[i] ?? 0, 0)] = i;
  for (let byte = 255; byte >= 0; byte--) {
    if (firstOf[byte] === ids.length) firstOf[byte] = firstOf[byte + 1] ?? ids.length;
  }
  const { unknownId, byteIds } = parts;
  const unknownScore = lowest - unknownPenalty;
  return { tokens, scores, sorted: Int32Array.from(ids), firstOf, unknownId, unknownScore, byteIds };
}

/** Byte `at` of a token, −1 past its end. */
function byteOf({ bytes, offsets }: ByteStrings, id: number, at: number): number {
  const position = (offsets[id] ?? 0) + at;
  return position < (offsets[id + 1] ?? 0) ? (bytes[position] ?? 0) : -1;
}

function compareBytes(tokens: ByteStrings, a: number, b: number): number {
  for (let at = 0; ; at++) {
    const left = byteOf(tokens, a, at);
    const right = byteOf(tokens, b, at);
    if (left !== right) return left - right;
    if (left < 0) return a - b;
  }
}

/**
 * Appends the tokens of `bytes[start, end)` to `out`.
 * @throws BitNetError INVALID_ARGUMENT when the piece is longer than 4 MiB.
 */
export function segmentPiece(
  unigram: Unigram,
  bytes: Uint8Array,
  start: number,
  end: number,
  out: IdList,
): void {
  const length = end - start;
  checkPieceLength(length);
  const best = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
  const cameFrom = new Int32Array(length + 1);
  const cameBy = new Int32Array(length + 1); // the token that ends here
  best[0] = 0;
  for (let at = 0; at < length; ) {
    const charEnd = Math.min(length, at + charLength(bytes[start + at] ?? 0));
    const score = best[at] ?? 0;
    const offer = (stop: number, id: number, gain: number) => {
      if (!(score + gain > (best[stop] ?? 0))) return;
      best[stop] = score + gain;
      cameFrom[stop] = at;
      cameBy[stop] = id;
    };
    let isKnown = false;
    forEachToken(unigram, bytes, start + at, end, (id, stop) => {
      if (stop - start === charEnd) isKnown = true;
      offer(stop - start, id, unigram.scores[id] ?? 0);
    });
    if (!isKnown) offer(charEnd, unigram.unknownId, unigram.unknownScore);
    at = charEnd;
  }
  pushPath(unigram, bytes, start, length, { cameFrom, cameBy }, out);
}

/** Calls back for every token that `bytes` has at `position`, shorter ones first. */
function forEachToken(
  { tokens, sorted, firstOf }: Unigram,
  bytes: Uint8Array,
  position: number,
  end: number,
  found: (id: number, stop: number) => void,
): void {
  const first = bytes[position] ?? 0;
  let low = firstOf[first] ?? 0;
  let high = firstOf[first + 1] ?? 0;
  for (let length = 1; low < high; length++) {
    // Of tokens with a common beginning, the one that is no longer comes first.
    const id = sorted[low] ?? 0;
    if (byteOf(tokens, id, length) < 0) {
      found(id, position + length);
      while (low < high && byteOf(tokens, sorted[low] ?? 0, length) < 0) low++;
    }
    if (position + length >= end) return;
    const byte = bytes[position + length] ?? 0;
    low = firstAtLeast(tokens, sorted, low, high, length, byte);
    high = firstAtLeast(tokens, sorted, low, high, length, byte + 1);
  }
}

/** The first of `sorted[low, high)` whose byte `at` is not below `byte`. */
function firstAtLeast(
  tokens: ByteStrings,
  sorted: Int32Array,
  low: number,
  high: number,
  at: number,
  byte: number,
): number {
  let [from, to] = [low, high];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (byteOf(tokens, sorted[middle] ?? 0, at) < byte) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** Unknown characters in a row are one unknown token, or their bytes where all of these have tokens. */
function pushPath(
  { unknownId, byteIds }: Unigram,
  bytes: Uint8Array,
  start: number,
  length: number,
  { cameFrom, cameBy }: { cameFrom: Int32Array; cameBy: Int32Array },
  out: IdList,
): void {
  const stops: number[] = [];
  for (let at = length; at > 0; at = cameFrom[at] ?? 0) stops.push(at);
  stops.reverse();
  for (let i = 0; i < stops.length; ) {
    const stop = stops[i] ?? 0;
    if (cameBy[stop] !== unknownId) {
      pushId(out, cameBy[stop] ?? 0);
      i++;
      continue;
    }
    const from = cameFrom[stop] ?? 0;
    while (i + 1 < stops.length && cameBy[stops[i + 1] ?? 0] === unknownId) i++;
    const unknown = bytes.subarray(start + from, start + (stops[i] ?? 0));
    i++;
    if (unknown.every((byte) => (byteIds[byte] ?? -1) >= 0)) {
      for (const byte of unknown) pushId(out, byteIds[byte] ?? 0);
    } else pushId(out, unknownId);
  }
}
