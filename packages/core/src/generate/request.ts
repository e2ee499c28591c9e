/**
 * One request on its way through the scheduler: its tokens, sampler, text and stop rules. It says which rows it needs and
 * what to ask of their heads, and turns answers into tokens. Knows nothing of other requests or of pages beyond its own.
 */
import type { HeadRequest, HeadResult } from "../backend/step.ts";
import { BitNetError } from "../base/errors.ts";
import type { PagedSequence } from "../model/paged-cache.ts";
import { hasDry } from "./dry.ts";
import { type BreakerVocabulary, breakersOf, noBreakers, type SequenceBreakers } from "./dry-breakers.ts";
import { readDrawnLogprob, readLogprob, type TokenLogprob } from "./logprobs.ts";
import type { TokenMask } from "./mask.ts";
import type { GenerateSettings } from "./options.ts";
import { Sampler, type SamplerLimits } from "./sampler.ts";
import type { ScheduledRequest } from "./scheduled.ts";
import { StopMatcher, type StopReason } from "./stop.ts";
import type { GenerationResult, PieceStream } from "./stream.ts";
import { type ChannelText, ThinkingSplitter } from "./thinking.ts";
import { RequestClock } from "./timings.ts";

/** What is needed of a tokenizer to turn tokens into text. */
export interface TextSource extends BreakerVocabulary {
  /** Tokens that end a generation. */
  readonly eosIds: readonly number[];
  createDecoder(options?: { special?: boolean; continues?: boolean }): {
    push(id: number): string;
    end(): string;
  };
}

interface RequestParts {
  /** Ascending with the time of arrival. */
  order: number;
  prompt: Int32Array;
  settings: GenerateSettings;
  /** Its number in steps; −1: none. */
  adapter: number;
  limits: SamplerLimits;
  /** Null when tokens stay without text. */
  text: TextSource | null;
  stream: PieceStream;
}

export class ActiveRequest implements ScheduledRequest {
  readonly order: number;
  readonly settings: GenerateSettings;
  readonly adapter: number;
  readonly stream: PieceStream;
  readonly clock = new RequestClock();
  /** Prompt and generated tokens. */
  readonly tokens: number[];
  readonly nPrompt: number;
  state: ScheduledRequest["state"] = "waiting";
  /** Its pages, while it holds any. */
  sequence: PagedSequence | null = null;
  /** The last step that ran rows of this request. */
  lastServed = -1;

  /** Prompt rows taken from the cache before the request first lost its pages. */
  #nCached = 0;
  /** Rows of the prompt that have been told of as read. */
  #nRead = 0;
  #wasPreempted = false;
  readonly #limits: SamplerLimits;
  readonly #text: TextSource | null;
  readonly #eosIds: ReadonlySet<number>;
  readonly #decoder: { push(id: number): string; end(): string } | null;
  readonly #stops: StopMatcher;
  readonly #sampler: Sampler;
  /** Null when thinking is not told from the answer. */
  readonly #splitter: ThinkingSplitter | null;
  #nThought = 0;
  /** Tokens that come next, whatever the model says. */
  readonly #forced: number[] = [];
  readonly #thoughts: string[] = [];
  readonly #texts: string[] = [];
  readonly #logprobs: TokenLogprob[] = [];
  /** Null for the tokens that none is reported of, the first among them. */
  readonly #promptLogprobs: (TokenLogprob | null)[];
  /** The head request of the row whose token is to be sampled. */
  #asked: HeadRequest | null = null;
  /** The token that its answer gave, once it is known. */
  #chosen: number | null = null;

