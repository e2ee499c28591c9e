/**
 * Works on the batches of this server's folder: takes up those that nobody holds, gives each in turn a line, and looks after deadlines
 * and cancellations. How a line is answered is handed in. Time is handed in as well: `tick` is called every second.
 */
import type { Leases } from "../store/leases.ts";
import { type BatchRecord, isEnded } from "./batch-record.ts";
import { BatchWork, type WorkParts } from "./batch-work.ts";
import type { RunLine } from "./line-queue.ts";

export interface RunnerParts extends Omit<WorkParts, "queuedTokens"> {
  readonly leases: Leases;
  readonly runLine: RunLine;
  readonly log: (line: string) => void;
}

/** After a line that could not be answered or written, nothing new is begun for so long. */
const pauseMs = 1000;
/** While answers cannot be written, each pause is twice as long as the one before, up to this: they are computed for nothing. */
const longestPauseMs = 60_000;
/** The same trouble is told again after so long. */
const reportMs = 60_000;
const maxReported = 1000;
const sweepMs = 600_000;

export class BatchRunner {
  readonly #parts: RunnerParts;
  readonly #works = new Map<string, BatchWork>();
  readonly #ending = new Set<BatchWork>();
  #nRunning = 0;
  #pause = { from: 0, ms: 0 };
  /** Times in a row that an answer could not be written. */
  #nUnwritten = 0;
  /** When each trouble was last told. */
  readonly #reported = new Map<string, number>();
  #sweptAt = Number.NEGATIVE_INFINITY;
  #isStopped = false;
  #ticking: Promise<void> | null = null;
  #mustTickAgain = false;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /** Lines that run, and batches in the hands of this server. */
  get stats(): { lines: number; batches: number } {
    return { lines: this.#nRunning, batches: this.#works.size };
  }

  /** Looks what there is to do. */
  tick(): Promise<void> {
    if (this.#ticking !== null) {
      this.#mustTickAgain = true;
      return this.#ticking;
    }
    this.#ticking = this.#tickNow().finally(() => {
      this.#ticking = null;
      if (!this.#mustTickAgain) return;
      this.#mustTickAgain = false;
      void this.tick();
    });
    return this.#ticking;
  }

  /** Stops running lines and gives all batches out of hand. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#ticking;
    await Promise.all([...this.#works.values()].map((work) => this.#try(work, () => work.leave())));
    this.#works.clear();
  }

  async #tickNow(): Promise<void> {
    const { batches, files, now } = this.#parts;
    try {
      for (const record of await batches.active()) {
        if (this.#isStopped) return;
        if (!this.#works.has(record.id)) await this.#takeUp(record);
      }
      for (const work of [...this.#works.values()]) await this.#lookAfter(work);
      if (now() - this.#sweptAt >= sweepMs) {
        this.#sweptAt = now();
        await files.sweep();
        await batches.sweep();
      }
    } catch (error) {
      this.#report("the data folder", error);
    }
    this.#pump();
  }

  async #takeUp(found: BatchRecord): Promise<void> {
    const { batches, leases } = this.#parts;
    const held = await leases.acquire(`batch ${found.id}`);
    if (held === null) return;
    try {
      // What was found may be older than the lease.
      const record = (await batches.find(found.tenant, found.id)) ?? found;
      const parts = { ...this.#parts, queuedTokens: (own: BatchRecord) => this.#queuedTokens(own) };
      const work = await BatchWork.open(parts, record, held);
      if (work === null) await held.release();
      else this.#works.set(record.id, work);
    } catch (error) {
      await held.release();
      this.#report(found.id, error);
    }
  }

  async #lookAfter(work: BatchWork): Promise<void> {
    const { batches, now } = this.#parts;
    const { record } = work;
    if (this.#ending.has(work)) return;
    if (work.isLost) {
      this.#works.delete(record.id);
      return this.#try(work, () => work.leave());
    }
    if (record.status === "cancelling" || (await batches.isCancelRequested(record)))
      return this.#end(work, () => work.cancel());
    if (now() >= record.expires_at * 1000 && !work.isDone) return this.#end(work, () => work.expire());
    if (work.isDone) return this.#end(work, () => work.complete());
    return this.#try(work, () => work.saveProgress());
  }

  /** Starts lines as long as there is room, one of each batch in turn. */
  #pump(): void {
    while (!this.#isStopped && this.#nRunning < this.#parts.settings.parallel) {
      if (this.#isPaused) return;
      const next = [...this.#works].find(([, work]) => work.hasOpenLines && !this.#ending.has(work));
      if (next === undefined) return;
      const [id, work] = next;
      this.#works.delete(id);
      this.#works.set(id, work);
      void this.#runLine(work);
    }
  }

  async #runLine(work: BatchWork): Promise<void> {
    this.#nRunning++;
    try {
      if (await work.runNext(this.#parts.runLine)) this.#nUnwritten = 0;
      else if (!this.#isPaused) this.#pause = { from: this.#parts.now(), ms: pauseMs };
    } catch (error) {
      // Lines that ran beside it failed by the same trouble.
      if (!this.#isPaused)
        this.#pause = {
          from: this.#parts.now(),
          ms: Math.min(longestPauseMs, pauseMs * 2 ** this.#nUnwritten++),
        };
      this.#report(work.record.id, error);
    } finally {
      this.#nRunning--;
    }
    if (work.isDone && !this.#isStopped) void this.tick();
    this.#pump();
  }

  /** A clock that is set back ends a pause: else it could last for hours. */
  get #isPaused(): boolean {
    const passed = this.#parts.now() - this.#pause.from;
    return passed >= 0 && passed < this.#pause.ms;
  }

  async #end(work: BatchWork, end: () => Promise<void>): Promise<void> {
    this.#ending.add(work);
    await this.#try(work, end);
    // What has not reached its end is taken up anew from what the disk holds.
    if (!isEnded(work.record)) await this.#try(work, () => work.leave());
    this.#works.delete(work.record.id);
    this.#ending.delete(work);
  }

  async #try(work: BatchWork, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#report(work.record.id, error);
    }
  }

  async #queuedTokens(own: BatchRecord): Promise<number> {
    let sum = 0;
    for (const record of await this.#parts.batches.active()) {
      if (record.tenant !== own.tenant || record.id === own.id || isEnded(record)) continue;
      const { total, completed, failed } = this.#works.get(record.id)?.record.counts ?? record.counts;
      sum += total === 0 ? 0 : Math.ceil((record.tokens * (total - completed - failed)) / total);
    }
    return sum;
  }

  #report(what: string, error: unknown): void {
    const text = `batches: ${what}: ${error instanceof Error ? error.message : String(error)}`;
    const now = this.#parts.now();
    const passed = now - (this.#reported.get(text) ?? Number.NEGATIVE_INFINITY);
    if (passed >= 0 && passed < reportMs) return;
    if (this.#reported.size >= maxReported) this.#reported.clear();
    this.#reported.set(text, now);
    this.#parts.log(text);
  }
}
