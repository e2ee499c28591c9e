/**
 * Runs many generations on one executable: continuous batching with chunked prompts over a paged cache, one step after the
 * other as long as there is work. No text depends on what else runs: rows give the same bits in every batch, and noise
 * depends on seed and token number only. Which request runs when is decided in roster.ts.
 */
import { type Executable, pageTokens } from "../backend/backend.ts";
import type { HeadResult } from "../backend/step.ts";
import { BitNetError } from "../base/errors.ts";
import { maxUninterruptedMs, nextTask } from "../base/event-loop.ts";
import { PagedCache } from "../model/paged-cache.ts";
import { EmbeddingRequest, type PooledText, type PoolingOptions } from "./embedding.ts";
import type { GenerateOptions } from "./options.ts";
import { parseGenerateOptions } from "./parse-options.ts";
import { checkVocabularySize } from "./ranking.ts";
import { ActiveRequest, type TextSource } from "./request.ts";
import { RequestSignals } from "./request-signals.ts";
import { Roster } from "./roster.ts";
import type { ScheduledRequest } from "./scheduled.ts";
import {
  adapterNumber,
  checkPositive,
  checkPrompt,
  type SchedulerOptions,
  type SchedulerStats,
} from "./scheduler-options.ts";
import {
  followUp,
  type PlannedRows,
  partsAtFault,
  planStep,
  RequestFault,
  runPlan,
  type SettledRows,
  type StepPlan,
} from "./step-plan.ts";
import type { StopReason } from "./stop.ts";
import { type Generation, PieceStream } from "./stream.ts";

/** Free pages go back to the system in lots of at least so many. */
const releaseLot = 64;

export class Scheduler {
  /** Positions that a sequence can have: the model's, or the arena's when those are fewer. */
  readonly contextLength: number;
  readonly #executable: Executable;
  readonly #tokenizer: TextSource | null;
  readonly #adapters: readonly string[];
  readonly #maxUnread: number;
  readonly #cache: PagedCache;
  readonly #roster: Roster;
  readonly #signals = new RequestSignals();
  #inFlight: StepPlan | null = null;
  #pumping: Promise<void> | null = null;
  #disposal: Promise<void> | null = null;
  #mustClearCache = false;
  #nextOrder = 0;
  #nSteps = 0;
  #nUndecided = 0;
  #rowsComputed = 0;

  /**
   * @param executable Belongs to the scheduler from now on; nobody else may run or dispose it.
   * @throws BitNetError INVALID_ARGUMENT for options that are not positive integers.
   */
  constructor(executable: Executable, options: SchedulerOptions) {
    const {
      nPages,
      maxRows = 512,
      prefillChunk = 512,
      prefillChunkWhileDecoding = 128,
      maxUnread = 256,
    } = options;
    checkPositive({ nPages, maxRows, prefillChunk, prefillChunkWhileDecoding, maxUnread });
    checkVocabularySize(executable.program.vocabSize);
    this.#executable = executable;
    this.#tokenizer = options.tokenizer ?? null;
    this.#adapters = options.adapters ?? [];
    this.#maxUnread = maxUnread;
    this.contextLength = Math.min(executable.program.contextLength, nPages * pageTokens);
    this.#cache = new PagedCache(nPages);
    const limits = { maxRows, prefillChunk, prefillChunkWhileDecoding, contextLength: this.contextLength };
    this.#roster = new Roster(this.#cache, limits);
  }

