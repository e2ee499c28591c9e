/**
 * Encodes the prompts for one model: short ones at once, long ones on a thread of their own, so that they hold up nobody's answers. The thread is
 * there while there is something to do; where the model's file is no longer the one that was loaded, or no file, it is done here.
 */
import { setImmediate as nextTask } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { BitNetError, type BitNetErrorCode, type ChatTemplate, type Tokenizer } from "@bitnet.ts/core";
import { type Encoded, type EncodeJob, runJob, sizeOf } from "./encode-job.ts";

/** Characters from which on a prompt is long. */
export const longPrompt = 32 * 1024;
/** A thread that has nothing to do for so long ends. */
const idleMs = 60_000;

export type FromEncoder =
  | { readonly encoded: Encoded }
  | { readonly error: { readonly code: BitNetErrorCode | null; readonly message: string } };

export interface EncodingModel {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
}

interface Waiting {
  readonly job: EncodeJob;
  settle(answer: FromEncoder): void;
}

export class PromptEncoder {
  readonly #model: EncodingModel;
  readonly #source: string;
  /** Whether the file at `source` is still what the model was loaded from. */
  readonly #isUnchanged: () => Promise<boolean>;
  readonly #waiting: Waiting[] = [];
  #current: Waiting | null = null;
  #worker: Worker | null = null;
  #idle: NodeJS.Timeout | null = null;
  /** Characters encoded on this thread since others have had their turn for the sake of this. */
  #nEncoded = 0;

  constructor(model: EncodingModel, source: string, isUnchanged: () => Promise<boolean>) {
    this.#model = model;
    this.#source = source;
    this.#isUnchanged = isUnchanged;
  }

  /** @throws BitNetError INVALID_ARGUMENT, TEMPLATE_FAILED; the signal's reason, at once. */
  async encode(job: EncodeJob, signal: AbortSignal): Promise<Encoded> {
    signal.throwIfAborted();
    const size = sizeOf(job);
    if (size < longPrompt || !(await this.#isUnchanged())) return this.#encodeHere(job, size, signal);
    signal.throwIfAborted();
    const answer = await this.#encodeThere(job, signal);
    if ("encoded" in answer) return answer.encoded;
    const { code, message } = answer.error;
    throw code === null ? new Error(message) : new BitNetError(code, message);
  }

  dispose(): void {
    for (const { settle } of this.#waiting.splice(0)) settle(ended);
    this.#end();
  }

  /** Many short ones in a row hold up the others no more than a long one. */
  async #encodeHere(job: EncodeJob, size: number, signal: AbortSignal): Promise<Encoded> {
    if (this.#nEncoded + size > longPrompt && this.#nEncoded > 0) {
      await nextTask();
      this.#nEncoded = 0;
      signal.throwIfAborted();
    }
    this.#nEncoded += size;
    return runJob(job, this.#model.tokenizer, () => this.#model.template);
  }

  #encodeThere(job: EncodeJob, signal: AbortSignal): Promise<FromEncoder> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        const at = this.#waiting.indexOf(waiting);
        if (at >= 0) this.#waiting.splice(at, 1);
        reject(signal.reason);
      };
      const waiting: Waiting = {
        job,
        settle: (answer) => {
          signal.removeEventListener("abort", leave);
          resolve(answer);
        },
      };
      signal.addEventListener("abort", leave, { once: true });
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
    this.#worker ??= this.#start();
    this.#worker.ref();
    this.#worker.postMessage(this.#current.job);
  }

  #start(): Worker {
    // Beside this file once it is built; sources run by a test use the built one as well.
    const worker = new Worker(new URL("../../dist/encoding/encoding-worker.js", import.meta.url), {
      workerData: this.#source,
    });
    worker.on("message", (answer: FromEncoder) => this.#settle(answer));
    const failed = (error: unknown) => {
      if (this.#worker !== worker) return;
      this.#worker = null;
      this.#settle({ error: { code: null, message: `encoding: the thread has ended: ${String(error)}` } });
    };
    worker.on("error", failed);
    worker.on("exit", failed);
    return worker;
  }

  #settle(answer: FromEncoder): void {
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
