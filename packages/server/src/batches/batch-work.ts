/**
 * One batch in the hands of this server: validates it, hands out its lines and brings it to its end. Every step may be cut off by a
 * crash and is then done again from what the disk holds.
 */
import type { Held } from "../store/leases.ts";
import { type BatchInput, readBatchInput } from "./batch-input.ts";
import { type BatchRecord, isEnded } from "./batch-record.ts";
import type { BatchStore } from "./batch-store.ts";
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
    if (isEnded(record)) {
      await parts.batches.settle(record);
      return null;
    }
    const input = await readBatchInput(parts.batches.inputPath(record), {
      endpoint: record.endpoint,
      maxLines: parts.settings.maxLines,
      ...parts.limits,
    });
    if (record.status === "validating" && !(await work.#accept(input))) return null;
    const { files } = parts;
    const queue = await LineQueue.open({
      id: record.id,
      tenant: record.tenant,
      endpoint: record.endpoint,
      lines: input.lines,
      inputPath: parts.batches.inputPath(record),
      outputPath: await files.prepare(record.tenant, record.output_file_id),
      errorPath: await files.prepare(record.tenant, record.error_file_id),
      fence: held.mayBeStale,
    });
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
    this.record.status = "finalizing";
    this.record.finalizing_at ??= this.#seconds;
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
      record.status = "failed";
      record.failed_at = this.#seconds;
      await batches.save(record);
      await batches.settle(record);
      await this.#held.release();
      return false;
    }
    record.status = "in_progress";
    record.in_progress_at = this.#seconds;
    await batches.save(record);
    return true;
  }

  /** Shows the files to the client, then the end. */
  async #finish(status: "completed" | "cancelled" | "expired"): Promise<void> {
    const { record } = this;
    const { batches, files } = this.#parts;
    const queue = this.#queue;
    if (queue === null || this.isLost) return;
    record.counts = queue.counts;
    record.usage = { ...queue.usage };
    const { output, error } = queue.bytes;
    await queue.close();
    for (const [bytes, id, name] of [
      [output, record.output_file_id, "output"],
      [error, record.error_file_id, "error"],
    ] as const) {
      if (bytes === 0) continue;
      await files.register({
        id,
        tenant: record.tenant,
        bytes,
        filename: `${record.id}_${name}.jsonl`,
        purpose: "batch_output",
        created_at: this.#seconds,
        expires_at: record.output_expires_after === null ? null : this.#seconds + record.output_expires_after,
      });
    }
    record.files = { output: output > 0, error: error > 0 };
    record.status = status;
    record[`${status}_at`] = this.#seconds;
    await batches.save(record);
    await batches.settle(record);
    await this.#held.release();
  }
}
