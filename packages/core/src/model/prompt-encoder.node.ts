/**
 * Encodes the prompts for one model: short ones at once, long ones on a thread of their own, so that they hold up nobody's answers. The thread is
 * there while there is something to do; where the model's files are no longer those that were loaded, or no local files, or threads cannot
 * be started, it is done here.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTask } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { BitNetError, type BitNetErrorCode } from "../base/errors.ts";
import type { ChatTemplate } from "../tokenizer/chat-template.ts";
import {
  type EncodedPrompt,
  type EncodeJob,
  encodeJobSize,
  longPrompt,
  runEncodeJob,
} from "../tokenizer/encode-job.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** A thread that has nothing to do for so long ends. */
const idleMs = 60_000;

export type FromEncoder =
  | { readonly encoded: EncodedPrompt }
  | {
      readonly error: {
        readonly code: BitNetErrorCode | null;
        readonly message: string;
        readonly details?: Readonly<Record<string, unknown>>;
      };
    };

export interface EncodingModel {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
}

interface Waiting {
  readonly job: EncodeJob;
  /** Null: no thread can do it. */
  settle(answer: FromEncoder | null): void;
}

export class PromptEncoder {
  readonly #model: EncodingModel;
  /** File or folder of the model; null: it is nowhere that a thread could read. */
  readonly #place: string | null;
  /** Of the files at `place` when the model was loaded. */
  readonly #stamp: Promise<string | null>;
  readonly #waiting: Waiting[] = [];
  #current: Waiting | null = null;
  #worker: Worker | null = null;
  #hasAnswered = false;
  #idle: NodeJS.Timeout | null = null;
  /** Characters encoded on this thread since others have had their turn for the sake of this. */
  #nEncoded = 0;
  #isDisposed = false;

  constructor(model: EncodingModel, place: string | null) {
    this.#model = model;
    this.#place = place;
    this.#stamp = stampOf(place);
  }

  /** @throws BitNetError INVALID_ARGUMENT, TEMPLATE_FAILED, CONTEXT_EXCEEDED; the signal's reason, at once. */
  async encode(job: EncodeJob, signal?: AbortSignal): Promise<EncodedPrompt> {
    signal?.throwIfAborted();
    const size = encodeJobSize(job);
    if (size < longPrompt || !(await this.#isReadable())) return this.#encodeHere(job, size, signal);
    signal?.throwIfAborted();
    const answer = await this.#encodeThere(job, signal);
    if (answer === null) return this.#encodeHere(job, size, signal);
    if ("encoded" in answer) return answer.encoded;
    const { code, message, details = {} } = answer.error;
    throw code === null ? new Error(message) : new BitNetError(code, message, { details });
  }

  dispose(): void {
    this.#isDisposed = true;
    for (const { settle } of this.#waiting.splice(0)) settle(ended);
    this.#end();
  }

  async #isReadable(): Promise<boolean> {
    const stamp = await this.#stamp;
    return stamp !== null && stamp === (await stampOf(this.#place));
  }

  /** Many short ones in a row hold up the others no more than a long one. */
  async #encodeHere(job: EncodeJob, size: number, signal: AbortSignal | undefined): Promise<EncodedPrompt> {
    if (this.#nEncoded + size > longPrompt && this.#nEncoded > 0) {
      await nextTask();
      this.#nEncoded = 0;
      signal?.throwIfAborted();
    }
    this.#nEncoded += size;
    return runEncodeJob(job, this.#model.tokenizer, () => this.#model.template);
  }

  #encodeThere(job: EncodeJob, signal: AbortSignal | undefined): Promise<FromEncoder | null> {
    if (this.#isDisposed) return Promise.resolve(ended);
    return new Promise((resolve, reject) => {
      const leave = () => {
        const at = this.#waiting.indexOf(waiting);
        if (at >= 0) this.#waiting.splice(at, 1);
        reject(signal?.reason);
      };
      const waiting: Waiting = {
        job,
        settle: (answer) => {
          signal?.removeEventListener("abort", leave);
          resolve(answer);
        },
      };
      signal?.addEventListener("abort", leave, { once: true });
      this.#waiting.push(waiting);
      this.#next();
    });
  }

  /** One job at a time, so that those whose client leaves meanwhile cost nothing. */
  #next(): void {
    if (this.#current !== null) return;
    this.#current = this.#waiting.shift() ?? null;
    if (this.#current === null) {
      if (this.#worker === null) return;
      this.#idle = setTimeout(() => this.#end(), idleMs);
      this.#idle.unref();
      this.#worker.unref();
      return;
    }
    if (this.#idle !== null) clearTimeout(this.#idle);
    try {
      this.#worker ??= this.#start();
      this.#worker.ref();
      this.#worker.postMessage(this.#current.job);
    } catch {
      // No threads here, or a message that holds more than data.
      this.#settle(null);
    }
  }

  #start(): Worker {
    // Beside this file once it is built; sources run by a test use the built one as well.
    const worker = new Worker(new URL("../../dist/model/encoding-worker.node.js", import.meta.url), {
      workerData: this.#place,
    });
    worker.on("message", (answer: FromEncoder) => {
      this.#hasAnswered = true;
      this.#settle(answer);
    });
    const failed = (error: unknown) => {
      if (this.#worker !== worker) return;
      this.#worker = null;
      // One that has never answered may not exist, where a bundle has left it behind.
      if (!this.#hasAnswered) return this.#settle(null);
      this.#settle({ error: { code: null, message: `encoding: the thread has ended: ${String(error)}` } });
    };
    worker.on("error", failed);
    worker.on("exit", failed);
    return worker;
  }

  #settle(answer: FromEncoder | null): void {
    const done = this.#current;
    this.#current = null;
    done?.settle(answer);
    this.#next();
  }

  #end(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = null;
    void worker?.terminate();
    const cut = this.#current;
    this.#current = null;
    cut?.settle(ended);
  }
}

const ended: FromEncoder = { error: { code: "DISPOSED", message: "encoding: the model has been unloaded" } };

/** Files that say how a folder's model reads and writes. */
const languageFiles = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"];

/** The same as long as the files are; null for what is no local file or folder. */
async function stampOf(place: string | null): Promise<string | null> {
  const own = place === null ? null : await fileStamp(place);
  if (place === null || own === null) return null;
  const parts = own.isFolder
    ? await Promise.all(languageFiles.map((name) => fileStamp(join(place, name))))
    : [];
  return [own, ...parts].map((each) => each?.stamp ?? "").join(" ");
}

async function fileStamp(path: string): Promise<{ stamp: string; isFolder: boolean } | null> {
  try {
    const stats = await stat(path);
    return { stamp: `${stats.size}:${stats.mtimeMs}`, isFolder: stats.isDirectory() };
  } catch {
    return null;
  }
}
