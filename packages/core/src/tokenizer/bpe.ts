/**
 * Merges the symbols of one piece (its bytes, or its characters) into tokens: always the merge of lowest rank, leftmost first, until none applies. A
 * binary heap over a linked list keeps it at O(n log n), so that a long run without a split point stays cheap. Knows
 * nothing of splitting or special tokens.
 */
import { BitNetError } from "../base/errors.ts";
import { charLength } from "./char-class.ts";
import { type MergeTable, mergeRank } from "./merges.ts";
import { findToken, type Vocabulary } from "./vocabulary.ts";

/** Counts work, for tests and diagnosis: add-only, may be shared by several calls. */
export interface EncodeStats {
  /** Moves of entries inside the merge heap. */
  heapSteps: number;
}

/** A growing list of token ids. */
export interface IdList {
  ids: Int32Array;
  length: number;
}

export function createIdList(): IdList {
  return { ids: new Int32Array(64), length: 0 };
}

export function pushId(list: IdList, id: number): void {
  if (list.length === list.ids.length) {
    const larger = new Int32Array(2 * list.ids.length);
    larger.set(list.ids);
    list.ids = larger;
  }
  list.ids[list.length++] = id;
}

/** Working memory of `mergePiece`, reused from piece to piece. */
interface MergeScratch {
  ids: Int32Array; // token of the symbol that starts at each byte
  next: Int32Array; // start of the following symbol, n at the end
  previous: Int32Array; // start of the symbol before, −1 at the front
  ranks: Int32Array; // rank of the merge with the following symbol, −1 for none
  merged: Int32Array; // token of that merge
  heap: Float64Array; // rank · 2^27 + position, a binary min-heap; outdated entries stay until popped
  heapSize: number;
  heapSteps: number;
}

/** Longest piece that is merged: 4 MiB need 128 MiB of working memory. */
const maxPieceBytes = 2 ** 22;
/** Scratch for more than this is given back after use. */
const keptPieceBytes = 2 ** 16;
/** Positions lie below, ranks (at most 2^26 merges fit in memory) above: exact in a float64. */
const positionRange = 2 ** 27;

export function createScratch(capacity = 256): MergeScratch {
  return {
    ids: new Int32Array(capacity),
    next: new Int32Array(capacity),
    previous: new Int32Array(capacity),
    ranks: new Int32Array(capacity),
    merged: new Int32Array(capacity),
    // Each merge pops one entry and pushes at most two: never more than 2n.
    heap: new Float64Array(2 * capacity),
    heapSize: 0,
    heapSteps: 0,
  };
}

/** What merging needs of a tokenizer. */
export interface Bpe {
  readonly byteIds: Int32Array; // [256], −1 where there is no token for the byte
  /** Present where pieces start as characters; absent where they start as bytes. */
  readonly characters?: CharacterRules;
  /** Which pairs merge: those of a list, or whatever makes a token, the one of highest score first. */
  readonly merges: MergeTable | ScoreTable;
  scratch: MergeScratch;
}

/** What becomes of characters. */
interface CharacterRules {
  readonly vocabulary: Vocabulary;
  /** Stands for characters without a token, unless all bytes of the character have one; `null`: they are left out. */
  readonly unknownId: number | null;
  /** Unknown characters in a row give one token. */
  readonly fuseUnknown: boolean;
}

/** Tokens ranked by score, for SentencePiece's merging: the two halves need not be tokens themselves. */
export interface ScoreTable {
  readonly vocabulary: Vocabulary;
  readonly scoreRanks: Int32Array; // [count], lower first; equal scores share a rank
  readonly longest: number; // bytes
}

/** @throws BitNetError TOKENIZER_INVALID for a score that is no number. */
export function createScoreTable(
  vocabulary: Vocabulary,
  scores: ArrayLike<number>,
  name: string,
): ScoreTable {
  const { count, offsets } = vocabulary.tokens;
  const order = Array.from({ length: count }, (_, id) => id);
  let longest = 0;
  for (const id of order) {
    longest = Math.max(longest, (offsets[id + 1] ?? 0) - (offsets[id] ?? 0));
    if (Number.isFinite(scores[id])) continue;
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `${name}: token ${id} must have a finite score, found ${scores[id]}`,
    );
  }
  const score = (id: number) => scores[id] ?? 0;
  order.sort((a, b) => score(b) - score(a));
  const scoreRanks = new Int32Array(count);
  let rank = 0;
  for (const [index, id] of order.entries()) {
    if (index > 0 && score(id) < score(order[index - 1] ?? 0)) rank++;
    scoreRanks[id] = rank;
  }
  return { vocabulary, scoreRanks, longest };
}

