/**
 * Trains a byte-level BPE vocabulary: pieces of text are counted once, then the most frequent pair of neighbours becomes a token,
 * until the vocabulary is full. Ties go to the pair with the lower ids, so that the result depends on the texts' contents only.
 * Source: Sennrich et al., "Neural machine translation of rare words with subword units", 2016; bytes as in GPT-2.
 */
import { BitNetError, pieceScanner, type SplitRule } from "@bitnet.ts/core";

/** The rules that vocabularies are trained with. */
export type TrainedSplitRule = Extract<SplitRule, "llama-3" | "gpt-2">;

import { PairQueue } from "./pair-queue.ts";

export interface BpeOptions {
  /** Tokens altogether: 256 bytes, merges, and the control tokens. */
  vocabSize: number;
  /** Control tokens; they get the highest ids. */
  specialTokens: readonly string[];
  /** Texts that are to be one token each where they stand alone; they are merged before anything that was counted. */
  required?: readonly string[];
  splitRule?: TrainedSplitRule;
  /** Pieces seen less often than this take no part. Default 1. */
  minCount?: number;
}

export interface BpeVocabulary {
  /** The bytes of every ordinary token; index = id. The first 256 are the bytes themselves. */
  readonly tokens: readonly Uint8Array[];
  /** Pairs of ids in order of rank; merge i makes token 256 + i. */
  readonly merges: readonly (readonly [number, number])[];
  /** Their ids follow those of `tokens`. */
  readonly specialTokens: readonly string[];
  readonly splitRule: TrainedSplitRule;
}

/** Pieces longer than this are no words; they would only cost time. */
const longestPiece = 256;
/** More than any count of a real corpus: required texts come first. */
const requiredWeight = 2 ** 45;

const utf8 = new TextEncoder();

/** Counts the pieces of a corpus, text by text. */
export class PieceCounter {
  readonly counts = new Map<string, number>();
  readonly splitRule: TrainedSplitRule;

  constructor(splitRule: TrainedSplitRule = "llama-3") {
    this.splitRule = splitRule;
  }

  /** @param weight How often the text counts. */
  add(text: string, weight = 1): void {
    const bytes = utf8.encode(text);
    const scan = pieceScanner(this.splitRule);
    for (let at = 0; at < bytes.length; ) {
      const end = scan(bytes, at, bytes.length);
      if (end - at <= longestPiece) {
        const key = latin1(bytes, at, end);
        this.counts.set(key, (this.counts.get(key) ?? 0) + weight);
      }
      at = end;
    }
  }
}

/** One character per byte, so that a piece can be a key. */
function latin1(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i] ?? 0);
  return text;
}

/**
 * @param pieces What `PieceCounter` counted, by the bytes of each piece.
 * @throws BitNetError INVALID_ARGUMENT for a vocabulary too small for the bytes and control tokens.
 */
export function trainBpe(pieces: ReadonlyMap<string, number>, options: BpeOptions): BpeVocabulary {
  const { vocabSize, specialTokens, splitRule = "llama-3", minCount = 1 } = options;
  const nMerges = vocabSize - 256 - specialTokens.length;
  if (!Number.isInteger(nMerges) || nMerges < 0) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `tokenizer training: a vocabulary of ${vocabSize} tokens has no room for 256 bytes and ${specialTokens.length} control tokens`,
    );
  }
  const words = countWords(pieces, options.required ?? [], { splitRule, minCount });
  const tokens: Uint8Array[] = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
  const merges: [number, number][] = [];
  const pairs = new PairTable(words);
  while (merges.length < nMerges) {
    const best = pairs.takeBest();
    if (best === null) break;
    const [left, right] = best;
    const id = tokens.length;
    tokens.push(joinBytes(tokens[left], tokens[right]));
    merges.push([left, right]);
    pairs.merge(left, right, id);
  }
  return { tokens, merges, specialTokens, splitRule };
}