  /**
   * Starts a generation.
   * @param promptIds Token ids, at least one; copied.
   * @throws BitNetError INVALID_ARGUMENT listing every faulty option, CONTEXT_EXCEEDED when the prompt is too long,
   * DISPOSED. Later failures reject `result` and the iteration.
   */
  generate(promptIds: Int32Array, options: GenerateOptions = {}): Generation {
    this.#checkAlive();
    const { vocabSize } = this.#executable.program;
    const settings = parseGenerateOptions(options, vocabSize);
    checkPrompt(promptIds, "generate", { vocabSize, contextLength: this.contextLength });
    if (settings.stop.length > 0 && this.#tokenizer === null)
      throw new BitNetError("INVALID_ARGUMENT", "generate: stop texts need a tokenizer");
    const stream = new PieceStream({
      onRead: () => this.#resume(request),
      onLeave: () => this.#end(request, "abort"),
    });
    const request: ActiveRequest = new ActiveRequest({
      order: this.#nextOrder++,
      prompt: promptIds,
      settings,
      adapter: adapterNumber(this.#adapters, settings.adapter),
      limits: { vocabSize, contextLength: this.contextLength, ...this.#offers },
      text: this.#tokenizer,
      stream,
    });
    this.#start(request);
    return stream;
  }

  /**
   * Computes the embedding of a text: the states of its tokens, pooled.
   * @param ids Token ids, at least one; copied.
   * @throws BitNetError INVALID_ARGUMENT for an empty text or ids that are none, CONTEXT_EXCEEDED, BACKEND_UNAVAILABLE where the backend does
   * not answer states, DISPOSED. Later failures reject the promise, an abort with ABORTED.
   */
  embed(ids: Int32Array, options: PoolingOptions): Promise<PooledText> {
    this.#checkAlive();
    const { vocabSize } = this.#executable.program;
    checkPrompt(ids, "embed", { vocabSize, contextLength: this.contextLength });
    if (!this.#executable.wants.includes("state"))
      throw new BitNetError(
        "BACKEND_UNAVAILABLE",
        "embed: this backend does not give out states; take another one",
      );
    const request = new EmbeddingRequest({ order: this.#nextOrder++, ids, ...options });
    this.#start(request);
    return request.result;
  }

  stats(): SchedulerStats {
    this.#checkAlive();
    const count = (state: ScheduledRequest["state"]) =>
      this.#roster.requests.filter((request) => request.state === state).length;
    return {
      running: count("running"),
      waiting: count("waiting"),
      paused: count("paused"),
      ...this.#cache.stats,
      rowsComputed: this.#rowsComputed,
      steps: this.#nSteps,
      undecided: this.#nUndecided,
      preemptions: this.#roster.nPreemptions,
    };
  }

  /** Forgets all prefixes that no running request uses and gives their memory back, after the step in flight. */
  clearCache(): void {
    this.#checkAlive();
    this.#mustClearCache = true;
    if (this.#inFlight === null) this.#tidy();
  }

  /** Ends all generations ("abort"), waits for the step in flight and disposes the executable. Idempotent. */
  dispose(): Promise<void> {
    this.#disposal ??= this.#disposeNow();
    return this.#disposal;
  }

  async #disposeNow(): Promise<void> {
    for (const request of this.#roster.requests) this.#end(request, "abort");
    await this.#pumping;
    await this.#executable.dispose();
  }

  /** What samplers may count on. */
  get #offers() {
    const { wants, mostChained = 1 } = this.#executable;
    return { wants, mostChained };
  }

  #checkAlive(): void {
    if (this.#disposal !== null) throw new BitNetError("DISPOSED", "scheduler: it has been disposed");
  }

  #start(request: ScheduledRequest): void {
    this.#roster.add(request);
    try {
      this.#signals.obey(request, () => this.#end(request, "abort"));
    } catch (error) {
      this.#fail(request, error);
    }
    this.#wake();
  }

  #wake(): void {
    this.#pumping ??= this.#pump();
  }

  /** Runs steps until nothing is left to run. */
  async #pump(): Promise<void> {
    // Requests that are made in one go shall share the first step.
    await Promise.resolve();
    let since = performance.now();
    let isAsked = false;
    let hadTurn = false;
    const turn = () => {
      isAsked = false;
      hadTurn = true;
    };
    for (;;) {
      const asked = new Set<ScheduledRequest>();
      for (let mask = this.#nextMask(asked); mask !== null; mask = this.#nextMask(asked)) await mask;
      const plan = this.#nextPlan();
      if (plan === null) break;
      // While a step is computed elsewhere, this thread does other things anyway.
      if (!isAsked) void nextTask().then(turn);
      isAsked = true;
      await this.#runStep(plan);
      if (!hadTurn) {
        if (performance.now() - since < maxUninterruptedMs) continue;
        await nextTask();
      }
      hadTurn = false;
      since = performance.now();
    }
    this.#pumping = null;
  }

  /** Settles when the mask of a request can be asked, which then joins `asked`; null when none is left to wait for. */
  #nextMask(asked: Set<ScheduledRequest>): Promise<void> | null {
    for (const request of this.#roster.requests) {
      if (request.state === "paused" || asked.has(request)) continue;
      try {
        const ready = request.ready();
        if (ready === null) continue;
        asked.add(request);
        return ready.catch((error: unknown) => this.#fail(request, error));
      } catch (error) {
        this.#fail(request, error);
      }
    }
    return null;
  }

  #nextPlan(): StepPlan | null {
    try {
      this.#tidy();
      for (;;) {
        this.#roster.admit();
        const counts = this.#roster.plan();
        if (counts.size === 0) return null;
        const nForeseen = this.#roster.foresee(counts, this.#executable.mostChained ?? 1);
        const plan = this.#tryPlan(counts, nForeseen);
        if (plan !== null) return plan;
      }
    } catch (error) {
      this.#failAll(error);
      return null;
    }
  }

  /** Null when a request was at fault, which then has failed. */
  #tryPlan(counts: ReadonlyMap<ScheduledRequest, number>, nForeseen: number): StepPlan | null {
    try {
      return planStep(counts, nForeseen);
    } catch (error) {
      if (!(error instanceof RequestFault)) throw error;
      this.#fail(error.request, error.cause);
      return null;
    }
  }

  async #runStep(plan: StepPlan): Promise<void> {
    this.#inFlight = plan;
    try {
      const [first, ...foreseen] = await runPlan(this.#executable, plan);
      this.#inFlight = null;
      this.#complete(plan, first?.heads ?? []);
      for (const { heads } of foreseen)
        for (const next of followUp(plan, heads)) this.#complete(next.plan, next.heads);
    } catch (error) {
      this.#inFlight = null;
      this.#failStep(plan, error);
    }
  }

  /** Takes the results of a step: first what was written, then the tokens. */
  #complete({ step, parts }: StepPlan, heads: readonly HeadResult[]): void {
    if (heads.length !== step.heads.length)
      throw new BitNetError(
        "INTERNAL",
        `step: ${step.heads.length} heads were asked for, ${heads.length} answered`,
      );
    this.#nSteps++;
    this.#rowsComputed += step.tokens.length;
    let nTaken = 0;
    const settled = parts.map((part) => {
      const own = heads.slice(nTaken, nTaken + part.nHeads);
      nTaken += part.nHeads;
      return this.#settle(part, own);
    });
    for (const each of settled) this.#accept(each);
  }

  /** Reports the rows as written. A last row whose token is still open counts as not run: it will be, once more. */
  #settle({ request, sequence, from, count }: PlannedRows, heads: readonly HeadResult[]): SettledRows {
    const settled = { request, end: from + count, heads, error: null };
    const commit = (end: number) => this.#cache.commit(sequence, request.tokens, end);
    try {
      if (request.state === "done" || request.decide(from + count, heads)) {
        commit(from + count);
        return settled;
      }
    } catch (error) {
      commit(from + count);
      return { ...settled, error: { value: error } };
    }
    this.#nUndecided++;
    commit(from + count - 1);
    return { ...settled, end: from + count - 1, heads: heads.slice(0, -1) };
  }