/**
 * Appends the tokens of `bytes[start, end)` to `out`.
 * @throws BitNetError INVALID_ARGUMENT when the piece is longer than 4 MiB.
 */
export function mergePiece(bpe: Bpe, bytes: Uint8Array, start: number, end: number, out: IdList): void {
  const length = end - start;
  if (length === 1 && bpe.characters === undefined) {
    pushId(out, bpe.byteIds[bytes[start] ?? 0] ?? 0);
    return;
  }
  if (length > bpe.scratch.ids.length) bpe.scratch = createLargerScratch(bpe.scratch, length);
  const scratch = bpe.scratch;
  const first = fill(bpe, bytes, start, length);
  while (scratch.heapSize > 0) {
    const key = popKey(scratch);
    const rank = Math.floor(key / positionRange);
    const position = key - rank * positionRange;
    // An entry whose pair has changed is outdated, unless the new pair has the same rank and thus the same turn.
    if (scratch.ranks[position] === rank) mergeAt(bpe, bytes, start, position, length);
  }
  if (bpe.characters === undefined) {
    for (let at = first; at < length; at = scratch.next[at] ?? length) pushId(out, scratch.ids[at] ?? 0);
  } else pushSymbols(bpe, bpe.characters, bytes, start, first, length, out);
  if (length > keptPieceBytes) {
    bpe.scratch = createScratch();
    bpe.scratch.heapSteps = scratch.heapSteps;
  }
}

/** @throws BitNetError INVALID_ARGUMENT for a piece of more than 4 MiB. */
export function checkPieceLength(length: number): void {
  if (length <= maxPieceBytes) return;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `tokenizer: the text has a run of ${length} bytes without a place to split, at most ${maxPieceBytes} can be encoded`,
    { details: { length, maximum: maxPieceBytes } },
  );
}

function createLargerScratch(old: MergeScratch, length: number): MergeScratch {
  checkPieceLength(length);
  const scratch = createScratch(2 ** Math.ceil(Math.log2(length)));
  scratch.heapSteps = old.heapSteps;
  return scratch;
}

/** @returns The start of the first symbol. */
function fill(bpe: Bpe, bytes: Uint8Array, start: number, length: number): number {
  const { next, previous, ranks, heap } = bpe.scratch;
  const first =
    bpe.characters === undefined
      ? fillBytes(bpe, bytes, start, length)
      : fillCharacters(bpe, bpe.characters, bytes, start, length);
  let size = 0;
  for (let at = first; at < length; at = next[at] ?? length) {
    const rank = rankPair(bpe, bytes, start, at, length);
    ranks[at] = rank;
    if (rank >= 0) heap[size++] = rank * positionRange + at;
  }
  if (first < length) previous[first] = -1;
  bpe.scratch.heapSize = size;
  for (let i = (size >> 1) - 1; i >= 0; i--) siftDown(bpe.scratch, i, heap[i] ?? 0);
  return first;
}

function fillBytes({ byteIds, scratch }: Bpe, bytes: Uint8Array, start: number, length: number): number {
  const { ids, next, previous } = scratch;
  for (let i = 0; i < length; i++) {
    ids[i] = byteIds[bytes[start + i] ?? 0] ?? 0;
    next[i] = i + 1;
    previous[i] = i - 1;
  }
  return 0;
}

/** Characters without a token get id −1, or are left out where nothing can stand for them. */
function fillCharacters(
  bpe: Bpe,
  rules: CharacterRules,
  bytes: Uint8Array,
  start: number,
  length: number,
): number {
  const { ids, next, previous } = bpe.scratch;
  let first = length;
  let last = -1;
  for (let at = 0; at < length; ) {
    const stop = Math.min(length, at + charLength(bytes[start + at] ?? 0));
    const id = findToken(rules.vocabulary, bytes, start + at, start + stop);
    if (id >= 0 || rules.unknownId !== null || haveBytes(bpe, bytes, start + at, start + stop)) {
      ids[at] = id;
      previous[at] = last;
      if (last < 0) first = at;
      else next[last] = at;
      next[at] = length;
      last = at;
    }
    at = stop;
  }
  return first;
}

