/**
 * The head requests that are answered together: what the device is told of them, what comes back, and their answers. A few highest logits are ranked on the
 * device; all others, and what is rare, follow from all logits of a row.
 */
import type { BitNetError, HeadRequest, HeadResult } from "@bitnet.ts/core";
import { answer } from "./answers.ts";
import { mostTouched } from "./draw-plan.ts";
import { type Drawn, drawOf, greedyDraw, mostStretches, rankedForDraw, writeDraws } from "./draw-requests.ts";
import { type HeadPlan, mostPicks } from "./head-plan.ts";
import { leftOpen, notFinite, stateWords } from "./kernels/draw.ts";
import { askedWords } from "./kernels/head.ts";
import { bestWords, logitOfKey, mostRanked } from "./kernels/head-best.ts";

/** A piece of a buffer that is to be read. */
export interface Copy {
  buffer: GPUBuffer;
  from: number;
  bytes: number;
}

/** How a request is answered: from the state, from all logits, from the best of each stretch of the vocabulary, by a draw on the device. */
type Way = "state" | "all" | "best" | "drawn";

/** @returns BitNetError NUMERIC_FAILURE for the row. */
export type FailureOf = (row: number) => BitNetError;

export class HeadRequests {
  readonly #plan: HeadPlan;
  readonly #requests: readonly HeadRequest[];
  readonly #ways: readonly Way[];
  readonly #drawn: readonly (Drawn | null)[];
  /** The most that any request wants to be ranked. */
  readonly #ranked: number;
  /** Pairs of request and id. */
  readonly #picks: Uint32Array<ArrayBuffer>;

