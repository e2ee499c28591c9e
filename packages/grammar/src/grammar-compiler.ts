/**
 * Compiles grammars for one vocabulary in threads that a deadline can end, and hands out masks that follow them token by token.
 */
import { BitNetError, onAbort, type Tokenizer, type TokenMask, throwIfAborted } from "@bitnet.ts/core";
import type { Places } from "#thread";
import { byteText } from "./byte-text.ts";
import { checkPattern, checkSchema } from "./check-schema.ts";
import type { GrammarSpec } from "./grammar-spec.ts";
import { GrammarThread } from "./grammar-thread.ts";
import { loosenSchema } from "./loosen-schema.ts";
import type { WorkerVocabulary } from "./worker-messages.ts";

export interface GrammarCompilerOptions {
  /** Of the model's logits; may be more than the tokenizer's. */
  vocabSize?: number;
  /** A grammar that takes longer to compile is an error. Default 10 s. */
  deadlineMs?: number;
  /** Threads at most. Default 3. */
  maxThreads?: number;
  /** Browsers only. Starts the worker, where a bundler does not find workers by itself. */
  worker?: () => Worker;
}

export interface CompileOptions {
  /** Grammars are shared only among those of equal salt, so that none can time what another has asked for. Default "". */
  salt?: string;
  /** Whoever leaves is let go at once; what nobody waits for any more, and has not been begun, is not compiled. */
  signal?: AbortSignal;
}

interface Compiling {
  readonly grammar: Promise<Grammar>;
  nWaiting: number;
}

/** A compiled grammar; any number of generations can follow it. */
export interface Grammar {
  /** A fresh mask for one generation. */
  createMask(): TokenMask;
}

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
  readonly #places: Places;
  readonly #threads: GrammarThread[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #compiling = new Map<string, Compiling>();
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
    this.#places = { worker: options.worker };
  }

  /**
   * @throws BitNetError INVALID_ARGUMENT for what cannot be compiled, or not in time; BACKEND_UNAVAILABLE where no thread starts; ABORTED, its
   * cause the signal's reason.
   */
  async compile(asked: GrammarSpec, { salt = "", signal }: CompileOptions = {}): Promise<Grammar> {
    throwIfAborted(signal);
    const spec = withLooseTools(asked);
    checkSpec(spec);
    if (this.#isDisposed) throw new BitNetError("DISPOSED", "grammar: the compiler has been disposed");
    const key = JSON.stringify([salt, spec]);
    const thread = this.#threads.find((each) => each.has(key));
    if (thread !== undefined) return { createMask: () => thread.open(key) };
    const running = this.#compiling.get(key) ?? this.#begin(key, spec);
    running.nWaiting++;
    try {
      return await untilAborted(running.grammar, signal);
    } finally {
      running.nWaiting--;
    }
  }

  #begin(key: string, spec: GrammarSpec): Compiling {
    // In a turn of its own, when whoever asks has been counted.
    const grammar = Promise.resolve().then(() =>
      this.#compileNew(key, spec, () => (this.#compiling.get(key)?.nWaiting ?? 0) > 0),
    );
    grammar.catch(() => {}); // those who wait see it
    const compiling = { grammar, nWaiting: 0 };
    this.#compiling.set(key, compiling);
    return compiling;
  }

  async #compileNew(key: string, spec: GrammarSpec, isWanted: () => boolean): Promise<Grammar> {
    try {
      const thread = await this.#freeThread(isWanted);
      await thread.compile(key, spec, this.#deadlineMs);
      return { createMask: () => thread.open(key) };
    } finally {
      this.#compiling.delete(key);
      this.#next();
    }
  }

  /** A thread compiles only while nobody follows a grammar of it, so that compiling holds up no answer. */
  async #freeThread(isWanted: () => boolean): Promise<GrammarThread> {
    for (;;) {
      if (!isWanted()) throw new BitNetError("ABORTED", "grammar: nobody waits for it any more");
      const idle = this.#threads.find((each) => each.claim());
      if (idle !== undefined) return idle;
      if (this.#threads.length < this.#maxThreads) {
        const thread = new GrammarThread(this.#vocabulary, this.#places, {
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

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = onAbort(signal, () =>
      reject(new BitNetError("ABORTED", "the operation was aborted", { cause: signal.reason })),
    );
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    stop();
  }
}

function withLooseTools(spec: GrammarSpec): GrammarSpec {
  if (spec.kind !== "calls") return spec;
  const tools = spec.tools.map(({ name, parameters, isLoose = false }) => ({
    name,
    parameters: isLoose ? loosenSchema(parameters) : parameters,
  }));
  return { ...spec, tools };
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
