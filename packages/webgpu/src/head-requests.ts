/**
 * The head requests that are answered together: what the device is told of them, what comes back, and their answers. A few highest logits are ranked on the
 * device; all others, and what is rare, follow from all logits of a row.
 */
import type { BitNetError, HeadRequest, HeadResult } from "@bitnet.ts/core";
import { answer } from "./answers.ts";
import { type HeadPlan, mostPicks } from "./head-plan.ts";
import { askedWords } from "./kernels/head.ts";
import { bestWords, logitOfKey, mostRanked } from "./kernels/head-best.ts";

/** A piece of a buffer that is to be read. */
export interface Copy {
  buffer: GPUBuffer;
  from: number;
  bytes: number;
}

/** How a request is answered: from the state, from all logits, from the best of each stretch of the vocabulary. */
type Way = "state" | "all" | "best";

/** @throws BitNetError NUMERIC_FAILURE for the row. */
export type NotFinite = (row: number) => BitNetError;

export class HeadRequests {
  readonly #plan: HeadPlan;
  readonly #requests: readonly HeadRequest[];
  readonly #ways: readonly Way[];
  /** The most that any request wants to be ranked. */
  readonly #ranked: number;
  /** Pairs of request and id. */
  readonly #picks: Uint32Array<ArrayBuffer>;

  /** @param requests At most as many as the plan answers together. */
  constructor(plan: HeadPlan, requests: readonly HeadRequest[]) {
    this.#plan = plan;
    this.#requests = requests;
    const picks: number[] = [];
    this.#ways = requests.map((request, i) => {
      if (request.want.kind === "state") return "state";
      const { apart = [] } = request;
      if (!isRanked(request) || picks.length / 2 + apart.length > mostPicks) return "all";
      for (const id of apart) picks.push(i, id);
      return "best";
    });
    this.#picks = Uint32Array.from(picks);
    this.#ranked = requests.reduce(
      (most, request, i) => Math.max(most, this.#ways[i] === "best" ? rankedOf(request) : 0),
      0,
    );
  }

  get hasLogits(): boolean {
    return this.#ways.some((way) => way !== "state");
  }

  get isRanked(): boolean {
    return this.#ways.includes("best");
  }

  get hasPicks(): boolean {
    return this.#picks.length > 0;
  }

  write(queue: GPUQueue): void {
    const { asked, masks, picks, maskWords } = this.#plan;
    const words = new Uint32Array(askedWords * this.#requests.length);
    for (const [i, request] of this.#requests.entries()) {
      const isBest = this.#ways[i] === "best";
      const mask = isBest ? maskOf(request, maskWords) : null;
      if (mask !== null) queue.writeBuffer(masks, 4 * maskWords * i, mask);
      const own = [request.row, isBest ? rankedOf(request) : 0, mask === null ? 0 : 1, this.#ranked];
      words.set(own, askedWords * i);
    }
    queue.writeBuffer(asked, 0, words);
    if (this.hasPicks) queue.writeBuffer(picks, 0, this.#picks);
  }

  /** In the order in which `answers` reads them. */
  copies(): Copy[] {
    const { cols, vocabSize, nStretches, states, logits, best, picked } = this.#plan;
    const copies = this.#ways.flatMap((way, i): Copy[] => {
      if (way === "state") return [{ buffer: states, from: 4 * cols * i, bytes: 4 * cols }];
      if (way === "all") return [{ buffer: logits, from: 4 * vocabSize * i, bytes: 4 * vocabSize }];
      const bytes = 4 * nStretches * bestWords(this.#ranked);
      return [{ buffer: best, from: bytes * i, bytes }];
    });
    if (this.hasPicks) copies.push({ buffer: picked, from: 0, bytes: 2 * this.#picks.byteLength });
    return copies;
  }

  /** @param at Where in `bytes` the copies begin. */
  answers(bytes: ArrayBuffer, at: number, notFinite: NotFinite): HeadResult[] {
    const copies = this.copies();
    let place = at;
    const places = copies.map((copy) => {
      place += copy.bytes;
      return place - copy.bytes;
    });
    const picked = this.hasPicks
      ? new Float32Array(bytes, places.at(-1), this.#picks.length / 2)
      : new Float32Array();
    let nPicked = 0;
    return this.#requests.map((request, i) => {
      const { row, apart = new Int32Array() } = request;
      const words = (copies[i]?.bytes ?? 0) / 4;
      const from = places[i] ?? 0;
      if (this.#ways[i] === "best") {
        const ranking = merge(
          new Uint32Array(bytes, from, words),
          bestWords(this.#ranked),
          rankedOf(request),
        );
        if (ranking === null) throw notFinite(row);
        nPicked += apart.length;
        return { row, ...ranking, apartLogits: picked.slice(nPicked - apart.length, nPicked) };
      }
      const values = new Float32Array(bytes, from, words).slice();
      if (!values.every(Number.isFinite)) throw notFinite(row);
      if (this.#ways[i] === "all") return answer(request, values);
      const none = { ids: new Int32Array(), logits: new Float32Array(), apartLogits: new Float32Array() };
      return { row, ...none, state: values };
    });
  }
}

/** Whether the device ranks what is asked for, and nothing else is asked. */
function isRanked({ want, logSumExp }: HeadRequest): boolean {
  return want.kind === "top" && want.k <= mostRanked && !logSumExp;
}

function rankedOf({ want }: HeadRequest): number {
  return want.kind === "top" ? want.k : 0;
}

/** Whether the next step can take its token from such a request: the first of what is ranked, the same ids left out each time. */
export function givesToken(request: HeadRequest): boolean {
  return isRanked(request) && rankedOf(request) === 1;
}

/** The ids that are ranked; null: all. */
function maskOf({ allow, apart }: HeadRequest, words: number): Uint32Array<ArrayBuffer> | null {
  if (allow === undefined && (apart === undefined || apart.length === 0)) return null;
  const mask = new Uint32Array(words).fill(0xffffffff);
  if (allow !== undefined) mask.set(allow.subarray(0, words));
  for (const id of apart ?? []) mask[id >> 5] = (mask[id >> 5] ?? 0) & ~(1 << (id & 31));
  return mask;
}

/** The first `k` of all stretches; null where a logit is not finite. */
function merge(
  best: Uint32Array,
  stride: number,
  k: number,
): { ids: Int32Array<ArrayBuffer>; logits: Float32Array<ArrayBuffer> } | null {
  const found: { key: number; id: number }[] = [];
  for (let at = 0; at < best.length; at += stride) {
    if ((best[at] ?? 0) >= 0x7f800000) return null;
    for (let i = 0; i < k && (best[at + 1 + 2 * i] ?? 0) > 0; i++)
      found.push({ key: best[at + 1 + 2 * i] ?? 0, id: best[at + 2 + 2 * i] ?? 0 });
  }
  found.sort((a, b) => b.key - a.key || a.id - b.id);
  const first = found.slice(0, k);
  return {
    ids: Int32Array.from(first, ({ id }) => id),
    logits: Float32Array.from(first, ({ key }) => logitOfKey(key)),
  };
}
