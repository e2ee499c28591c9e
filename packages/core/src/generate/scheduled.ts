/**
 * What the scheduler runs: something with tokens whose rows are to be computed, that says what to ask of them and takes the answers.
 * Generations (request.ts) and embeddings (embedding.ts) are such; the roster and the plan of a step know no more of them than this.
 */
import type { HeadRequest, HeadResult } from "../backend/step.ts";
import type { PagedSequence } from "../model/paged-cache.ts";
import type { StopReason } from "./stop.ts";
import type { RequestClock } from "./timings.ts";

export interface ScheduledRequest {
  /** Ascending with the time of arrival. */
  readonly order: number;
  /** Prompt and generated tokens. */
  readonly tokens: readonly number[];
  readonly nPrompt: number;
  readonly clock: RequestClock;
  /** Prefixes are shared among requests of equal salt only. */
  readonly cacheSalt: string;
  /** It has time, and others come first. */
  readonly isBackground: boolean;
  /** The adapter of its rows, by its number in the program; −1: none. */
  readonly adapter: number;
  readonly signal: AbortSignal | null;
  state: "waiting" | "running" | "paused" | "done";
  /** Its pages, while it holds any. */
  sequence: PagedSequence | null;
  /** The last step that ran rows of this request. */
  lastServed: number;
  /** Rows still to run. */
  readonly nPending: number;
  /**
   * Tokens that can be found one after the other without asking the request between them, as far as can be told: each the first id of what
   * `headRequests` asks for now. 1 where the next one depends on more.
   */
  readonly nForeseen: number;
  /** Rows that the cache may supply. */
  readonly shareLimit: number;
  /** Answers that its reader has let lie. */
  readonly nUnread: number;
  /** So many rows more (or fewer, when a copy was given up) come from the cache. */
  noteShared(nRows: number): void;
  /** The pages are lost, and their rows will be computed again. */
  notePreempted(): void;
  /** Settles when `headRequests` can be asked; null when they can now. */
  ready(): Promise<void> | null;
  /** The head requests of the rows at positions `from … from + count)`, the first of which is row `firstRow` of the step. */
  headRequests(from: number, count: number, firstRow: number): HeadRequest[];
  /** @returns false when the answers leave a choice open: then the last row has to run again, and is asked for more. */
  decide(end: number, results: readonly HeadResult[]): boolean;
  /**
   * Takes the answers to `headRequests`, in order, once the rows up to `end` have run and `decide` has been asked.
   * @returns Why the request has ended, or null when it goes on.
   */
  accept(end: number, results: readonly HeadResult[]): StopReason | null;
  /** Tells whoever waits how it ended. */
  finish(reason: StopReason): void;
  fail(error: unknown): void;
  /** Lets go of what the caller gave. */
  dispose(): void;
}
