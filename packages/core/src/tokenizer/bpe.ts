/**
 * Merges the bytes of one piece into tokens: always the merge of lowest rank, leftmost first, until none applies. A
 * binary heap over a linked list keeps it at O(n log n), so that a long run without a split point stays cheap. Knows
 * nothing of splitting or special tokens.
 */
import { BitNetError } from "../base/errors.ts";
import { type MergeTable, mergeRank } from "./merges.ts";

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
    // Each merge pops one entry and pushes at most two: never more than 2n.
    heap: new Float64Array(2 * capacity),
    heapSize: 0,
    heapSteps: 0,
  };
}

/** What merging needs of a tokenizer. */
export interface Bpe {
  readonly byteIds: Int32Array; // [256]
  readonly merges: MergeTable;
  scratch: MergeScratch;
}

/**
 * Appends the tokens of `bytes[start, end)` to `out`.
 * @throws BitNetError INVALID_ARGUMENT when the piece is longer than 4 MiB.
 */
export function mergePiece(bpe: Bpe, bytes: Uint8Array, start: number, end: number, out: IdList): void {
  const length = end - start;
  if (length === 1) {
    pushId(out, bpe.byteIds[bytes[start] ?? 0] ?? 0);
    return;
  }
  if (length > bpe.scratch.ids.length) bpe.scratch = createLargerScratch(bpe.scratch, length);
  const scratch = bpe.scratch;
  fill(bpe, bytes, start, length);
  while (scratch.heapSize > 0) {
    const key = popKey(scratch);
    const rank = Math.floor(key / positionRange);
    const position = key - rank * positionRange;
    // A pair at one place only ever grows, so an equal rank means the same pair.
    if (scratch.ranks[position] === rank) mergeAt(bpe, position, rank, length);
  }
  for (let at = 0; at < length; at = scratch.next[at] ?? length) pushId(out, scratch.ids[at] ?? 0);
  if (length > keptPieceBytes) {
    bpe.scratch = createScratch();
    bpe.scratch.heapSteps = scratch.heapSteps;
  }
}

function createLargerScratch(old: MergeScratch, length: number): MergeScratch {
  if (length > maxPieceBytes) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `tokenizer: the text has a run of ${length} bytes without a place to split, at most ${maxPieceBytes} can be encoded`,
      { details: { length, maximum: maxPieceBytes } },
    );
  }
  const scratch = createScratch(2 ** Math.ceil(Math.log2(length)));
  scratch.heapSteps = old.heapSteps;
  return scratch;
}

function fill(bpe: Bpe, bytes: Uint8Array, start: number, length: number): void {
  const { ids, next, previous, ranks, heap } = bpe.scratch;
  let size = 0;
  for (let i = 0; i < length; i++) {
    ids[i] = bpe.byteIds[bytes[start + i] ?? 0] ?? 0;
    next[i] = i + 1;
    previous[i] = i - 1;
  }
  for (let i = 0; i + 1 < length; i++) {
    const rank = mergeRank(bpe.merges, ids[i] ?? 0, ids[i + 1] ?? 0);
    ranks[i] = rank;
    if (rank >= 0) heap[size++] = rank * positionRange + i;
  }
  ranks[length - 1] = -1;
  bpe.scratch.heapSize = size;
  for (let i = (size >> 1) - 1; i >= 0; i--) siftDown(bpe.scratch, i, heap[i] ?? 0);
}

function mergeAt(bpe: Bpe, position: number, rank: number, length: number): void {
  const { ids, next, previous, ranks } = bpe.scratch;
  const right = next[position] ?? length;
  const after = next[right] ?? length;
  ids[position] = bpe.merges.merged[rank] ?? 0;
  ranks[right] = -1;
  next[position] = after;
  if (after < length) previous[after] = position;
  updatePair(bpe, position, length);
  const before = previous[position] ?? -1;
  if (before >= 0) updatePair(bpe, before, length);
}

/** Looks up the merge of the symbol at `position` with its follower and queues it. */
function updatePair(bpe: Bpe, position: number, length: number): void {
  const { ids, next, ranks } = bpe.scratch;
  const right = next[position] ?? length;
  const rank = right < length ? mergeRank(bpe.merges, ids[position] ?? 0, ids[right] ?? 0) : -1;
  ranks[position] = rank;
  if (rank >= 0) pushKey(bpe.scratch, rank * positionRange + position);
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
