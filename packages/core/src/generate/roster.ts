/**
 * Who runs next: admits requests in order of arrival while pages are obtainable, divides the rows of a step, and takes
 * pages back when they run out, first from requests that wait for a reader, then from the youngest. The oldest running
 * request that is not in the background never loses its pages to another, so there is always progress. Acts between steps only.
 */
import { pageTokens } from "../backend/backend.ts";
import type { PagedCache } from "../model/paged-cache.ts";
import type { ScheduledRequest } from "./scheduled.ts";
import { shareRows } from "./step-plan.ts";

interface RosterLimits {
  /** The most rows of a step and the most running requests. */
  maxRows: number;
  /** The most prompt rows of a step. */
  prefillChunk: number;
  /** The same for a step that also decodes. */
  prefillChunkWhileDecoding: number;
  /** Positions of a sequence; the arena holds at least so many. */
  contextLength: number;
}

/** While others run, requests in the background take part in one of so many steps. */
const backgroundShare = 4;

export class Roster {
  readonly #cache: PagedCache;
  readonly #limits: RosterLimits;
  /** Every request that is not done, oldest first. */
  readonly #requests = new Set<ScheduledRequest>();
  #nPreemptions = 0;
  #nPlanned = 0;

  constructor(cache: PagedCache, limits: RosterLimits) {
    this.#cache = cache;
    this.#limits = limits;
  }

  /** How often a request lost its pages to another. */
  get nPreemptions(): number {
    return this.#nPreemptions;
  }

  get requests(): readonly ScheduledRequest[] {
    return [...this.#requests];
  }

  add(request: ScheduledRequest): void {
    this.#requests.add(request);
  }

  /** Takes out a request that is done. Its pages go when `release` is called. */
  remove(request: ScheduledRequest): void {
    request.state = "done";
    this.#requests.delete(request);
  }

  /** Gives up the pages of a request; what has been written stays cached. */
  release(request: ScheduledRequest): void {
    if (request.sequence === null) return;
    this.#cache.close(request.sequence, request.tokens);
    request.sequence = null;
  }

  /** Lets waiting requests run, the oldest first and those in the background last, until one does not find its pages. */
  admit(): void {
    const waiting = this.#inState("waiting");
    waiting.sort((a, b) => Number(a.isBackground) - Number(b.isBackground));
    for (const request of waiting) {
      const nRunning = this.#inState("running").length;
      if (nRunning >= this.#limits.maxRows || !this.#providePages(request)) return;
      request.state = "running";
      request.clock.markAdmitted();
    }
  }

  /** Chooses the rows of the next step: how many of each request; empty when nothing can run. */
  plan(): Map<ScheduledRequest, number> {
    const step = this.#nPlanned++;
    const isTurn =
      step % backgroundShare === 0 || !this.#inState("running").some((each) => !each.isBackground);
    let counts = this.#chooseRows((request) => isTurn || !request.isBackground);
    // The others may just have lost their pages.
    if (counts.size === 0 && !isTurn) counts = this.#chooseRows(() => true);
    for (const request of counts.keys()) request.lastServed = step;
    return counts;
  }

  /**
   * How many tokens the requests of a step may be given in one go, at most `most`, with pages for all of them. 1 unless everything that runs
   * takes part with one row, whose tokens can be foreseen.
   */
  foresee(counts: ReadonlyMap<ScheduledRequest, number>, most: number): number {
    const running = this.#inState("running");
    if (running.some((request) => !counts.has(request) || !isDecoding(request))) return 1;
    const n = running.reduce((least, { nForeseen }) => Math.min(least, nForeseen), most);
    if (n < 2) return 1;
    const hasPages = running.every(
      ({ sequence, tokens }) => sequence !== null && this.#cache.reserve(sequence, tokens.length + n - 1),
    );
    return hasPages ? n : 1;
  }

  #chooseRows(mayRun: (request: ScheduledRequest) => boolean): Map<ScheduledRequest, number> {
    const counts = new Map<ScheduledRequest, number>();
    for (const request of this.#decoding(mayRun)) counts.set(request, 1);
    const { maxRows, prefillChunk, prefillChunkWhileDecoding } = this.#limits;
    const chunk = counts.size > 0 ? prefillChunkWhileDecoding : prefillChunk;
    const room = Math.min(maxRows - counts.size, chunk);
    const prompts = this.#prompts(mayRun);
    const shares = shareRows(
      prompts.map((request) => request.nPending),
      room,
    );
    prompts.forEach((request, i) => {
      if (shares[i]) counts.set(request, shares[i]);
    });
    return counts;
  }

  /** Running requests that need one row to go on, with a page for it. */
  #decoding(mayRun: (request: ScheduledRequest) => boolean): ScheduledRequest[] {
    const ready = this.#inState("running").filter((request) => isDecoding(request) && mayRun(request));
    for (const request of ready) {
      while (request.sequence !== null && !this.#cache.reserve(request.sequence, request.tokens.length))
        this.#preempt(this.#idleHolder(request) ?? this.#youngestRunning() ?? request);
    }
    return ready.filter((request) => request.state === "running");
  }

  /**
   * Running requests with prompt rows to compute, those served longest ago first. One that is about to compute a page
   * which an older one computes already is left out: it will share that page.
   */
  #prompts(mayRun: (request: ScheduledRequest) => boolean): ScheduledRequest[] {
    const chosen: { request: ScheduledRequest; sequence: NonNullable<ScheduledRequest["sequence"]> }[] = [];
    for (const request of this.#inState("running")) {
      const { sequence, tokens, shareLimit: limit } = request;
      if (sequence === null || isDecoding(request) || !mayRun(request)) continue;
      const before = sequence.written;
      this.#cache.shareFull(sequence, tokens, limit);
      const next = { sequence, tokens, limit };
      const isComputed = chosen.some((other) =>
        this.#cache.computesNextPage({ sequence: other.sequence, tokens: other.request.tokens }, next),
      );
      if (!isComputed) {
        this.#cache.sharePartial(sequence, tokens, limit);
        chosen.push({ request, sequence });
      }
      request.noteShared(sequence.written - before);
    }
    chosen.sort((a, b) => a.request.lastServed - b.request.lastServed || a.request.order - b.request.order);
    return chosen.map(({ request }) => request);
  }

  /** Finds pages for all tokens of a request and the next one, at the expense of idle holders, and of those in the background, if need be. */
  #providePages(request: ScheduledRequest): boolean {
    while (!this.#tryPages(request)) {
      const holder =
        this.#idleHolder(request) ?? (request.isBackground ? undefined : this.#youngestInBackground());
      if (holder === undefined) return false;
      this.#preempt(holder);
    }
    return true;
  }

