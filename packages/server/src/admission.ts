/**
 * Who may run: so many requests at once, so many more wait in order of arrival, the rest is refused at once, before any work has been
 * put into it; so are those whose turn, as turns have been coming, would be too late. Work in the background takes the places that are left, and holds up nobody. Knows nothing of models.
 */
import { ServeError } from "./errors.ts";

export interface AdmissionLimits {
  parallel: number;
  maxQueued: number;
  maxQueuedBytes: number;
  queueTimeoutMs: number;
}

/** A turn; to be given back exactly once. */
export interface Ticket {
  readonly queuedMs: number;
  release(): void;
}

interface Waiting {
  readonly bytes: number;
  readonly tokens: number;
  admit(): void;
}

/** Clients come back after one second and up to one more, so that they do not all come at once. */
function retryDelay(): number {
  return 1000 + Math.floor(Math.random() * 1000);
}

/** Turns by which the next ones are foreseen: fewer say too little, older ones no longer count. */
const fewestTurns = 4;
const mostTurns = 16;

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #now: () => number;
  /** When places were given to those who waited, since the queue was last empty. */
  readonly #turns: number[] = [];
  readonly #queue = new Set<Waiting>();
  /** In the background, waiting for a place that nobody else wants. */
  readonly #background = new Set<() => void>();
  #nRunning = 0;
  #nBackground = 0;
  #queuedBytes = 0;
  #queuedTokens = 0;
  #nRefused = 0;
  #idleWaiters: (() => void)[] = [];

  /** @param now Milliseconds that never go back. */
  constructor(limits: AdmissionLimits, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
  }

  get stats(): {
    running: number;
    queued: number;
    queuedBytes: number;
    queuedTokens: number;
    refused: number;
    background: number;
  } {
    return {
      running: this.#nRunning,
      queued: this.#queue.size,
      queuedBytes: this.#queuedBytes,
      queuedTokens: this.#queuedTokens,
      refused: this.#nRefused,
      background: this.#nBackground,
    };
  }

  /**
   * Waits for a turn.
   * @param bytes Size of the body, which lies in memory meanwhile.
   * @param tokens What it may take, as far as is known before its turn; for those who watch.
   * @param isBackground Waits as long as it takes, and counts for nobody who is not.
   * @throws ServeError QUEUE_FULL at once, where the wait can be foreseen to be too long, too, or after it; ABORTED.
   */
  async enter(bytes: number, signal: AbortSignal, isBackground = false, tokens = 0): Promise<Ticket> {
    const start = this.#now();
    if (signal.aborted) throw new ServeError("ABORTED", "the client has left");
    if (isBackground) return this.#enterBackground(signal, start);
    if (this.#nRunning < this.#limits.parallel && this.#queue.size === 0) this.#nRunning++;
    else await this.#wait(bytes, tokens, signal);
    return this.#ticket(start, () => this.#nRunning--);
  }

  /** Resolves when nothing runs or waits. */
  idle(): Promise<void> {
    if (this.#isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  get #isIdle(): boolean {
    return this.#nRunning + this.#nBackground === 0 && this.#queue.size === 0;
  }

  /** Alone, work in the background may have every place; beside others, which it would slow down, a quarter of those that are left. */
  get #hasRoomBehind(): boolean {
    if (this.#queue.size > 0) return false;
    const left = this.#limits.parallel - this.#nRunning;
    return this.#nBackground < (this.#nRunning === 0 ? left : Math.ceil(left / 4));
  }

  async #enterBackground(signal: AbortSignal, start: number): Promise<Ticket> {
    if (!this.#hasRoomBehind) await this.#waitBehind(signal);
    else this.#nBackground++;
    return this.#ticket(start, () => this.#nBackground--);
  }

  /** @param leave Gives the place up. */
  #ticket(start: number, leave: () => void): Ticket {
    let isReleased = false;
    return {
      queuedMs: this.#now() - start,
      release: () => {
        if (isReleased) return;
        isReleased = true;
        leave();
        this.#admitNext();
      },
    };
  }

  #waitBehind(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const admit = () => {
        this.#background.delete(admit);
        signal.removeEventListener("abort", onAbort);
        this.#nBackground++;
        resolve();
      };
      const onAbort = () => {
        this.#background.delete(admit);
        reject(new ServeError("ABORTED", "the client has left"));
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#background.add(admit);
    });
  }

  #wait(bytes: number, tokens: number, signal: AbortSignal): Promise<void> {
    const { maxQueued, maxQueuedBytes, queueTimeoutMs } = this.#limits;
    if (this.#queue.size >= maxQueued || this.#queuedBytes + bytes > maxQueuedBytes)
      return Promise.reject(this.#refusal("the server is busy and its queue is full; try again later"));
    if (this.#foreseenWait() > queueTimeoutMs)
      return Promise.reject(
        this.#refusal("the server is busy and a turn would come too late; try again later"),
      );
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        if (!this.#queue.delete(waiting)) return;
        this.#queuedBytes -= bytes;
        this.#queuedTokens -= tokens;
      };
      const onAbort = () => {
        leave();
        reject(new ServeError("ABORTED", "the client has left"));
        this.#notifyIdle();
      };
      const timer = setTimeout(() => {
        leave();
        reject(this.#refusal("the request has waited too long for its turn; try again later"));
        this.#notifyIdle();
      }, queueTimeoutMs);
      const waiting: Waiting = {
        bytes,
        tokens,
        admit: () => {
          leave();
          this.#nRunning++;
          resolve();
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#queue.add(waiting);
      this.#queuedBytes += bytes;
      this.#queuedTokens += tokens;
    });
  }

  /** Milliseconds that a newcomer would wait, if places go on becoming free as they have of late; 0 while that is unknown. */
  #foreseenWait(): number {
    const [first] = this.#turns;
    if (first === undefined || this.#turns.length < fewestTurns) return 0;
    return ((this.#queue.size + 1) * (this.#now() - first)) / this.#turns.length;
  }

  #refusal(message: string): ServeError {
    this.#nRefused++;
    return new ServeError("QUEUE_FULL", message, { retryAfterMs: retryDelay() });
  }

  #admitNext(): void {
    for (const waiting of this.#queue) {
      if (this.#nRunning >= this.#limits.parallel) return;
      waiting.admit();
      this.#turns.push(this.#now());
      if (this.#turns.length > mostTurns) this.#turns.shift();
    }
    this.#turns.length = 0;
    for (const admit of this.#background) {
      if (!this.#hasRoomBehind) break;
      admit();
    }
    this.#notifyIdle();
  }

  #notifyIdle(): void {
    if (!this.#isIdle) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}
