/**
 * The merge list as a hash from (left id, right id) to its rank, in typed arrays. Building it resolves every merge to
 * ids once, so that encoding never touches strings. Knows nothing of the order in which merges are applied.
 */
import { type ByteStrings, stringAt } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import { unspell } from "./byte-alphabet.ts";
import {
  collisions,
  findHashed,
  hashBytes,
  maxProbe,
  quoteToken,
  type Spelling,
  tableSize,
  tokenKind,
  type Vocabulary,
} from "./vocabulary.ts";

export interface MergeTable {
  /** Open addressing: left id + 1 (0 = free), right id, rank. */
  readonly slots: Int32Array; // [3 · (mask + 1)]
  readonly mask: number;
  readonly longestProbe: number;
  /** Token that the merge of each rank produces. */
  readonly merged: Int32Array; // [count]
}

/**
 * @param merges "left right" in the vocabulary's spelling, one space between; index = rank, lower first.
 * @throws BitNetError TOKENIZER_INVALID when a merge cannot be read or names a token that does not exist.
 */
export function createMergeTable(
  merges: ByteStrings,
  vocabulary: Vocabulary,
  name: string,
  spelling: Spelling = "byte-level",
): MergeTable {
  const { count, offsets } = merges;
  const mask = tableSize(count) - 1;
  const slots = new Int32Array(3 * (mask + 1));
  const merged = new Int32Array(count);
  const scratch = new Uint8Array(longest(merges));
  const found = new Int32Array(3); // left, right, merged
  const spell = spelling === "plain" ? copyBytes : unspell;
  let longestProbe = 0;
  let controls: Set<string> | undefined;
  for (let rank = 0; rank < count; rank++) {
    const space = merges.bytes.indexOf(0x20, offsets[rank] ?? 0);
    if (!resolve(merges, rank, space, { vocabulary, scratch, found, spell })) {
      controls ??= controlTexts(vocabulary);
      checkUnresolved(merges, rank, controls, name);
      continue;
    }
    const probe = insert(slots, mask, found[0] ?? 0, found[1] ?? 0, rank);
    if (probe > maxProbe) throw collisions(name, "merges");
    if (probe > longestProbe) longestProbe = probe;
    merged[rank] = found[2] ?? 0;
  }
  return { slots, mask, longestProbe, merged };
}

function longest(table: ByteStrings): number {
  let most = 0;
  for (let i = 0; i < table.count; i++) {
    most = Math.max(most, (table.offsets[i + 1] ?? 0) - (table.offsets[i] ?? 0));
  }
  return most;
}

interface ResolveState {
  vocabulary: Vocabulary;
  scratch: Uint8Array;
  found: Int32Array;
  /** As `unspell`. */
  spell: typeof unspell;
}

function copyBytes(source: Uint8Array, start: number, end: number, target: Uint8Array, at: number): number {
  target.set(source.subarray(start, end), at);
  return at + end - start;
}

/** Looks up both halves and their sum. */
function resolve(merges: ByteStrings, rank: number, space: number, state: ResolveState): boolean {
  const { vocabulary, scratch, found, spell } = state;
  const end = merges.offsets[rank + 1] ?? 0;
  if (space < 0 || space >= end) return false;
  const middle = spell(merges.bytes, merges.offsets[rank] ?? 0, space, scratch, 0);
  if (middle <= 0) return false;
  const last = spell(merges.bytes, space + 1, end, scratch, middle);
  if (last <= middle) return false;
  const hash = hashBytes(scratch, 0, middle);
  found[0] = findHashed(vocabulary, hash, scratch, 0, middle);
  found[1] = findHashed(vocabulary, hashBytes(scratch, middle, last), scratch, middle, last);
  found[2] = findHashed(vocabulary, hashBytes(scratch, middle, last, hash), scratch, 0, last);
  return (found[0] | found[1] | found[2]) >= 0;
}

/** A merge that touches a control token is left out, since plain text must never become one; any other is an error. */
function checkUnresolved(
  merges: ByteStrings,
  rank: number,
  controls: ReadonlySet<string>,
  name: string,
): void {
  const parts = stringAt(merges, rank).split(" ");
  const [left = "", right = ""] = parts;
  if (parts.length !== 2 || left === "" || right === "") {
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `${name}: merge ${rank} must be two tokens with one space between, found ${quoteToken(merges, rank)}`,
      { details: { rank } },
    );
  }
  if (controls.has(left) || controls.has(right) || controls.has(left + right)) return;
  throw new BitNetError(
    "TOKENIZER_INVALID",
    `${name}: merge ${rank} (${quoteToken(merges, rank)}) joins or makes a token that the vocabulary lacks; ` +
      "are both from the same model?",
    { details: { rank } },
  );
}

function controlTexts({ tokens, kinds }: Vocabulary): Set<string> {
  const texts = new Set<string>();
  for (let id = 0; id < tokens.count; id++)
    if (kinds[id] === tokenKind.control) texts.add(stringAt(tokens, id));
  return texts;
}

/** @returns The distance from the pair's own slot. Of two equal pairs the first stays. */
function insert(slots: Int32Array, mask: number, left: number, right: number, rank: number): number {
  const first = hashPair(left, right);
  for (let probe = 0; probe <= maxProbe; probe++) {
    const slot = 3 * ((first + probe) & mask);
    const held = slots[slot] ?? 0;
    if (held === left + 1 && slots[slot + 1] === right) return probe;
    if (held !== 0) continue;
    slots[slot] = left + 1;
    slots[slot + 1] = right;
    slots[slot + 2] = rank;
    return probe;
  }
  return maxProbe + 1;
}

function hashPair(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

/** Rank of the merge of two tokens, −1 when they do not merge. */
export function mergeRank(table: MergeTable, left: number, right: number): number {
  const { slots, mask, longestProbe } = table;
  const first = hashPair(left, right);
  for (let probe = 0; probe <= longestProbe; probe++) {
    const slot = 3 * ((first + probe) & mask);
    const held = slots[slot] ?? 0;
    if (held === 0) return -1;
    if (held === left + 1 && slots[slot + 1] === right) return slots[slot + 2] ?? -1;
  }
  return -1;
}