  /** Beside running requests, a page is left for each of them, which will need it soon. */
  #tryPages(request: ScheduledRequest): boolean {
    const nRunning = this.#inState("running").length;
    const nRows = Math.min(request.tokens.length + 1, this.#limits.contextLength);
    if (request.sequence !== null) return this.#cache.reserve(request.sequence, nRows);
    // Keys and values depend on the adapter.
    const salt = `${request.adapter} ${request.cacheSalt}`;
    const sequence = this.#cache.open(request.tokens, request.shareLimit, salt);
    const nMissing = Math.ceil(nRows / pageTokens) - sequence.pages.length;
    const isCrowded = nRunning > 0 && this.#cache.nObtainable < nMissing + nRunning;
    if (isCrowded || !this.#cache.reserve(sequence, nRows)) {
      this.#cache.close(sequence, request.tokens);
      return false;
    }
    request.sequence = sequence;
    request.noteShared(sequence.written);
    return true;
  }

  #preempt(request: ScheduledRequest): void {
    this.release(request);
    if (request.state === "running") request.state = "waiting";
    request.notePreempted();
    this.#nPreemptions++;
  }

  /** The youngest request that holds pages without running, other than `request`. */
  #idleHolder(request: ScheduledRequest): ScheduledRequest | undefined {
    return this.requests.findLast(
      (other) => other !== request && other.state !== "running" && other.sequence !== null,
    );
  }

  #youngestRunning(): ScheduledRequest | undefined {
    return this.#youngestInBackground() ?? this.requests.findLast((request) => request.state === "running");
  }

  #youngestInBackground(): ScheduledRequest | undefined {
    return this.requests.findLast((request) => request.state === "running" && request.isBackground);
  }

  #inState(state: ScheduledRequest["state"]): ScheduledRequest[] {
    return this.requests.filter((request) => request.state === state);
  }
}

/** Whether only the row of the last generated token is missing. */
function isDecoding(request: ScheduledRequest): boolean {
  return request.nPending === 1 && request.tokens.length > request.nPrompt;
}
