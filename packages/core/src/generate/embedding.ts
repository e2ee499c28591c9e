/**
 * One text to embed on its way through the scheduler: asks for the states of its rows and pools them (docs/numerics.md, "pooling"). Rows are
 * pooled in ascending order of position, however they were spread over steps, so that the bits do not depend on what else runs.
 */
import type { HeadRequest, HeadResult } from "../backend/step.ts";
import { BitNetError } from "../base/errors.ts";
import type { Pooling } from "../model/family.ts";
import type { PagedSequence } from "../model/paged-cache.ts";
import type { ScheduledRequest } from "./scheduled.ts";
import type { StopReason } from "./stop.ts";
import { RequestClock } from "./timings.ts";

export interface PoolingOptions {
  pooling: Pooling;
  /** Of `mean`: the first token that counts (what stands before is an instruction). Default 0. */
  from?: number;
  /** As of a generation. Default "". */
  cacheSalt?: string;
  signal?: AbortSignal | undefined;
}

export interface PooledText {
  /** [hidden size] */
  readonly values: Float32Array;
  readonly nTokens: number;
  /** Tokens whose rows were taken from the cache instead of being computed. */
  readonly nCached: number;
}

interface Settle {
  resolve(result: PooledText): void;
  reject(error: unknown): void;
}

export class EmbeddingRequest implements ScheduledRequest {
  readonly order: number;
  readonly tokens: readonly number[];
  readonly nPrompt: number;
  readonly clock = new RequestClock();
  readonly cacheSalt: string;
  readonly isBackground = false;
  readonly adapter = -1;
  readonly signal: AbortSignal | null;
  readonly nUnread = 0;
  readonly nForeseen = 1;
  readonly result: Promise<PooledText>;
  state: ScheduledRequest["state"] = "waiting";
  sequence: PagedSequence | null = null;
  lastServed = -1;
  readonly #settle: Settle;
  /** The states from this position on count. */
  readonly #first: number;
  readonly #nTokens: number;
  /** Positions before this one are in the sums. */
  #pooled: number;
  #sums: Float64Array | null = null;
  #nCached = 0;
  #wasPreempted = false;

  constructor({
    order,
    ids,
    pooling,
    from = 0,
    cacheSalt = "",
    signal,
  }: PoolingOptions & { order: number; ids: Int32Array }) {
    this.order = order;
    // What comes after the first token does not change its state.
    this.tokens = Array.from(pooling === "cls" ? ids.subarray(0, 1) : ids);
    this.nPrompt = this.tokens.length;
    this.#nTokens = ids.length;
    this.cacheSalt = cacheSalt;
    this.signal = signal ?? null;
    const last = this.nPrompt - 1;
    this.#first = pooling === "mean" ? Math.min(from, last) : last;
    this.#pooled = this.#first;
    const settle: Settle = { resolve() {}, reject() {} };
    this.result = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }));
    this.#settle = settle;
    this.result.catch(() => {}); // whoever awaits it sees the error
  }

  get nPending(): number {
    return this.tokens.length - (this.sequence?.written ?? 0);
  }

  /** All rows but those whose states are still wanted. */
  get shareLimit(): number {
    return this.#pooled;
  }

  noteShared(nRows: number): void {
    if (!this.#wasPreempted) this.#nCached += nRows;
  }

  notePreempted(): void {
    this.#wasPreempted = true;
  }

  ready(): null {
    return null;
  }

  headRequests(from: number, count: number, firstRow: number): HeadRequest[] {
    const heads: HeadRequest[] = [];
    for (let position = Math.max(from, this.#pooled); position < from + count; position++)
      heads.push({ row: firstRow + position - from, want: { kind: "state" } });
    return heads;
  }

  decide(): boolean {
    return true;
  }

  accept(end: number, results: readonly HeadResult[]): StopReason | null {
    for (const { state } of results) {
      if (state === undefined) throw new BitNetError("INTERNAL", "embed: a state was not answered");
      this.#sums ??= new Float64Array(state.length);
      for (let i = 0; i < state.length; i++) this.#sums[i] = (this.#sums[i] as number) + (state[i] as number);
    }
    this.#pooled += results.length;
    if (end < this.tokens.length) return null;
    this.clock.markPromptDone();
    return "length";
  }

  finish(reason: StopReason): void {
    if (reason === "abort" || this.#sums === null) {
      const cause: unknown = this.signal?.aborted ? this.signal.reason : undefined;
      this.#settle.reject(new BitNetError("ABORTED", "embed: it was aborted before its end", { cause }));
      return;
    }
    const n = this.nPrompt - this.#first;
    const values = Float32Array.from(this.#sums, (sum) => sum / n);
    this.#settle.resolve({ values, nTokens: this.#nTokens, nCached: this.#nCached });
  }

  fail(error: unknown): void {
    this.#settle.reject(error);
  }

  dispose(): void {}
}