  constructor({ order, prompt, settings, adapter, limits, text, stream }: RequestParts) {
    this.order = order;
    this.settings = settings;
    this.adapter = adapter;
    this.stream = stream;
    this.tokens = Array.from(prompt);
    this.nPrompt = prompt.length;
    this.#promptLogprobs = new Array(Math.min(settings.promptLogprobsFrom, prompt.length)).fill(null);
    this.#limits = limits;
    this.#text = text;
    this.#eosIds = new Set(text?.eosIds);
    this.#decoder = text?.createDecoder({ special: settings.special, continues: true }) ?? null;
    this.#splitter = settings.thinking === null ? null : new ThinkingSplitter(settings.thinking);
    this.#forceClose();
    this.#stops = new StopMatcher(settings.stop);
    this.#sampler = new Sampler(this.#samplingSettings(), limits, settings.logprobs, this.#breakers());
    for (const token of prompt) this.#sampler.see(token);
  }

  /** Rows still to run before the next token can be sampled. */
  get nPending(): number {
    return this.tokens.length - (this.sequence?.written ?? 0);
  }

  get nForeseen(): number {
    const { maxTokens, mask, thinkingBudget } = this.settings;
    // A mask, or a mark that comes when a budget is used up, depends on every token before it.
    if (mask !== null || thinkingBudget !== null || this.#forced.length > 0) return 1;
    const room = Math.min(maxTokens - this.#nGenerated, this.#limits.contextLength - this.tokens.length);
    return Math.min(room, this.#sampler.nForeseen);
  }

  /** Rows that the cache may supply: all but the last, whose logits are needed, and those whose log-probabilities are known. */
  get shareLimit(): number {
    const mayShareAll = this.settings.promptLogprobs === null || this.#promptLogprobs.length === this.nPrompt;
    return mayShareAll ? this.tokens.length - 1 : this.#promptLogprobs.length - 1;
  }

  /** So many rows more (or fewer, when a copy was given up) come from the cache. */
  noteShared(nRows: number): void {
    if (!this.#wasPreempted) this.#nCached += nRows;
  }

  /** The pages are lost, and their rows will be computed again. */
  notePreempted(): void {
    this.#wasPreempted = true;
  }

  get isBackground(): boolean {
    return this.settings.background;
  }

  get cacheSalt(): string {
    return this.settings.cacheSalt;
  }

  get signal(): AbortSignal | null {
    return this.settings.signal;
  }

  get nUnread(): number {
    return this.stream.nUnread;
  }

  finish(reason: StopReason): void {
    this.stream.finish(this.resultOf(reason));
  }

  fail(error: unknown): void {
    this.stream.fail(error);
  }

  dispose(): void {
    this.settings.mask?.dispose();
  }

  ready(): Promise<void> | null {
    return this.#mask?.ready?.() ?? null;
  }

  headRequests(from: number, count: number, firstRow: number): HeadRequest[] {
    const heads: HeadRequest[] = [];
    for (let position = from; position < from + count; position++) {
      const row = firstRow + position - from;
      if (position === this.tokens.length - 1) {
        this.#asked = this.#canSample() ? this.#sampleRequest(row) : null;
        if (this.#asked !== null) heads.push(this.#asked);
      } else if (this.#asksPrompt(position)) {
        heads.push(this.#promptRequest(row, position));
      }
    }
    return heads;
  }

  /**
   * Chooses the token, where the rows up to `end` allow it.
   * @returns false when the answer leaves the choice open: then the last row has to run again, and is asked for more.
   * @throws BitNetError when no token can be chosen.
   */
  decide(end: number, results: readonly HeadResult[]): boolean {
    const last = results.at(-1);
    if (end < this.tokens.length || this.#asked === null || last === undefined) return true;
    this.#chosen = this.#forced[0] ?? this.#sampler.choose(last, this.#nGenerated);
    return this.#chosen !== null;
  }

  /**
   * Takes the answers to `headRequests`, in order, once the rows up to `end` have run and `decide` has been asked.
   * @returns Why the request has ended, or null when it goes on.
   */
  accept(end: number, results: readonly HeadResult[]): StopReason | null {
    const isComplete = end === this.tokens.length;
    if (isComplete) this.clock.markPromptDone();
    this.#notePrompt(end);
    const nPromptResults = results.length - (isComplete && this.#asked !== null ? 1 : 0);
    for (const result of results.slice(0, nPromptResults)) this.#acceptPrompt(result);
    if (!isComplete) return null;
    const last = results[nPromptResults];
    if (last === undefined) return this.settings.maxTokens === 0 ? "length" : "context";
    if (this.#chosen === null) throw new BitNetError("INTERNAL", "scheduler: no token was chosen");
    return this.#acceptToken(this.#chosen, last);
  }

  /** The result as it stands. */
  resultOf(stopReason: StopReason): GenerationResult {
    return {
      ids: Int32Array.from(this.tokens.slice(this.nPrompt)),
      text: this.#texts.join(""),
      ...(this.#splitter === null ? {} : { thinking: this.#thoughts.join("") }),
      stopReason,
      ...(this.#stops.found === null ? {} : { stopText: this.#stops.found }),
      seed: this.settings.sampling.seed,
      promptTokens: this.nPrompt,
      cachedTokens: this.#nCached,
      timings: this.clock.timings(this.nPrompt - this.#nCached),
      ...(this.settings.promptLogprobs === null ? {} : { promptLogprobs: this.#promptLogprobs }),
      ...(this.settings.logprobs === null ? {} : { logprobs: this.#logprobs }),
    };
  }

  get #nGenerated(): number {
    return this.tokens.length - this.nPrompt;
  }

  #breakers(): SequenceBreakers {
    const { sampling } = this.settings;
    return this.#text === null || !hasDry(sampling)
      ? noBreakers
      : breakersOf(this.#text, sampling.drySequenceBreakers);
  }

  #samplingSettings() {
    const { sampling, ignoreEos } = this.settings;
    if (!ignoreEos) return sampling;
    const logitBias = new Map(sampling.logitBias);
    for (const id of this.#eosIds)
      if (id < this.#limits.vocabSize) logitBias.set(id, Number.NEGATIVE_INFINITY);
    return { ...sampling, logitBias };
  }

  #sampleRequest(row: number): HeadRequest {
    const forced = this.#forced[0];
    if (forced !== undefined) {
      const k = Math.min(Math.max(this.settings.logprobs ?? 0, 1), this.#limits.vocabSize);
      return { row, want: { kind: "top", k }, apart: Int32Array.of(forced), logSumExp: true };
    }
    return this.#sampler.request(row, this.#nGenerated, this.#mask?.allowed() ?? null);
  }

  /** What is thought is free; a mask is about the answer. */
  get #mask(): TokenMask | null {
    return this.#splitter?.isThinking === true ? null : this.settings.mask;
  }

  /** When the budget of thinking is used up, the closing mark comes next. */
  #forceClose(): void {
    const { thinking, thinkingBudget } = this.settings;
    if (thinking === null || thinkingBudget === null || this.#splitter?.isThinking !== true) return;
    if (this.#forced.length === 0 && this.#nThought >= thinkingBudget)
      this.#forced.push(...thinking.closeIds);
  }

  #canSample(): boolean {
    return this.#nGenerated < this.settings.maxTokens && this.tokens.length < this.#limits.contextLength;
  }

  /** Whether the row at `position` is asked for the log-probability of the prompt token after it. */
  #asksPrompt(position: number): boolean {
    const { promptLogprobs } = this.settings;
    return (
      promptLogprobs !== null && position + 1 < this.nPrompt && position + 1 >= this.#promptLogprobs.length
    );
  }

  #notePrompt(end: number): void {
    const read = Math.min(end, this.nPrompt);
    if (read <= this.#nRead) return;
    this.#nRead = read;
    this.settings.onPrompt?.({ read, cached: this.#nCached, total: this.nPrompt });
  }

  #promptRequest(row: number, position: number): HeadRequest {
    const k = Math.min(Math.max(this.settings.promptLogprobs ?? 0, 1), this.#limits.vocabSize);
    const apart = Int32Array.of(this.tokens[position + 1] ?? 0);
    return { row, want: { kind: "top", k }, apart, logSumExp: true };
  }

  #acceptPrompt(result: HeadResult): void {
    const id = this.tokens[this.#promptLogprobs.length] ?? 0;
    this.#promptLogprobs.push(readLogprob(result, Int32Array.of(id), id, this.settings.promptLogprobs ?? 0));
  }

  #acceptToken(id: number, result: HeadResult): StopReason | null {
    this.clock.markToken();
    const { settings } = this;
    const isForced = this.#forced.length > 0;
    if (this.#eosIds.has(id) && !isForced) return this.#endBefore(id, nothing, "eos");
    if (settings.stopTokens.has(id) && !isForced) return this.#endBefore(id, nothing, "stop");
    const wasThinking = this.#splitter?.isThinking === true;
    const text = this.#split(this.#decode(id));
    if (this.#stops.hasStopped) return this.#endBefore(id, text, "stop");
    const report =
      settings.logprobs === null
        ? null
        : this.#asked?.want.kind === "draw"
          ? readDrawnLogprob(result, settings.logprobs)
          : readLogprob(result, this.#asked?.apart ?? new Int32Array(), id, settings.logprobs);
    if (report !== null) this.#logprobs.push(report);
    this.tokens.push(id);
    this.#sampler.see(id);
    if (isForced) this.#forced.shift();
    else if (wasThinking) this.#nThought++;
    else settings.mask?.accept(id);
    this.#forceClose();
    const reason = this.#canSample() ? null : this.#nGenerated < settings.maxTokens ? "context" : "length";
    this.#emit(id, reason === null ? text : joined(text, this.#flush()), report);
    return reason;
  }

  /** Ends with a token that is not part of the result; text that it sets free gets a piece of its own. */
  #endBefore(id: number, text: ChannelText, reason: StopReason): StopReason {
    const rest = joined(text, this.#flush());
    if (rest.thinking !== "" || rest.answer !== "") this.#emit(id, rest, null);
    return reason;
  }

  /** One piece, or two where a token sets free what was thought and what is answered. */
  #emit(id: number, { thinking, answer }: ChannelText, report: TokenLogprob | null): void {
    if (thinking !== "") this.#thoughts.push(thinking);
    if (answer !== "") this.#texts.push(answer);
    const reported = report === null ? {} : { logprob: report.logprob, top: report.top };
    if (this.#splitter === null) {
      this.stream.push({ id, text: answer, ...reported });
      return;
    }
    const isThinking = thinking !== "" || (answer === "" && this.#splitter.isThinking);
    const channel = isThinking ? "thinking" : "answer";
    this.stream.push({ id, text: isThinking ? thinking : answer, channel, ...reported });
    if (isThinking && answer !== "") this.stream.push({ id, text: answer, channel: "answer" });
  }

  /** Stop texts are looked for in the answer alone. */
  #split(text: string): ChannelText {
    if (this.#splitter === null) return { thinking: "", answer: this.#stops.push(text) };
    const { thinking, answer } = this.#splitter.push(text);
    return { thinking, answer: this.#stops.push(answer) };
  }

  /** Ids beyond the tokenizer's vocabulary (padding of an embedding) have no text. */
  #decode(id: number): string {
    if (this.#decoder === null || id >= (this.#text?.vocabSize ?? 0)) return "";
    const text = this.#decoder.push(id);
    // Marks that are control tokens are hidden, but must be seen here.
    const { thinking, special } = this.settings;
    if (thinking === null || special || text !== "") return text;
    if (id === thinking.openId) return thinking.open;
    return thinking.closeIds.length === 1 && id === thinking.closeIds[0] ? thinking.close : text;
  }

  /** What decoder, splitter and stop rules still hold at the end. */
  #flush(): ChannelText {
    if (this.#stops.hasStopped) return nothing;
    const last = this.#split(this.#decoder?.end() ?? "");
    const { thinking, answer } = this.#splitter?.end() ?? nothing;
    return joined(last, { thinking, answer: this.#stops.push(answer) + this.#stops.end() });
  }
}

const nothing: ChannelText = { thinking: "", answer: "" };

function joined(first: ChannelText, second: ChannelText): ChannelText {
  return { thinking: first.thinking + second.thinking, answer: first.answer + second.answer };
}
