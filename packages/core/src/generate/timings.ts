/** The clock of one request: when it was admitted, when its prompt was done, when tokens came. */
import type { GenerationTimings } from "./stream.ts";

export class RequestClock {
  readonly #start = performance.now();
  #admitted: number | null = null;
  #promptDone: number | null = null;
  #firstToken: number | null = null;
  #lastToken: number | null = null;
  #nTokens = 0;

  /** The first admission counts; later calls change nothing. */
  markAdmitted(): void {
    this.#admitted ??= performance.now();
  }

  /** The first time counts. */
  markPromptDone(): void {
    this.#promptDone ??= performance.now();
  }

  /** A token was sampled, be it the one that ends the generation. */
  markToken(): void {
    this.#lastToken = performance.now();
    this.#firstToken ??= this.#lastToken;
    this.#nTokens++;
  }

  /** @param nComputed Prompt tokens that were not cached. */
  timings(nComputed: number): GenerationTimings {
    const admitted = this.#admitted ?? performance.now();
    const promptDone = this.#promptDone ?? admitted;
    const first = this.#firstToken ?? this.#start;
    const decodeMs = (this.#lastToken ?? first) - first;
    const promptMs = promptDone - admitted;
    return {
      queuedMs: admitted - this.#start,
      promptMs,
      firstTokenMs: first - this.#start,
      decodeMs,
      promptTokensPerSecond: perSecond(nComputed, promptMs),
      decodeTokensPerSecond: perSecond(this.#nTokens - 1, decodeMs),
    };
  }
}

function perSecond(count: number, ms: number): number {
  return ms > 0 ? (count * 1000) / ms : 0;
}
