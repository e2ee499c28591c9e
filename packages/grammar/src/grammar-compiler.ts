/**
 * Compiles grammars for one vocabulary in threads that a deadline can end, and hands out masks that follow them token by token.
 */
import { Worker } from "node:worker_threads";
import { BitNetError, type Tokenizer, type TokenMask } from "@bitnet.ts/core";
import { byteText } from "./byte-text.ts";
import { checkPattern, checkSchema } from "./check-schema.ts";
import type { GrammarSpec } from "./grammar-spec.ts";
import {
  type FromWorker,
  maskHeader,
  maskState,
  type ToWorker,
  type WorkerVocabulary,
} from "./worker-messages.ts";

export interface GrammarCompilerOptions {
  /** Of the model's logits; may be more than the tokenizer's. */
  vocabSize?: number;
  /** A grammar that takes longer to compile is an error. Default 10 s. */
  deadlineMs?: number;
  /** Threads at most. Default 3. */
  maxThreads?: number;
}

/** A compiled grammar; any number of generations can follow it. */
export interface Grammar {
  /** A fresh mask for one generation. */
  createMask(): TokenMask;
}

/** Grammars that a thread keeps. */
const keptPerThread = 16;
/** A mask takes some microseconds, at worst tens of milliseconds; beyond this its thread is given up. */
const maskDeadlineMs = 5000;

/**
 * @example
 * const compiler = new GrammarCompiler(model.tokenizer, { vocabSize: model.info.vocabSize });
 * const grammar = await compiler.compile({ kind: "choice", choices: ["yes", "no"] });
 * const { text } = await model.generate(prompt, { mask: grammar.createMask() }).result;
 */
export class GrammarCompiler {
  readonly #vocabulary: WorkerVocabulary;
  readonly #deadlineMs: number;
  readonly #maxThreads: number;
  readonly #threads: GrammarThread[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #compiling = new Map<string, Promise<Grammar>>();
  #isDisposed = false;