interface Word {
  ids: number[];
  count: number;
}

/** Pieces of two bytes and more, in an order that does not depend on when they were seen. */
function countWords(
  pieces: ReadonlyMap<string, number>,
  required: readonly string[],
  { splitRule, minCount }: { splitRule: TrainedSplitRule; minCount: number },
): Word[] {
  const all = new Map([...pieces].filter(([, count]) => count >= minCount));
  const forced = new PieceCounter(splitRule);
  for (const text of required) forced.add(text, requiredWeight);
  for (const [key, count] of forced.counts)
    all.set(key, (all.get(key) ?? 0) + Math.min(count, requiredWeight));
  return [...all]
    .filter(([key]) => key.length > 1)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, count]) => ({ ids: Array.from(key, (c) => c.charCodeAt(0)), count }));
}

function joinBytes(left: Uint8Array | undefined, right: Uint8Array | undefined): Uint8Array {
  return Uint8Array.of(...(left ?? []), ...(right ?? []));
}

/** Counts of neighbouring pairs over all words, kept up to date as pairs merge. */
class PairTable {
  readonly #words: readonly Word[];
  readonly #counts = new Map<number, number>();
  /** Words that hold a pair, or held it once. */
  readonly #places = new Map<number, Set<number>>();
  readonly #queue = new PairQueue();

  constructor(words: readonly Word[]) {
    this.#words = words;
    words.forEach(({ ids, count }, index) => {
      for (let i = 0; i + 1 < ids.length; i++) this.#add(pairKey(ids[i] ?? 0, ids[i + 1] ?? 0), count, index);
    });
    for (const [key, count] of this.#counts) this.#queue.push(key, count);
  }

  /** The most frequent pair; null when no pair is left. */
  takeBest(): [number, number] | null {
    for (;;) {
      const top = this.#queue.pop();
      if (top === null) return null;
      // An entry with an old count is out of date: the right one stands further down.
      if (top.count !== this.#counts.get(top.key) || top.count <= 0) continue;
      return [Math.floor(top.key / 2 ** 24), top.key % 2 ** 24];
    }
  }

  merge(left: number, right: number, id: number): void {
    const key = pairKey(left, right);
    const changed = new Set<number>();
    for (const index of this.#places.get(key) ?? []) {
      const word = this.#words[index];
      if (word !== undefined) this.#mergeWord(word, index, [left, right, id], changed);
    }
    this.#counts.delete(key);
    this.#places.delete(key);
    for (const each of changed) {
      const count = this.#counts.get(each) ?? 0;
      if (each !== key && count > 0) this.#queue.push(each, count);
    }
  }

  #mergeWord(
    word: Word,
    index: number,
    [left, right, id]: [number, number, number],
    changed: Set<number>,
  ): void {
    const { ids, count } = word;
    const merged: number[] = [];
    let hasMerged = false;
    for (let i = 0; i < ids.length; i++) {
      const isPair = ids[i] === left && ids[i + 1] === right;
      merged.push(isPair ? id : (ids[i] ?? 0));
      if (isPair) i++;
      hasMerged ||= isPair;
    }
    if (!hasMerged) return;
    for (let i = 0; i + 1 < ids.length; i++) {
      const key = pairKey(ids[i] ?? 0, ids[i + 1] ?? 0);
      this.#counts.set(key, (this.#counts.get(key) ?? 0) - count);
      changed.add(key);
    }
    for (let i = 0; i + 1 < merged.length; i++) {
      const key = pairKey(merged[i] ?? 0, merged[i + 1] ?? 0);
      this.#add(key, count, index);
      changed.add(key);
    }
    word.ids = merged;
  }

  #add(key: number, count: number, index: number): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
    const places = this.#places.get(key);
    if (places === undefined) this.#places.set(key, new Set([index]));
    else places.add(index);
  }
}

function pairKey(left: number, right: number): number {
  return left * 2 ** 24 + right;
}