function haveBytes({ byteIds }: Bpe, bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if ((byteIds[bytes[at] ?? 0] ?? -1) < 0) return false;
  return true;
}

/** Symbols that are no token fall back to their bytes or to the unknown token. */
function pushSymbols(
  bpe: Bpe,
  { unknownId, fuseUnknown }: CharacterRules,
  bytes: Uint8Array,
  start: number,
  first: number,
  length: number,
  out: IdList,
): void {
  const { ids, next } = bpe.scratch;
  let isUnknown = false;
  for (let at = first; at < length; at = next[at] ?? length) {
    const id = ids[at] ?? -1;
    const stop = at + charLength(bytes[start + at] ?? 0);
    if (id >= 0) pushId(out, id);
    else if (haveBytes(bpe, bytes, start + at, start + stop)) {
      for (let byte = at; byte < stop; byte++) pushId(out, bpe.byteIds[bytes[start + byte] ?? 0] ?? 0);
    } else {
      if (!(isUnknown && fuseUnknown)) pushId(out, unknownId ?? 0);
      isUnknown = true;
      continue;
    }
    isUnknown = false;
  }
}

function mergeAt(bpe: Bpe, bytes: Uint8Array, start: number, position: number, length: number): void {
  const { ids, next, previous, ranks, merged } = bpe.scratch;
  const right = next[position] ?? length;
  const after = next[right] ?? length;
  ids[position] = merged[position] ?? 0;
  ranks[right] = -1;
  next[position] = after;
  if (after < length) previous[after] = position;
  updatePair(bpe, bytes, start, position, length);
  const before = previous[position] ?? -1;
  if (before >= 0) updatePair(bpe, bytes, start, before, length);
}

/** Looks up the merge of the symbol at `position` with its follower and queues it. */
function updatePair(bpe: Bpe, bytes: Uint8Array, start: number, position: number, length: number): void {
  const rank = rankPair(bpe, bytes, start, position, length);
  bpe.scratch.ranks[position] = rank;
  if (rank >= 0) pushKey(bpe.scratch, rank * positionRange + position);
}

/** Rank of the merge of the symbol at `position` with its follower, −1 for none; notes what it makes. */
function rankPair(bpe: Bpe, bytes: Uint8Array, start: number, position: number, length: number): number {
  const { ids, next, merged } = bpe.scratch;
  const right = next[position] ?? length;
  if (right >= length) return -1;
  if ("scoreRanks" in bpe.merges) {
    const { vocabulary, scoreRanks, longest } = bpe.merges;
    const end = next[right] ?? length;
    if (end - position > longest) return -1;
    const id = findToken(vocabulary, bytes, start + position, start + end);
    merged[position] = id;
    return id < 0 ? -1 : (scoreRanks[id] ?? -1);
  }
  const rank = mergeRank(bpe.merges, ids[position] ?? 0, ids[right] ?? 0);
  if (rank >= 0) merged[position] = bpe.merges.merged[rank] ?? 0;
  return rank;
}

function pushKey(scratch: MergeScratch, key: number): void {
  const { heap } = scratch;
  let at = scratch.heapSize++;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] ?? 0;
    if (above <= key) break;
    heap[at] = above;
    at = parent;
    scratch.heapSteps++;
  }
  heap[at] = key;
  scratch.heapSteps++;
}

function popKey(scratch: MergeScratch): number {
  const { heap } = scratch;
  const top = heap[0] ?? 0;
  scratch.heapSize--;
  if (scratch.heapSize > 0) siftDown(scratch, 0, heap[scratch.heapSize] ?? 0);
  return top;
}

/** Puts `key` in at `position`, moving smaller entries up. */
function siftDown(scratch: MergeScratch, position: number, key: number): void {
  const { heap, heapSize } = scratch;
  let at = position;
  for (let child = 2 * at + 1; child < heapSize; child = 2 * at + 1) {
    if (child + 1 < heapSize && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child++;
    const below = heap[child] ?? 0;
    if (below >= key) break;
    heap[at] = below;
    at = child;
    scratch.heapSteps++;
  }
  heap[at] = key;
  scratch.heapSteps++;
}
