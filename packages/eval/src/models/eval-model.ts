/** What an evaluation asks of a model, wherever it runs. Knows no task. */
import type { ChatMessage } from "@bitnet.ts/core";

export interface LikelihoodRequest {
  readonly context: string;
  /** Begins with the delimiter; never empty. */
  readonly continuation: string;
}

export interface Likelihood {
  /** Σ log p of the continuation's tokens. */
  readonly sum: number;
  readonly nTokens: number;
}

export interface AnswerRequest {
  /** A text to continue, or a conversation to answer. */
  readonly prompt: string | readonly ChatMessage[];
  readonly stop: readonly string[];
  readonly maxTokens: number;
  /** Default: greedy. */
  readonly sampling?: { readonly temperature: number; readonly topP: number; readonly seed: number };
}

export interface WindowLikelihoods {
  /** log p of each token of the text, by windows. */
  readonly sum: number;
  readonly nTokens: number;
}

export interface EvalModel {
  /** For reports. */
  readonly name: string;
  /** What scores depend on: tokens of context, whether texts begin with a beginning-of-text token, … */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** One per request, in order. Requests of one call may share their contexts. */
  likelihoods(requests: readonly LikelihoodRequest[]): Promise<Likelihood[]>;
  /** A greedy answer, without the stop text. */
  answer(request: AnswerRequest): Promise<string>;
  /** Null where a model cannot tell. */
  readonly perplexity: ((text: string, mode: PerplexityMode) => Promise<WindowLikelihoods>) | null;
}

/**
 * `rolling`: every token once, in windows of the context, each of which but the first begins with the last token before it. `chunks`:
 * llama.cpp's way, as `bitnet perplexity` counts: the beginning-of-text token before each chunk, of which only the second half counts.
 */
export type PerplexityMode = "rolling" | "chunks";