  /**
   * @param requests At most as many as the plan answers together.
   * @param isChain Of a chain, where either all take the highest logit or all are drawn.
   */
  constructor(plan: HeadPlan, requests: readonly HeadRequest[], isChain = false) {
    this.#plan = plan;
    this.#requests = requests;
    const { vocabSize, nStretches } = plan;
    const isAllDrawn = isChain && requests.some(({ want }) => want.kind === "draw");
    const picks: number[] = [];
    let nTouched = 0;
    this.#drawn = requests.map((request) => {
      const drawn = isAllDrawn && givesToken(request) ? greedyDraw(request) : drawOf(request, vocabSize);
      if (drawn === null || nStretches > mostStretches) return null;
      nTouched += drawn.touched.length;
      return nTouched <= mostTouched ? drawn : null;
    });
    this.#ways = requests.map((request, i) => {
      if (request.want.kind === "state") return "state";
      const { apart = [] } = request;
      const isDrawn = this.#drawn[i] !== null;
      if (!(isDrawn || isRanked(request)) || picks.length / 2 + apart.length > mostPicks) return "all";
      for (const id of apart) picks.push(i, id);
      return isDrawn ? "drawn" : "best";
    });
    this.#picks = Uint32Array.from(picks);
    this.#ranked = requests.reduce((most, _, i) => Math.max(most, this.#rankedOf(i)), 0);
  }

  get hasLogits(): boolean {
    return this.#ways.some((way) => way !== "state");
  }

  get isRanked(): boolean {
    return this.#ways.includes("best");
  }

  get isDrawn(): boolean {
    return this.#ways.includes("drawn");
  }

  /** Steps that a chain of such requests may have, at most `most`; 1 where the device cannot give the tokens of the next. */
  mostSteps(most: number): number {
    return this.#requests.reduce((least, request, i) => {
      if (this.#ways[i] === "best" && givesToken(request)) return least;
      if (this.#ways[i] !== "drawn") return 1;
      return request.want.kind === "draw"
        ? Math.min(least, 1 + (this.#drawn[i]?.leaving.length ?? 0))
        : least;
    }, most);
  }

  get hasPicks(): boolean {
    return this.#picks.length > 0;
  }

  write(queue: GPUQueue): void {
    const { asked, masks, picks, maskWords, draw } = this.#plan;
    const words = new Uint32Array(askedWords * this.#requests.length);
    for (const [i, request] of this.#requests.entries()) {
      const mask = this.#maskOf(i, request);
      if (mask !== null) queue.writeBuffer(masks, 4 * maskWords * i, mask);
      const isDrawn = this.#ways[i] === "drawn" ? 1 : 0;
      const own = [request.row, this.#rankedOf(i), mask === null ? 0 : 1, this.#ranked, isDrawn];
      words.set(own, askedWords * i);
    }
    queue.writeBuffer(asked, 0, words);
    if (this.hasPicks) queue.writeBuffer(picks, 0, this.#picks);
    if (!this.isDrawn) return;
    const drawn = this.#drawn.map((each, i) => (this.#ways[i] === "drawn" ? each : null));
    writeDraws(queue, draw, { requests: this.#requests, drawn, ranked: this.#ranked });
  }

  /** In the order in which `answers` reads them. */
  copies(): Copy[] {
    const { cols, vocabSize, nStretches, states, logits, best, picked, draw } = this.#plan;
    const copies = this.#ways.flatMap((way, i): Copy[] => {
      if (way === "state") return [{ buffer: states, from: 4 * cols * i, bytes: 4 * cols }];
      if (way === "all") return [{ buffer: logits, from: 4 * vocabSize * i, bytes: 4 * vocabSize }];
      if (way === "drawn") return [{ buffer: draw.state, from: 4 * stateWords * i, bytes: 8 }];
      const bytes = 4 * nStretches * bestWords(this.#ranked);
      return [{ buffer: best, from: bytes * i, bytes }];
    });
    if (this.hasPicks) copies.push({ buffer: picked, from: 0, bytes: 2 * this.#picks.byteLength });
    return copies;
  }

  /** Draws that the device has left open, which all logits of the request decide. @param at Where in `bytes` the copies begin. */
  open(bytes: ArrayBuffer, at: number): { request: number; copy: Copy }[] {
    const { vocabSize, logits } = this.#plan;
    let place = at;
    return this.copies().flatMap((copy, i) => {
      place += copy.bytes;
      if (this.#ways[i] !== "drawn" || new Uint32Array(bytes, place - copy.bytes, 1)[0] !== leftOpen)
        return [];
      return [{ request: i, copy: { buffer: logits, from: 4 * vocabSize * i, bytes: 4 * vocabSize } }];
    });
  }

  /**
   * @param at Where in `bytes` the copies begin.
   * @param logits By request, of those that are open.
   */
  answers(
    bytes: ArrayBuffer,
    at: number,
    { failureOf, logits }: { failureOf: FailureOf; logits: ReadonlyMap<number, Float32Array> },
  ): HeadResult[] {
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
    const nextPicked = (n: number) => {
      nPicked += n;
      return picked.slice(nPicked - n, nPicked);
    };
    return this.#requests.map((request, i) => {
      const { row, apart = new Int32Array() } = request;
      const words = (copies[i]?.bytes ?? 0) / 4;
      const from = places[i] ?? 0;
      if (this.#ways[i] === "drawn") {
        const apartLogits = nextPicked(apart.length);
        const id = new Uint32Array(bytes, from, 1)[0] ?? leftOpen;
        if (id === notFinite) throw failureOf(row);
        if (id === leftOpen) return answer(request, logits.get(i) ?? new Float32Array());
        return {
          row,
          ids: Int32Array.of(id),
          logits: new Float32Array(bytes, from + 4, 1).slice(),
          apartLogits,
        };
      }
      if (this.#ways[i] === "best") {
        const ranking = merge(
          new Uint32Array(bytes, from, words),
          bestWords(this.#ranked),
          this.#rankedOf(i),
        );
        if (ranking === null) throw failureOf(row);
        return { row, ...ranking, apartLogits: nextPicked(apart.length) };
      }
      const values = new Float32Array(bytes, from, words).slice();
      if (!values.every(Number.isFinite)) throw failureOf(row);
      if (this.#ways[i] === "all") return answer(request, values);
      const none = { ids: new Int32Array(), logits: new Float32Array(), apartLogits: new Float32Array() };
      return { row, ...none, state: values };
    });
  }

  /** Ids that a stretch ranks for a request. */
  #rankedOf(i: number): number {
    const drawn = this.#drawn[i] ?? null;
    if (this.#ways[i] === "drawn" && drawn !== null) return rankedForDraw(drawn, this.#plan.vocabSize);
    const want = this.#requests[i]?.want;
    return this.#ways[i] === "best" && want?.kind === "top" ? want.k : 0;
  }

  /** The ids that are ranked or drawn from; null: all. */
  #maskOf(i: number, { allow, apart }: HeadRequest): Uint32Array<ArrayBuffer> | null {
    if (this.#ways[i] !== "best" && this.#ways[i] !== "drawn") return null;
    const leftOut = this.#drawn[i]?.forbidden ?? apart ?? [];
    if (allow === undefined && leftOut.length === 0) return null;
    const mask = new Uint32Array(this.#plan.maskWords).fill(0xffffffff);
    if (allow !== undefined) mask.set(allow.subarray(0, mask.length));
    for (const id of leftOut) mask[id >> 5] = (mask[id >> 5] ?? 0) & ~(1 << (id & 31));
    return mask;
  }
}

/** Whether the device ranks what is asked for, and nothing else is asked. */
function isRanked({ want, logSumExp }: HeadRequest): boolean {
  return want.kind === "top" && want.k <= mostRanked && !logSumExp;
}

/** Whether the next step can take its token from such a request: the first of what is ranked, the same ids left out each time. */
function givesToken(request: HeadRequest): boolean {
  return isRanked(request) && request.want.kind === "top" && request.want.k === 1;
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
