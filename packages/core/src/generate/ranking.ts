/**
 * Token ids with logits in ranking order: higher logit first, equal logits by lower id. Sorting goes through one number per
 * token, so that a whole vocabulary is sorted without a comparison function.
 */
import { BitNetError } from "../base/errors.ts";

/** Candidates in ranking order. */
export interface Ranking {
  readonly ids: Int32Array;
  /** f32, finite. */
  readonly logits: Float32Array;
}

/** A sort key holds 32 bits of logit and 21 of id: 53, what f64 counts exactly. */
const idRange = 2 ** 21;

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** @throws BitNetError MODEL_UNSUPPORTED for a vocabulary that the sort keys cannot tell apart. */
export function checkVocabularySize(vocabSize: number): void {
  if (vocabSize > idRange)
    throw new BitNetError(
      "MODEL_UNSUPPORTED",
      `sampling: a vocabulary of ${vocabSize} tokens is larger than the ${idRange} that are supported`,
    );
}

/** Orders as the ranking does. `logit` must not be NaN. */
function keyOf(logit: number, id: number): number {
  float[0] = logit + 0; // −0 ranks as +0
  const word = bits[0] ?? 0;
  const descending = word >= 0x80000000 ? word : 0x7fffffff - word;
  return descending * idRange + id;
}

function logitOf(key: number): number {
  const descending = Math.floor(key / idRange);
  bits[0] = descending >= 0x80000000 ? descending : 0x7fffffff - descending;
  return float[0] ?? 0;
}

/** Collects candidates and ranks them. Logits of −Infinity (forbidden tokens) are left out. */
export class RankingBuilder {
  #keys: Float64Array;
  #count = 0;

  constructor(capacity: number) {
    this.#keys = new Float64Array(Math.max(capacity, 16));
  }

  add(id: number, logit: number): void {
    if (logit === Number.NEGATIVE_INFINITY) return;
    if (this.#count === this.#keys.length) {
      const grown = new Float64Array(2 * this.#count);
      grown.set(this.#keys);
      this.#keys = grown;
    }
    this.#keys[this.#count++] = keyOf(logit, id);
  }

  finish(): Ranking {
    const keys = this.#keys.subarray(0, this.#count).sort();
    const ids = new Int32Array(keys.length);
    const logits = new Float32Array(keys.length);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] ?? 0;
      ids[i] = key % idRange;
      logits[i] = logitOf(key);
    }
    return { ids, logits };
  }
}

/** The `k` best of a whole vocabulary, by insertion: for small k. */
export function topOfAll(logits: Float32Array, k: number): Ranking {
  const n = Math.min(k, logits.length);
  const ids = new Int32Array(n);
  const best = new Float32Array(n).fill(Number.NEGATIVE_INFINITY);
  let count = 0;
  for (let id = 0; id < logits.length && n > 0; id++) {
    const logit = logits[id] ?? 0;
    if (count === n && logit <= (best[n - 1] ?? 0)) continue;
    let at = count < n ? count++ : n - 1;
    for (; at > 0 && (best[at - 1] ?? 0) < logit; at--) {
      best[at] = best[at - 1] ?? 0;
      ids[at] = ids[at - 1] ?? 0;
    }
    best[at] = logit;
    ids[at] = id;
  }
  return { ids, logits: best };
}
