/** One thread that compiles grammars of a vocabulary and follows them. A deadline can end it. */
import { BitNetError, type TokenMask } from "@bitnet.ts/core";
import { type Places, sharesMasks, startThread, type ThreadHandle } from "#thread";
import type { GrammarSpec } from "./grammar-spec.ts";
import { type SentMask, sentMask, sharedMask } from "./token-masks.ts";
import type { FromWorker, ToWorker, WorkerVocabulary } from "./worker-messages.ts";

/** What a thread tells its compiler. */
export interface ThreadEvents {
  onIdle(): void;
  onEnd(): void;
}

/** Grammars that a thread keeps. */
const kept = 16;
/** A script that is neither there nor refused by then will not come. */
const startMs = 30_000;

export class GrammarThread {
  readonly #thread: ThreadHandle;
  readonly #nWords: number;
  readonly #events: ThreadEvents;
  readonly #grammars = new Set<string>();
  readonly #masks = new Map<number, SentMask>();
  #pending: { id: number; settle(error: string | null): void } | null = null;
  #start: Promise<void>;
  #settleStart: (error: BitNetError | null) => void = () => {};
  #isClaimed = false;
  #hasEnded = false;
  #nOpen = 0;
  #nextId = 0;

  /** @throws BitNetError BACKEND_UNAVAILABLE */
  constructor(vocabulary: WorkerVocabulary, places: Places, events: ThreadEvents) {
    this.#nWords = Math.ceil(vocabulary.vocabSize / 32);
    this.#events = events;
    this.#start = new Promise((resolve, reject) => {
      this.#settleStart = (error) => (error === null ? resolve() : reject(error));
    });
    this.#start.catch(() => {}); // whoever compiles sees the error
    try {
      this.#thread = startThread(places);
    } catch (cause) {
      throw notStarted(cause instanceof Error ? cause.message : String(cause));
    }
    this.#thread.onMessage((message) => this.#receive(message));
    this.#thread.onEnd((reason) => {
      this.#settleStart(notStarted(reason));
      void this.end();
    });
    this.#send({ type: "start", vocabulary });
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

  /** @throws BitNetError INVALID_ARGUMENT for a grammar that does not compile or not in time, BACKEND_UNAVAILABLE. */
  async compile(key: string, spec: GrammarSpec, deadlineMs: number): Promise<void> {
    this.#thread.hold(true);
    try {
      await this.#started();
      const error = await this.#compiled(key, spec, deadlineMs);
      if (error !== null) {
        // What the compiler leaves behind after an abort is not to be trusted.
        void this.end();
        throw new BitNetError("INVALID_ARGUMENT", `grammar: it cannot be compiled: ${error.split("\n")[0]}`);
      }
      this.#grammars.add(key);
      const [oldest] = this.#grammars;
      if (this.#grammars.size > kept && oldest !== undefined) {
        this.#grammars.delete(oldest);
        this.#send({ type: "drop", key: oldest });
      }
    } finally {
      this.#thread.hold(false);
      this.#isClaimed = false;
    }
  }

  open(key: string): TokenMask {
    const matcher = this.#nextId++;
    const hasEnded = () => this.#hasEnded;
    const link = {
      nWords: this.#nWords,
      get hasEnded() {
        return hasEnded();
      },
      accept: (token: number) => this.#send({ type: "accept", matcher, token }),
      close: () => this.#close(matcher),
      giveUp: () => void this.end(),
    };
    this.#nOpen++;
    if (sharesMasks) {
      const { mask, shared } = sharedMask(link);
      this.#send({ type: "open", key, matcher, shared });
      return mask;
    }
    const sent = sentMask(link);
    this.#masks.set(matcher, sent);
    this.#send({ type: "open", key, matcher, shared: null });
    return sent.mask;
  }

  async end(): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#settleStart(notStarted("it has been ended"));
    this.#pending?.settle("the compiler failed on it");
    for (const mask of this.#masks.values()) mask.receive(null);
    this.#masks.clear();
    this.#grammars.clear();
    this.#events.onEnd();
    this.#events.onIdle();
    await this.#thread.terminate();
  }

  async #started(): Promise<void> {
    const timer = setTimeout(() => {
      this.#settleStart(notStarted(`nothing came of it within ${startMs / 1000} s`));
      void this.end();
    }, startMs);
    try {
      await this.#start;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @returns What is wrong with it. */
  #compiled(key: string, spec: GrammarSpec, deadlineMs: number): Promise<string | null> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
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
  }

  #receive(message: FromWorker): void {
    if (message.type === "started") {
      this.#settleStart(message.error === null ? null : notStarted(message.error));
      if (message.error !== null) void this.end();
    } else if (message.type === "mask") this.#masks.get(message.matcher)?.receive(message.bits);
    else if (this.#pending?.id === message.id) this.#pending.settle(message.error);
  }

  #close(matcher: number): void {
    this.#nOpen--;
    this.#masks.delete(matcher);
    this.#send({ type: "close", matcher });
    if (this.#nOpen === 0) this.#events.onIdle();
  }

  #send(message: ToWorker): void {
    if (!this.#hasEnded) this.#thread.post(message);
  }
}

function notStarted(reason: string): BitNetError {
  return new BitNetError("BACKEND_UNAVAILABLE", `grammar: its thread could not be started (${reason})`);
}