  #accept({ request, end, heads, error }: SettledRows): void {
    if (request.state === "done") {
      this.#roster.release(request);
      return;
    }
    try {
      if (error !== null) throw error.value;
      const reason = request.accept(end, heads);
      if (reason !== null) this.#end(request, reason);
      else if (request.nUnread >= this.#maxUnread) request.state = "paused";
    } catch (error) {
      this.#fail(request, error);
    }
  }

  /** A step has failed: nothing of it counts. Requests that are not at fault will run the same rows again. */
  #failStep(plan: StepPlan, error: unknown): void {
    for (const { request } of plan.parts) if (request.state === "done") this.#roster.release(request);
    const atFault = partsAtFault(plan, error);
    if (atFault === null) this.#failAll(error);
    else for (const { request } of atFault) this.#fail(request, error);
  }

  #failAll(error: unknown): void {
    for (const request of this.#roster.requests) this.#fail(request, error);
  }

  #fail(request: ScheduledRequest, error: unknown): void {
    if (this.#retire(request)) request.fail(error);
  }

  #end(request: ScheduledRequest, reason: StopReason): void {
    if (this.#retire(request)) request.finish(reason);
  }

  /** @returns false when the request was done before. */
  #retire(request: ScheduledRequest): boolean {
    if (request.state === "done") return false;
    this.#roster.remove(request);
    this.#signals.leave(request);
    // Pages that a run is writing to are given up when it has ended.
    const isInFlight = this.#inFlight?.parts.some((part) => part.request === request) ?? false;
    if (!isInFlight) this.#roster.release(request);
    if (this.#disposal === null) this.#wake();
    return true;
  }

  #resume(request: ScheduledRequest): void {
    if (request.state !== "paused" || request.nUnread > this.#maxUnread / 2) return;
    request.state = "waiting";
    this.#wake();
  }

  /** Gives memory back between steps. */
  #tidy(): void {
    if (this.#mustClearCache) this.#cache.dropCached();
    const pages = this.#cache.takeReleasable(this.#mustClearCache ? 1 : releaseLot);
    this.#mustClearCache = false;
    if (pages !== null) this.#executable.releasePages(pages);
  }
}
