/**
 * Texts that end a repetition, as tokens: a token that contains one, or one that ends with its beginning, followed by the tokens of the
 * rest. As llama.cpp finds them. Knows nothing of penalties.
 */

/** What is needed of a tokenizer for that. */
export interface BreakerVocabulary {
  readonly vocabSize: number;
  tokenBytes(id: number): Uint8Array;
  encode(text: string): Int32Array;
}

/** Rests of more tokens are cut, as in llama.cpp. */
const longestRest = 20;
/** Lists of texts whose tokens are remembered. */
const mostKept = 8;

export class SequenceBreakers {
  /** By the first token of a breaker: the tokens after it. */
  readonly #rests: ReadonlyMap<number, readonly Int32Array[]>;

  constructor(rests: ReadonlyMap<number, readonly Int32Array[]>) {
    this.#rests = rests;
  }

  /** Whether the token is a breaker by itself. */
  isSingle(token: number): boolean {
    return this.#rests.get(token)?.some((rest) => rest.length === 0) === true;
  }

  /** How many tokens the longest breaker has after its first one at `recent[back]`; −1: none begins there. @param recent The last token first. */
  longestAt(recent: readonly number[], back: number): number {
    let longest = -1;
    for (const rest of this.#rests.get(recent[back] ?? -1) ?? [])
      if (rest.length > longest && rest.length <= back && rest.every((id, i) => id === recent[back - i - 1]))
        longest = rest.length;
    return longest;
  }
}

export const noBreakers = new SequenceBreakers(new Map());

const kept = new WeakMap<BreakerVocabulary, Map<string, SequenceBreakers>>();
const indexes = new WeakMap<BreakerVocabulary, ByteIndex>();

/** Remembers the last few lists of every vocabulary. */
export function breakersOf(vocabulary: BreakerVocabulary, texts: readonly string[]): SequenceBreakers {
  if (texts.length === 0) return noBreakers;
  let lists = kept.get(vocabulary);
  if (lists === undefined) {
    lists = new Map();
    kept.set(vocabulary, lists);
  }
  const key = JSON.stringify(texts);
  const known = lists.get(key) ?? findBreakers(vocabulary, texts);
  lists.delete(key);
  lists.set(key, known);
  for (const oldest of lists.keys()) if (lists.size > mostKept) lists.delete(oldest);
  return known;
}

function findBreakers(vocabulary: BreakerVocabulary, texts: readonly string[]): SequenceBreakers {
  let index = indexes.get(vocabulary);
  if (index === undefined) {
    index = indexBytes(vocabulary);
    indexes.set(vocabulary, index);
  }
  const rests = new Map<number, Int32Array[]>();
  for (const text of texts) addBreaker(vocabulary, index, text, rests);
  return new SequenceBreakers(rests);
}

interface ByteIndex {
  /** By byte: the tokens that contain it. */
  readonly containing: readonly (readonly number[])[];
  /** By byte: the token that it is; −1: none. */
  readonly single: Int32Array;
}

function indexBytes({ vocabSize, tokenBytes }: BreakerVocabulary): ByteIndex {
  const containing = Array.from({ length: 256 }, (): number[] => []);
  const single = new Int32Array(256).fill(-1);
  for (let id = 0; id < vocabSize; id++) {
    const bytes = tokenBytes(id);
    for (const byte of bytes) {
      const list = containing[byte];
      if (list !== undefined && list.at(-1) !== id) list.push(id);
    }
    if (bytes.length === 1) single[bytes[0] ?? 0] = id;
  }
  return { containing, single };
}

function addBreaker(
  vocabulary: BreakerVocabulary,
  { containing, single }: ByteIndex,
  text: string,
  rests: Map<number, Int32Array[]>,
): void {
  const breaker = new TextEncoder().encode(text);
  /** By where the rest begins. */
  const encoded = new Map<number, Int32Array | null>();
  for (const id of containing[breaker[0] ?? 0] ?? []) {
    const bytes = vocabulary.tokenBytes(id);
    for (const from of startsOf(bytes, breaker)) {
      if (!encoded.has(from)) encoded.set(from, encodeRest(vocabulary, single, breaker.subarray(from)));
      const rest = encoded.get(from) ?? null;
      if (rest === null) continue;
      const list = rests.get(id);
      if (list === undefined) rests.set(id, [rest]);
      else list.push(rest);
    }
  }
}

/** Where the rest of the breaker begins that has to follow the token: its length where the token contains it, else where the two overlap. */
function startsOf(bytes: Uint8Array, breaker: Uint8Array): number[] {
  const starts: number[] = [];
  for (let at = 0; at < bytes.length; at++) {
    const shared = Math.min(bytes.length - at, breaker.length);
    let i = 0;
    while (i < shared && bytes[at + i] === breaker[i]) i++;
    if (i === breaker.length) return [i];
    if (i === shared) starts.push(i);
  }
  return starts;
}

/** Bytes of a character that has begun in the token before are tokens of their own; null where the vocabulary has none for them. */
function encodeRest(vocabulary: BreakerVocabulary, single: Int32Array, bytes: Uint8Array): Int32Array | null {
  let nBegun = 0;
  while (nBegun < bytes.length && ((bytes[nBegun] ?? 0) & 0xc0) === 0x80) nBegun++;
  const begun = Array.from(bytes.subarray(0, nBegun), (byte) => single[byte] ?? -1);
  if (begun.includes(-1)) return null;
  const after =
    nBegun === bytes.length ? [] : vocabulary.encode(new TextDecoder().decode(bytes.subarray(nBegun)));
  return Int32Array.from([...begun, ...after]).slice(0, longestRest);
}
