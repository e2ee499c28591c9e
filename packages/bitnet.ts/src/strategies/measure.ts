/**
 * Measures strategies from outside: our clock, our tokenizer, our limit of time. What an engine says of itself counts for nothing. Knows nothing of
 * right and wrong.
 */
import { describeModel, openModelFiles, readTokenizer } from "@bitnet.ts/core";
import { openLocation } from "#platform";
import type { Deployment } from "./strategy.ts";

/** Tokens of each text. */
const nTokens = 16;
/** No tokenizer has pieces that are as long on average: more text than this is more than was asked for. */
export const mostCharacters = 32 * nTokens;

export interface Limit {
  readonly signal: AbortSignal;
  /** @param onLate What becomes of a result that comes after all. */
  race<T>(work: Promise<T>, onLate?: (late: T) => unknown): Promise<T>;
}

/** For libraries that take no signal, too: their work is not waited for. */
export function limited(timeoutMs: number, outer: AbortSignal | undefined): Limit {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    async race(work, onLate = () => {}) {
      let isOver = false;
      let timer: NodeJS.Timeout | undefined;
      let stop = () => {};
      const ended = new Promise<never>((_, reject) => {
        stop = () => {
          isOver = true;
          controller.abort();
          reject(new Error(outer?.aborted ? "interrupted" : `it took longer than ${timeoutMs / 1000} s`));
        };
        timer = setTimeout(stop, timeoutMs);
        outer?.addEventListener("abort", stop, { once: true });
        if (outer?.aborted) stop();
      });
      void work.then(
        (late) => (isOver ? onLate(late) : undefined),
        () => {},
      );
      try {
        return await Promise.race([work, ended]);
      } finally {
        clearTimeout(timer);
        outer?.removeEventListener("abort", stop);
      }
    },
  };
}

/** A text, and what was seen of it from outside. */
export interface Answer {
  readonly prompt: string;
  readonly text: string;
  /** From the request to the end. */
  readonly ms: number;
  readonly firstTextMs: number | null;
  readonly said: number | null;
}

export async function timed(deployment: Deployment, prompt: string, limit: Limit): Promise<Answer> {
  const start = performance.now();
  let firstTextMs: number | null = null;
  const onText = () => {
    firstTextMs ??= performance.now() - start;
  };
  const request = { prompt, maxTokens: nTokens, signal: limit.signal, onText };
  const { text, saidTokensPerSecond } = await limit.race(deployment.generate(request));
  return { prompt, text, ms: performance.now() - start, firstTextMs, said: saidTokensPerSecond };
}

export async function together(
  prompts: readonly string[],
  ask: (prompt: string) => Promise<Answer>,
): Promise<{ answers: Answer[]; ms: number }> {
  const start = performance.now();
  const answers = await Promise.all(prompts.map(ask));
  return { answers, ms: performance.now() - start };
}

/** Whoever says more than was asked for is no faster for it. */
export function ratePerSecond(answers: readonly Answer[], ms: number, count: TokenCounter): number | null {
  let sum = 0;
  for (const { text } of answers) {
    const tokens = count(text);
    if (tokens === null) return null;
    sum += Math.min(tokens, nTokens);
  }
  return (1000 * sum) / ms;
}

export type TokenCounter = (text: string) => number | null;

/** One ruler for all: the tokenizer of the model that is asked for. Where it cannot be had, no strategy has a rate. */
export async function openTokenCounter(model: string): Promise<TokenCounter> {
  try {
    const files = await openModelFiles(await openLocation(model, {}));
    try {
      const tokenizer = readTokenizer(files, describeModel(files, model).config);
      return (text) => tokenizer.encode(text.slice(0, mostCharacters), { bos: false }).length;
    } finally {
      await files.close();
    }
  } catch {
    return () => null;
  }
}
