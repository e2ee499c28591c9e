/**
 * What a server has done, counted where it happens: requests, answers, tokens, times. Everything that watches (metrics, the monitor)
 * reads from here. Knows neither how it is shown nor how it is kept.
 */
import type { GenerationResult } from "bitnet.ts";

/** Sums since the start. */
export interface Totals {
  /** Requests for answers that have ended, those of batches not among them. */
  requests: number;
  /** Those of them that failed by the server's fault. */
  failed: number;
  latencyMs: number;
  answers: number;
  /** Sum of the times to the first token, waiting included, and of how many; those of batches not among them. */
  firstTokenMs: number;
  firstTokens: number;
  promptTokens: number;
  /** Prompt tokens whose rows were taken from the cache. */
  cachedTokens: number;
  generatedTokens: number;
}

export interface EndedRequest {
  /** The path's pattern, as the server's map has it. */
  readonly route: string;
  readonly status: number;
  readonly ms: number;
  /** Whether it asked for an answer of a model. */
  readonly isAnswer: boolean;
  readonly isBackground: boolean;
  readonly id: string;
  readonly method: string;
  /** W3C's header, as the client has sent it. */
  readonly traceparent: string | undefined;
  /** Milliseconds since 1970. */
  readonly endedAt: number;
  /** What it has failed with, if it has. */
  readonly errorCode: string | null;
  readonly answers: readonly EndedAnswer[];
}

export interface EndedAnswer {
  readonly model: string;
  readonly result: GenerationResult;
  /** In the server's queue, before the engine's. */
  readonly queuedMs: number;
  readonly isBackground: boolean;
  /** Milliseconds since 1970. */
  readonly endedAt: number;
}

/** Wants to hear of each single event. */
export interface ActivityListener {
  request(ended: EndedRequest): void;
  answer(ended: EndedAnswer): void;
  /** Time between two tokens of one answer. */
  gap(model: string, ms: number): void;
}

export class Activity {
  readonly totals: Totals = {
    requests: 0,
    failed: 0,
    latencyMs: 0,
    answers: 0,
    firstTokenMs: 0,
    firstTokens: 0,
    promptTokens: 0,
    cachedTokens: 0,
    generatedTokens: 0,
  };
  readonly #listener: ActivityListener;

  constructor(listener: ActivityListener) {
    this.#listener = listener;
  }

  request(ended: EndedRequest): void {
    if (ended.isAnswer && !ended.isBackground) {
      this.totals.requests++;
      this.totals.latencyMs += ended.ms;
      // What is not supported here is no fault of this server.
      if (ended.status >= 500 && ended.status !== 501) this.totals.failed++;
    }
    this.#listener.request(ended);
  }

  /** Follows an answer. The returned functions are called for each token and at the end. */
  follow(
    model: string,
    isBackground: boolean,
  ): { token(): void; end(result: GenerationResult, queuedMs: number): EndedAnswer } {
    let last: number | null = null;
    let nPieces = 0;
    return {
      token: () => {
        const now = performance.now();
        if (last !== null && !isBackground) this.#listener.gap(model, now - last);
        last = now;
        // Counted as they come: a long answer must not look like a standstill.
        this.totals.generatedTokens++;
        nPieces++;
      },
      end: (result, queuedMs) => {
        this.totals.answers++;
        if (!isBackground && result.ids.length > 0) {
          this.totals.firstTokens++;
          this.totals.firstTokenMs += queuedMs + result.timings.firstTokenMs;
        }
        this.totals.generatedTokens += result.ids.length - nPieces; // a last piece may stand for no token
        this.totals.promptTokens += result.promptTokens;
        this.totals.cachedTokens += result.cachedTokens;
        const ended = { model, result, queuedMs, isBackground, endedAt: Date.now() };
        this.#listener.answer(ended);
        return ended;
      },
    };
  }
}
