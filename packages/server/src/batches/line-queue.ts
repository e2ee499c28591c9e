/**
 * The lines of one batch, from its input to its two journals: which are open, which run, and how each ends. Used by batches of the
 * server and by `bitnet batch`; knows nothing of records, leases or HTTP.
 */
import { setMaxListeners } from "node:events";
import { type FileHandle, open } from "node:fs/promises";
import { type InputLine, readLineBody } from "./batch-input.ts";
import {
  addUsage,
  addUsageOfLine,
  answerLine,
  customIdOf,
  errorLine,
  type LineAnswer,
  type LineError,
  lineBeginning,
} from "./batch-lines.ts";
import type { BatchEndpoint, BatchUsage } from "./batch-record.ts";
import { Journal } from "./journal.ts";

interface LineRequest {
  readonly endpoint: BatchEndpoint;
  readonly body: Record<string, unknown>;
  readonly tenant: string;
  readonly signal: AbortSignal;
}

/** "again": nothing is wrong with the line, but it cannot be answered now. */
export type RunLine = (request: LineRequest) => Promise<LineAnswer | LineError | "again">;

interface QueueParts {
  readonly id: string;
  readonly tenant: string;
  readonly endpoint: BatchEndpoint;
  readonly lines: readonly InputLine[];
  readonly inputPath: string;
  readonly outputPath: string;
  readonly errorPath: string;
  /** The journals may still be open elsewhere: copies of them, whose names end in this, are gone on with. */
  readonly fence: string | null;
  /** The paths were named by a person: nothing that is not of this batch may be cut off. */
  readonly isNamed?: boolean;
}

export class LineQueue {
  readonly #parts: QueueParts;
  readonly #input: FileHandle;
  readonly #output: Journal;
  readonly #errors: Journal;
  readonly #controller = new AbortController();
  readonly usage: BatchUsage;
  #open: InputLine[];
  #nRunning = 0;
  #idleWaiters: (() => void)[] = [];

  private constructor(
    parts: QueueParts,
    input: FileHandle,
    output: Journal,
    errors: Journal,
    usage: BatchUsage,
  ) {
    setMaxListeners(0, this.#controller.signal);
    this.#parts = parts;
    this.#input = input;
    this.#output = output;
    this.#errors = errors;
    this.usage = usage;
    // Taken from the end.
    this.#open = parts.lines.filter((line) => !this.#isDone(line)).reverse();
  }

  /** Finds out what has been done before, and opens the rest. */
  static async open(parts: QueueParts): Promise<LineQueue> {
    const { output: ownOutput, error: ownErrors } = ownNames(parts);
    const isFenced = parts.fence !== null;
    const known = new Set(parts.lines.map(({ customId }) => customId));
    // Lines of another batch are no lines of this one.
    const own = (line: string) => {
      const id = customIdOf(line);
      return id !== null && known.has(id) ? id : null;
    };
    const named = parts.isNamed === true ? { begins: lineBeginning } : {};
    const usage: BatchUsage = { input_tokens: 0, output_tokens: 0, cached_tokens: 0 };
    const input = await open(parts.inputPath, "r");
    let output: Journal | null = null;
    try {
      output = await Journal.open(parts.outputPath, {
        fence: isFenced ? ownOutput : null,
        ...named,
        idOf(line) {
          const id = own(line);
          if (id !== null) addUsageOfLine(usage, line);
          return id;
        },
      });
      const answered = output.ids;
      const errors = await Journal.open(parts.errorPath, {
        fence: isFenced ? ownErrors : null,
        ...named,
        // The two may be those of two former holders, each of which has answered the line; what follows is answered again.
        idOf(line) {
          const id = own(line);
          return id === null || answered.has(id) ? null : id;
        },
      });
      return new LineQueue(parts, input, output, errors, usage);
    } catch (error) {
      await input.close();
      await output?.close();
      throw error;
    }
  }

  get counts(): { total: number; completed: number; failed: number } {
    return {
      total: this.#parts.lines.length,
      completed: this.#output.ids.size,
      failed: this.#errors.ids.size,
    };
  }

  get bytes(): { output: number; error: number } {
    return { output: this.#output.bytes, error: this.#errors.bytes };
  }

  /** The journals under names that are theirs whoever goes on with copies of them; null: there is nothing in it. */
  get journals(): { output: string | null; error: string | null } {
    const { output, error } = ownNames(this.#parts);
    return {
      output: this.#output.bytes > 0 ? output : null,
      error: this.#errors.bytes > 0 ? error : null,
    };
  }

  /** Whether every line has been answered. */
  get isDone(): boolean {
    return this.#open.length === 0 && this.#nRunning === 0;
  }

  get hasOpenLines(): boolean {
    return this.#open.length > 0;
  }

  /**
   * Runs the next open line and writes its answer. @returns false when it has to be tried again later; the line is open again.
   * @throws the file system's error when the answer cannot be written; the line is open again.
   */
  async runNext(runLine: RunLine): Promise<boolean> {
    const line = this.#open.pop();
    if (line === undefined) return true;
    this.#nRunning++;
    let isWritten = false;
    try {
      const body = await readLineBody(this.#input, line);
      const { endpoint, tenant } = this.#parts;
      const answer = await runLine({ endpoint, body, tenant, signal: this.#controller.signal });
      if (this.#controller.signal.aborted) return true;
      if (answer === "again") return false;
      await this.#write(line, answer);
      isWritten = true;
      return true;
    } finally {
      if (!isWritten) this.#open.push(line);
      this.#nRunning--;
      if (this.#nRunning === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
    }
  }

  /** Ends running lines; they stay open. */
  async stop(): Promise<void> {
    this.#controller.abort();
    if (this.#nRunning > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Gives all open lines the same end. To be called after `stop`. */
  async failOpen(error: LineError): Promise<void> {
    for (const line of this.#open.splice(0).reverse())
      await this.#errors.append(line.customId, errorLine(this.#parts.id, line.customId, error));
  }

  async close(): Promise<void> {
    await this.#input.close(); // closing twice is allowed
    await this.#output.close();
    await this.#errors.close();
  }

  #isDone({ customId }: InputLine): boolean {
    return this.#output.ids.has(customId) || this.#errors.ids.has(customId);
  }

  async #write({ customId }: InputLine, answer: LineAnswer | LineError): Promise<void> {
    const { id } = this.#parts;
    if ("code" in answer) return this.#errors.append(customId, errorLine(id, customId, answer));
    const isGood = answer.status >= 200 && answer.status < 300;
    await (isGood ? this.#output : this.#errors).append(customId, answerLine(id, customId, answer));
    if (isGood) addUsage(this.usage, answer.body);
  }
}

function ownNames({ outputPath, errorPath, fence }: QueueParts): { output: string; error: string } {
  return fence === null
    ? { output: outputPath, error: errorPath }
    : { output: `${outputPath}.${fence}`, error: `${errorPath}.${fence}` };
}
