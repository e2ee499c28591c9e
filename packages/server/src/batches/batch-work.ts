/**
 * One batch in the hands of this server: validates it, hands out its lines and brings it to its end. Every step may be cut off by a
 * crash and is then done again from what the disk holds.
 */
import { randomBytes } from "node:crypto";
import type { Held } from "../store/leases.ts";
import { type BatchInput, readBatchInput } from "./batch-input.ts";
import { type BatchRecord, isEnded } from "./batch-record.ts";
import type { BatchEnd, BatchStore } from "./batch-store.ts";
import type { FileStore } from "./file-store.ts";
import { LineQueue, type RunLine } from "./line-queue.ts";
import type { BatchSettings } from "./settings.ts";

export interface WorkParts {
  readonly batches: BatchStore;
  readonly files: FileStore;
  readonly settings: BatchSettings;
  readonly limits: {
    readonly maxLineBytes: number;
    readonly defaultOutputTokens: number;
    readonly maxOutputTokens: number;
  };
  readonly now: () => number;
  /** Tokens that the other batches of the tenant may still take. */
  queuedTokens(record: BatchRecord): Promise<number>;
}

export class BatchWork {
  readonly #parts: WorkParts;
  readonly record: BatchRecord;
  readonly #held: Held;
  readonly #queue: LineQueue | null;
  #shown = "";

  private constructor(parts: WorkParts, record: BatchRecord, held: Held, queue: LineQueue | null) {
    this.#parts = parts;
    this.record = record;
    this.#held = held;
    this.#queue = queue;
  }

  /** Takes a batch up, from the start or where it was left. Null when it has ended, or ends here because something is wrong with it. */
  static async open(parts: WorkParts, record: BatchRecord, held: Held): Promise<BatchWork | null> {
    const work = new BatchWork(parts, record, held, null);
    const { batches } = parts;
    if (isEnded(record)) {
      await batches.settle(record);
      return null;
    }
    const end = await batches.decided(record);
    if (end !== null) {
      await conclude(parts, end);
      return null;
    }
    const input = await readBatchInput(batches.inputPath(record), {
      endpoint: record.endpoint,
      maxLines: parts.settings.maxLines,
      ...parts.limits,
    });
    if (record.status === "validating" && !(await work.#accept(input))) return null;
    const fence = held.mayBeStale ? randomBytes(6).toString("hex") : null;
    const queue = await LineQueue.open({
      id: record.id,
      tenant: record.tenant,
      endpoint: record.endpoint,
      lines: input.lines,
      inputPath: batches.inputPath(record),
      outputPath: batches.journalPath(record, "output"),
      errorPath: batches.journalPath(record, "error"),
      fence,
    });
    if (fence !== null) await batches.sweepCopies(record, fence);
    return new BatchWork(parts, record, held, queue);
  }

  get isLost(): boolean {
    return this.#held.isLost;
  }

  get hasOpenLines(): boolean {
    return !this.isLost && this.record.status === "in_progress" && this.#queue?.hasOpenLines === true;
  }

  get isDone(): boolean {
    return this.#queue?.isDone === true;
  }

  async runNext(runLine: RunLine): Promise<boolean> {
    return (await this.#queue?.runNext(runLine)) ?? true;
  }

  /** Writes down how far it has come, when that has changed. */
  async saveProgress(): Promise<void> {
    if (this.#queue === null || this.isLost) return;
    this.record.counts = this.#queue.counts;
    this.record.usage = { ...this.#queue.usage };
    const shown = JSON.stringify(this.record);
    if (shown === this.#shown) return;
    this.#shown = shown;
    await this.#parts.batches.save(this.record);
  }

  /** Gives it out of hand, to be taken up again by this server or another. */
  async leave(): Promise<void> {
    await this.#queue?.stop();
    await this.saveProgress();
    await this.#queue?.close();
    await this.#held.release();
  }

  async complete(): Promise<void> {
    await this.#finish("completed");
  }

  async cancel(): Promise<void> {
    this.record.status = "cancelling";
    this.record.cancelling_at ??= this.#seconds;
    await this.#parts.batches.save(this.record);
    await this.#queue?.stop();
    await this.#queue?.failOpen({
      code: "batch_cancelled",
      message: "The batch was cancelled before this request was executed.",
    });
    await this.#finish("cancelled");
  }

  async expire(): Promise<void> {
    await this.#queue?.stop();
    await this.#queue?.failOpen({
      code: "batch_expired",
      message: "This request could not be executed before the completion window expired.",
    });
    await this.#finish("expired");
  }

  get #seconds(): number {
    return Math.floor(this.#parts.now() / 1000);
  }

  /** @returns Whether the batch may run. */
  async #accept(input: BatchInput): Promise<boolean> {
    const { record } = this;
    const { settings, batches, queuedTokens } = this.#parts;
    record.counts = { total: input.lines.length, completed: 0, failed: 0 };
    record.tokens = input.tokens;
    record.errors = input.problems;
    const { maxQueuedTokens } = settings;
    if (record.errors.length === 0 && maxQueuedTokens !== null) {
      const queued = await queuedTokens(record);
      if (queued + input.tokens > maxQueuedTokens)
        record.errors = [
          {
            code: "token_limit_exceeded",
            message: `The batch may take ${input.tokens} tokens and others that have not ended ${queued}, but ${maxQueuedTokens} are allowed at once. Try again when others have ended.`,
            param: null,
            line: null,
          },
        ];
    }
    if (record.errors.length > 0) {
      const ended: BatchRecord = { ...record, status: "failed", failed_at: this.#seconds };
      const end = await batches.decide(ended, { output: null, error: null });
      if (end !== null) await conclude(this.#parts, end);
      await this.#held.release();
      return false;
    }
    record.status = "in_progress";
    record.in_progress_at = this.#seconds;
    await batches.save(record);
    return true;
  }

  /**
   * Decides how it ends, and shows the client the files, then the end. Somebody else may have been first, or have gone on in copies: then this
   * does nothing of its own.
   */
  async #finish(status: "completed" | "cancelled" | "expired"): Promise<void> {
    const { batches } = this.#parts;
    const queue = this.#queue;
    if (queue === null || this.isLost) return;
    const { journals } = queue;
    await queue.close();
    const now = this.#seconds;
    const ended: BatchRecord = {
      ...this.record,
      counts: queue.counts,
      usage: { ...queue.usage },
      files: { output: journals.output !== null, error: journals.error !== null },
      ...(status === "completed" ? { finalizing_at: now } : {}),
      status,
      [`${status}_at`]: now,
    };
    const end = await batches.decide(ended, journals);
    if (end === null) return;
    await conclude(this.#parts, end);
    Object.assign(this.record, end.record);
    await this.#held.release();
  }
}

/** Makes what has been decided true. May be cut off and done again, also by several at once. */
async function conclude({ batches, files }: WorkParts, end: BatchEnd): Promise<void> {
  const { record } = end;
  for (const kind of ["output", "error"] as const) {
    const path = batches.contentPath(end, kind);
    if (path === null) continue;
    const { id, tenant, created_at, output_expires_after: lifetime } = record;
    const endedAt = record.completed_at ?? record.cancelled_at ?? record.expired_at ?? created_at;
    await files.take(
      {
        id: kind === "output" ? record.output_file_id : record.error_file_id,
        tenant,
        filename: `${id}_${kind}.jsonl`,
        purpose: "batch_output",
        created_at: endedAt,
        expires_at: lifetime === null ? null : endedAt + lifetime,
      },
      path,
    );
  }
  await batches.end(end);
}
