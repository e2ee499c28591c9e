/**
 * The two ends of a running generation: the caller reads pieces and awaits the result; the scheduler pushes and learns when
 * the reader falls behind or leaves. Knows nothing of models.
 */
import type { TokenLogprob, TopLogprob } from "./logprobs.ts";
import type { StopReason } from "./stop.ts";

/**
 * What one sampled token adds. Pieces stand for the tokens of `GenerationResult.ids` in order. One more piece follows when
 * the token that ended the generation (not in `ids`) still sets text free; it carries that token's id, and so does a second piece of a token
 * that ends the thinking and begins the answer. The pieces' texts, joined, are the result's text (of channel "answer") and thinking.
 */
export interface TokenPiece {
  id: number;
  /** May be empty: a character may span tokens, and a possible stop text is held back. */
  text: string;
  /** With `thinking`: whether the text is thought or answered. */
  channel?: "thinking" | "answer";
  /** With `logprobs`, except in the piece of a token that ended the generation. */
  logprob?: number;
  top?: readonly TopLogprob[];
}

export interface GenerationTimings {
  /** From the request until it was admitted. */
  queuedMs: number;
  /** From then until the whole prompt was processed. */
  promptMs: number;
  /** From the request until the first token; 0 when there was none. */
  firstTokenMs: number;
  /** From the first token to the end. */
  decodeMs: number;
  /** Computed (not cached) prompt tokens; 0 when there is nothing to measure. */
  promptTokensPerSecond: number;
  /** Tokens after the first. */
  decodeTokensPerSecond: number;
}

export interface GenerationResult {
  /** The generated tokens, without the one that ended the generation. */
  ids: Int32Array;
  /** Without the stop text. After "abort": what had been set free until then. */
  text: string;
  /** With the option `thinking`: what stood between its marks; `text` is the answer alone. */
  thinking?: string;
  stopReason: StopReason;
  /** With "stop": the stop text that was found; absent when a token of `stopTokens` ended it. */
  stopText?: string;
  seed: number;
  promptTokens: number;
  /** Prompt tokens whose rows were taken from the cache instead of being computed. */
  cachedTokens: number;
  timings: GenerationTimings;
  /** One per prompt token; null for the first. */
  promptLogprobs?: readonly (TokenLogprob | null)[];
  /** One per token of `ids`. */
  logprobs?: readonly TokenLogprob[];
}

/**
 * A running generation. Read it with `for await` (leaving the loop cancels it), await `result`, or both. Once reading has
 * begun, a reader who stops without leaving pauses the generation, its result included; when no reading has begun, nothing
 * waits for it. All iterators share one stream.
 */
export interface Generation extends AsyncIterable<TokenPiece> {
  /** Rejects with the BitNetError of a generation that failed; one that was aborted resolves. */
  readonly result: Promise<GenerationResult>;
}

/** Pieces one after the other. `AsyncIterableIterator` has had a second parameter since TypeScript 5.6 only; older compilers read this. */
export interface PieceIterator<Piece> extends AsyncIterator<Piece, undefined> {
  [Symbol.asyncIterator](): PieceIterator<Piece>;
}

/** What the scheduler wants to hear from a stream. */
interface StreamEvents {
  /** The reader took a piece. */
  onRead(): void;
  /** The reader left. */
  onLeave(): void;
}

interface Waiter {
  resolve(result: IteratorResult<TokenPiece, undefined>): void;
  reject(error: unknown): void;
}

export class PieceStream implements Generation {
  readonly result: Promise<GenerationResult>;
  readonly #events: StreamEvents;
  readonly #settle: { resolve(result: GenerationResult): void; reject(error: unknown): void };
  #queue: TokenPiece[] = [];
  #nRead = 0;
  readonly #waiters: Waiter[] = [];
  #hasReader = false;
  #hasEnded = false;
  /** The error that the reader has still to see. */
  #error: { value: unknown } | null = null;

  constructor(events: StreamEvents) {
    this.#events = events;
    const { promise, resolve, reject } = deferred<GenerationResult>();
    // A caller who only reads pieces sees the error there; the result must not count as unhandled.
    promise.catch(() => {});
    this.result = promise;
    this.#settle = { resolve, reject };
  }

  /** Pieces that a reader has let lie; 0 as long as nobody reads. */
  get nUnread(): number {
    return this.#hasReader ? this.#queue.length - this.#nRead : 0;
  }

  [Symbol.asyncIterator](): PieceIterator<TokenPiece> {
    this.#hasReader = true;
    const iterator: PieceIterator<TokenPiece> = {
      next: () => this.#next(),
      return: () => this.#leave(),
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  push(piece: TokenPiece): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#queue.push(piece);
    else waiter.resolve({ done: false, value: piece });
  }

  finish(result: GenerationResult): void {
    this.#end(null);
    this.#settle.resolve(result);
  }

  fail(error: unknown): void {
    this.#end({ value: error });
    this.#settle.reject(error);
  }

  #end(error: { value: unknown } | null): void {
    this.#hasEnded = true;
    this.#error = error;
    for (const waiter of this.#waiters.splice(0)) void this.#next().then(waiter.resolve, waiter.reject);
  }

  async #next(): Promise<IteratorResult<TokenPiece, undefined>> {
    const piece = this.#queue[this.#nRead];
    if (piece !== undefined) {
      this.#nRead++;
      this.#compact();
      this.#events.onRead();
      return { done: false, value: piece };
    }
    if (!this.#hasEnded) return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
    const error = this.#error;
    this.#error = null;
    if (error !== null) throw error.value;
    return { done: true, value: undefined };
  }

  async #leave(): Promise<IteratorResult<TokenPiece, undefined>> {
    this.#queue = [];
    this.#nRead = 0;
    this.#error = null;
    if (!this.#hasEnded) this.#events.onLeave();
    return { done: true, value: undefined };
  }

  /** Drops the read pieces now and then, so that reading one costs constant time. */
  #compact(): void {
    if (this.#nRead < 1024 && this.#nRead < this.#queue.length) return;
    this.#queue.splice(0, this.#nRead);
    this.#nRead = 0;
  }
}

function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((resolvePromise, rejectPromise) => {
    resolve = resolvePromise;
    reject = rejectPromise;
  });
  return { promise, resolve, reject };
}
