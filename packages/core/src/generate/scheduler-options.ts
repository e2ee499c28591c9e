/** What a scheduler is told, and what it reports of itself. */
import { BitNetError } from "../base/errors.ts";
import { suggestion } from "../base/suggestion.ts";
import type { TextSource } from "./request.ts";

export interface SchedulerOptions {
  /** Pages of the executable's arena (`LoadOptions.nPages`). */
  nPages: number;
  /** Turns tokens into text and knows the end-of-sequence tokens. Without it all text is empty. */
  tokenizer?: TextSource;
  /** Names of the program's adapters, in the order of their numbers. */
  adapters?: readonly string[];
  /** The most rows of a step, at most `LoadOptions.maxRows`, and the most requests that run at once. Default 512. */
  maxRows?: number;
  /** The most prompt rows of a step. Default 512. */
  prefillChunk?: number;
  /** The same for steps that also decode, so that a long prompt does not hold up running texts. Default 128. */
  prefillChunkWhileDecoding?: number;
  /** A request pauses when its reader has let so many pieces lie, and goes on when half of them are read. Default 256. */
  maxUnread?: number;
}

export interface SchedulerStats {
  running: number;
  waiting: number;
  /** Requests whose reader has fallen behind. */
  paused: number;
  pagesInUse: number;
  /** Pages without a user, kept for later sequences that begin alike. */
  pagesCached: number;
  pagesFree: number;
  /** Rows taken from the cache, and rows computed, since the start. */
  rowsSkipped: number;
  rowsComputed: number;
  steps: number;
  /** Tokens for which a short answer of the head was not enough, so that their row ran twice. */
  undecided: number;
  /** How often a request lost its pages to another and had to recompute them. */
  preemptions: number;
}

/** @throws BitNetError INVALID_ARGUMENT for what is no positive integer. */
export function checkPositive(options: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(options))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `scheduler: ${name}: expected a positive integer, found ${value}`,
      );
}

/** The number of an adapter among those that are loaded; −1 for none. @throws BitNetError INVALID_ARGUMENT for a name that is not there. */
export function adapterNumber(adapters: readonly string[], name: string | null): number {
  const number = name === null ? -1 : adapters.indexOf(name);
  if (name === null || number >= 0) return number;
  const known = adapters.length === 0 ? "none is loaded" : `loaded: ${adapters.join(", ")}`;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `adapter: there is no "${name.slice(0, 100)}" (${known}${suggestion(name, adapters)})`,
  );
}

/** @throws BitNetError INVALID_ARGUMENT for an empty prompt or ids that are none, CONTEXT_EXCEEDED. */
export function checkPrompt(
  prompt: Int32Array,
  where: "generate" | "embed",
  { vocabSize, contextLength }: { vocabSize: number; contextLength: number },
): void {
  const fail = (message: string): never => {
    throw new BitNetError("INVALID_ARGUMENT", `${where}: ${message}`);
  };
  if (prompt.length === 0) fail("the prompt is empty; it needs at least one token");
  const wrong = prompt.findIndex((id) => !(id >= 0 && id < vocabSize));
  if (wrong >= 0) fail(`prompt token ${wrong} is ${prompt[wrong]}, expected an id in 0…${vocabSize - 1}`);
  if (prompt.length <= contextLength) return;
  throw new BitNetError(
    "CONTEXT_EXCEEDED",
    `${where}: the prompt has ${prompt.length} tokens, but the context holds ${contextLength}; shorten the prompt`,
    { details: { promptTokens: prompt.length, contextLength } },
  );
}
