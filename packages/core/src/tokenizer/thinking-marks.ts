/**
 * Finds the marks between which a model thinks, from its template and vocabulary, and whether a rendered prompt has opened
 * them. Knows nothing of generation.
 */
import type { Tokenizer } from "./tokenizer.ts";

/** The marks around a model's thinking, as generation takes them. */
export interface PromptThinking {
  readonly open: string;
  readonly close: string;
  /** The tokens that spell the closing mark. */
  readonly closeIds: readonly number[];
  /** The token that is the opening mark, if it is one token. */
  readonly openId: number | null;
  /** The prompt ends after the opening mark. */
  readonly isOpen: boolean;
}

/** Pairs of marks that published models use. */
const knownMarks: readonly (readonly [string, string])[] = [
  ["<think>", "</think>"],
  ["<thinking>", "</thinking>"],
  ["[THINK]", "[/THINK]"],
  ["<|begin_of_thought|>", "<|end_of_thought|>"],
  ["<seed:think>", "</seed:think>"],
];

/** @returns `null` for a model that neither its template nor its vocabulary says to think. */
export function findThinking(
  tokenizer: Tokenizer,
  templateSource: string,
  prompt: string,
): PromptThinking | null {
  const marks = knownMarks.find(
    ([open, close]) =>
      templateSource.includes(close) || (tokenizer.idOf(open) !== null && tokenizer.idOf(close) !== null),
  );
  if (marks === undefined) return null;
  const [open, close] = marks;
  const closeId = tokenizer.idOf(close);
  const opened = prompt.lastIndexOf(open);
  return {
    open,
    close,
    closeIds: closeId === null ? [...tokenizer.encode(close)] : [closeId],
    openId: tokenizer.idOf(open),
    // Marks that a user wrote are followed by the template's own text.
    isOpen: opened >= 0 && /^[ \t\r\n]*$/.test(prompt.slice(opened + open.length)),
  };
}

/** Whether the template can be told not to think. */
export function hasThinkingSwitch(templateSource: string): boolean {
  return /\benable_thinking\b/.test(templateSource);
}