  /** @throws BitNetError TOKENIZER_INVALID when nothing ends a text: then a grammar could not end one. */
  constructor(tokenizer: Tokenizer, options: GrammarCompilerOptions = {}) {
    if (tokenizer.eosIds.length === 0)
      throw new BitNetError("TOKENIZER_INVALID", "grammar: this vocabulary has no token that ends a text");
    const tokens = Array.from({ length: tokenizer.vocabSize }, (_, id) =>
      tokenizer.isSpecial(id) ? "" : byteText(tokenizer.tokenBytes(id)),
    );
    this.#vocabulary = {
      tokens,
      vocabSize: options.vocabSize ?? tokenizer.vocabSize,
      stopIds: tokenizer.eosIds,
    };
    this.#deadlineMs = options.deadlineMs ?? 10_000;
    this.#maxThreads = options.maxThreads ?? 3;
  }

  /** @throws BitNetError INVALID_ARGUMENT for what cannot be compiled, or not in time. */
  async compile(spec: GrammarSpec): Promise<Grammar> {
    checkSpec(spec);
    if (this.#isDisposed) throw new BitNetError("DISPOSED", "grammar: the compiler has been disposed");
    const key = JSON.stringify(spec);
    const thread = this.#threads.find((each) => each.has(key));
    if (thread !== undefined) return { createMask: () => thread.open(key) };
    const running = this.#compiling.get(key) ?? this.#compileNew(key, spec);
    this.#compiling.set(key, running);
    return running;
  }

  async #compileNew(key: string, spec: GrammarSpec): Promise<Grammar> {
    try {
      const thread = await this.#freeThread();
      await thread.compile(key, spec, this.#deadlineMs);
      return { createMask: () => thread.open(key) };
    } finally {
      this.#compiling.delete(key);
      this.#next();
    }
  }

  /** A thread compiles only while nobody follows a grammar of it, so that compiling holds up no answer. */
  async #freeThread(): Promise<GrammarThread> {
    for (;;) {
      const idle = this.#threads.find((each) => each.claim());
      if (idle !== undefined) return idle;
      if (this.#threads.length < this.#maxThreads) {
        const thread = new GrammarThread(this.#vocabulary, {
          onIdle: () => this.#next(),
          onEnd: () => this.#threads.splice(this.#threads.indexOf(thread), 1),
        });
        thread.claim();
        this.#threads.push(thread);
        return thread;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #next(): void {
    this.#waiting.shift()?.();
  }

  async dispose(): Promise<void> {
    this.#isDisposed = true;
    await Promise.all(this.#threads.slice().map((thread) => thread.end()));
  }
}

function checkSpec(spec: GrammarSpec): void {
  if (spec.kind === "schema") checkSchema(spec.schema);
  if (spec.kind === "regex") checkPattern(spec.pattern, "pattern");
  if (spec.kind === "calls") for (const { parameters } of spec.tools) checkSchema(parameters);
  if (spec.kind === "choice") {
    const isGood =
      spec.choices.length > 0 && spec.choices.length <= 1024 && spec.choices.every((text) => text !== "");
    if (!isGood)
      throw new BitNetError("INVALID_ARGUMENT", "choice: expected 1 to 1024 texts that are not empty");
  }
}

class GrammarThread {
  readonly #worker: Worker;
  readonly #words: number;
  readonly #events: { onIdle(): void; onEnd(): void };
  readonly #grammars = new Set<string>();
  #pending: { id: number; settle(error: string | null): void } | null = null;
  #isClaimed = false;
  #hasEnded = false;
  #nOpen = 0;
  #nextId = 0;

  constructor(vocabulary: WorkerVocabulary, events: { onIdle(): void; onEnd(): void }) {
    this.#words = Math.ceil(vocabulary.vocabSize / 32);
    this.#events = events;
    // Beside this file once it is built; sources run by a test use the built one as well.
    this.#worker = new Worker(new URL("../dist/grammar-worker.js", import.meta.url), {
      workerData: vocabulary,
    });
    this.#worker.unref();
    this.#worker.on("message", ({ id, error }: FromWorker) => {
      if (this.#pending?.id === id) this.#pending.settle(error);
    });
    this.#worker.on("error", () => this.end());
    this.#worker.on("exit", () => this.end());
  }

  has(key: string): boolean {
    return !this.#hasEnded && this.#grammars.has(key);
  }

  /** Takes the thread for compiling, if it is free. */
  claim(): boolean {
    if (this.#isClaimed || this.#nOpen > 0 || this.#hasEnded) return false;
    this.#isClaimed = true;
    return true;
  }

  async compile(key: string, spec: GrammarSpec, deadlineMs: number): Promise<void> {
    const id = this.#nextId++;
    this.#worker.ref();
    try {
      const error = await new Promise<string | null>((resolve) => {
        const timer = setTimeout(() => {
          this.#pending = null;
          void this.end();
          resolve(
            `compiling took longer than ${deadlineMs / 1000} s; make the schema or pattern simpler, bounded strings cost most`,
          );
        }, deadlineMs);
        this.#pending = {
          id,
          settle: (problem) => {
            clearTimeout(timer);
            this.#pending = null;
            resolve(problem);
          },
        };
        this.#send({ type: "compile", id, key, spec });
      });
      if (error !== null) {
        // What the compiler leaves behind after an abort is not to be trusted.
        void this.end();
        throw new BitNetError("INVALID_ARGUMENT", `grammar: it cannot be compiled: ${error.split("\n")[0]}`);
      }
      this.#grammars.add(key);
      const [oldest] = this.#grammars;
      if (this.#grammars.size > keptPerThread && oldest !== undefined) {
        this.#grammars.delete(oldest);
        this.#send({ type: "drop", key: oldest });
      }
    } finally {
      this.#worker.unref();
      this.#isClaimed = false;
    }
  }

  open(key: string): TokenMask {
    const shared = new SharedArrayBuffer(4 * (maskHeader + this.#words));
    const words = new Int32Array(shared);
    const bits = new Uint32Array(shared, 4 * maskHeader);
    const none = new Uint32Array(this.#words);
    const matcher = this.#nextId++;
    let nExpected = 1;
    let isOpen = true;
    this.#nOpen++;
    this.#send({ type: "open", key, matcher, shared });
    return {
      allowed: () => {
        if (!isOpen || !this.#awaitMask(words, nExpected) || words[1] === maskState.failed) return none;
        return bits;
      },
      accept: (token) => {
        nExpected++;
        this.#send({ type: "accept", matcher, token });
      },
      dispose: () => {
        if (!isOpen) return;
        isOpen = false;
        this.#nOpen--;
        this.#send({ type: "close", matcher });
        if (this.#nOpen === 0) this.#events.onIdle();
      },
    };
  }

  async end(): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#pending?.settle("the compiler failed on it");
    this.#grammars.clear();
    this.#events.onEnd();
    this.#events.onIdle();
    await this.#worker.terminate();
  }

  /** Blocks, usually for some microseconds. A thread that does not answer is given up. */
  #awaitMask(words: Int32Array, nExpected: number): boolean {
    const deadline = performance.now() + maskDeadlineMs;
    for (let n = Atomics.load(words, 0); n < nExpected; n = Atomics.load(words, 0)) {
      if (this.#hasEnded) return false;
      if (Atomics.wait(words, 0, n, Math.max(0, deadline - performance.now())) !== "timed-out") continue;
      void this.end();
      return false;
    }
    return true;
  }

  #send(message: ToWorker): void {
    if (!this.#hasEnded) this.#worker.postMessage(message);
  }
}
