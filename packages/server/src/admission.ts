/**
 * Who may run: so many requests at once, so many more wait, the rest is refused at once, before any work has been put into it; so are those
 * whose turn, as turns have been coming, would be too late. Tenants have turns one after the other, each in order of arrival, and where the queue
 * is full, the tenant that has most in it gives up its youngest for one that has less. Work in the background takes the places that are left,
 * and holds up nobody. Knows nothing of models.
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
  admit(): void;
  refuse(message: string): void;
}

interface Entering {
  /** Whose turn it would be. */
  tenant?: string;
  /** Waits as long as it takes, and counts for nobody who is not. */
  isBackground?: boolean;
  /** What it may take, as far as is known before its turn; for those who watch. */
  tokens?: number;
}

const full = "the server is busy and its queue is full; try again later";

/** Clients come back after one second and up to one more, so that they do not all come at once. */
function retryDelay(): number {
  return 1000 + Math.floor(Math.random() * 1000);
}

function bytesOf(waiting: readonly Waiting[]): number {
  return waiting.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Turns by which the next ones are foreseen: fewer say too little, older ones no longer count. */
const fewestTurns = 4;
const mostTurns = 16;

export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #now: () => number;
  /** When places were given to those who waited, since the queue was last empty. */
  readonly #turns: number[] = [];
  /** By tenant, whoever comes next first. None is empty. */
  readonly #queues = new Map<string, Set<Waiting>>();
  /** In the background, waiting for a place that nobody else wants. */
  readonly #background = new Set<() => void>();
  #nRunning = 0;
  #nBackground = 0;
  #nQueued = 0;
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
      queued: this.#nQueued,
      queuedBytes: this.#queuedBytes,
      queuedTokens: this.#queuedTokens,
      refused: this.#nRefused,
      background: this.#nBackground,
    };
  }

  /**
   * Waits for a turn.
   * @param bytes Size of the body, which lies in memory meanwhile.
   * @throws ServeError QUEUE_FULL at once, where the wait can be foreseen to be too long, too, or after it, or when another tenant, who has fewer
   * waiting, takes the place; ABORTED.
   */
  async enter(bytes: number, signal: AbortSignal, entering: Entering = {}): Promise<Ticket> {
    const { tenant = "", isBackground = false, tokens = 0 } = entering;
    const start = this.#now();
    if (signal.aborted) throw new ServeError("ABORTED", "the client has left");
    if (isBackground) return this.#enterBackground(signal, start);
    if (this.#nRunning < this.#limits.parallel && this.#nQueued === 0) this.#nRunning++;
    else await this.#wait({ bytes, tokens, tenant }, signal);
    return this.#ticket(start, () => this.#nRunning--);
  }

  /** Resolves when nothing runs or waits. */
  idle(): Promise<void> {
    if (this.#isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  get #isIdle(): boolean {
    return this.#nRunning + this.#nBackground === 0 && this.#nQueued === 0;
  }

  /** Alone, work in the background may have every place; beside others, which it would slow down, a quarter of those that are left. */
  get #hasRoomBehind(): boolean {
    if (this.#nQueued > 0) return false;
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

  #wait(
    { bytes, tokens, tenant }: { bytes: number; tokens: number; tenant: string },
    signal: AbortSignal,
  ): Promise<void> {
    const { queueTimeoutMs } = this.#limits;
    if (this.#foreseenWait(tenant) > queueTimeoutMs)
      return Promise.reject(
        this.#refusal("the server is busy and a turn would come too late; try again later"),
      );
    if (!this.#makeRoom(tenant, bytes)) return Promise.reject(this.#refusal(full));
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        if (!this.#leaveQueue(tenant, waiting)) return;
        this.#queuedTokens -= tokens;
      };
      const onAbort = () => {
        leave();
        reject(new ServeError("ABORTED", "the client has left"));
        this.#notifyIdle();
      };
      const waiting: Waiting = {
        bytes,
        admit: () => {
          leave();
          this.#nRunning++;
          resolve();
        },
        refuse: (message) => {
          leave();
          reject(this.#refusal(message));
          this.#notifyIdle();
        },
      };
      const timer = setTimeout(
        () => waiting.refuse("the request has waited too long for its turn; try again later"),
        queueTimeoutMs,
      );
      signal.addEventListener("abort", onAbort, { once: true });
      this.#joinQueue(tenant, waiting);
      this.#queuedTokens += tokens;
    });
  }

  #joinQueue(tenant: string, waiting: Waiting): void {
    const own = this.#queues.get(tenant) ?? new Set();
    this.#queues.set(tenant, own.add(waiting));
    this.#nQueued++;
    this.#queuedBytes += waiting.bytes;
  }

  /** @returns false for one that has left before. */
  #leaveQueue(tenant: string, waiting: Waiting): boolean {
    const own = this.#queues.get(tenant);
    if (own?.delete(waiting) !== true) return false;
    if (own.size === 0) this.#queues.delete(tenant);
    this.#nQueued--;
    this.#queuedBytes -= waiting.bytes;
    return true;
  }

  /**
   * Refuses others for a newcomer where their tenant has, even without them, no less of what is short than the newcomer's would have: places, or
   * bytes. @returns Whether there is room for one more.
   */
  #makeRoom(tenant: string, bytes: number): boolean {
    const { maxQueued, maxQueuedBytes } = this.#limits;
    const left = { places: this.#nQueued, bytes: this.#queuedBytes + bytes };
    if (left.places < maxQueued && left.bytes <= maxQueuedBytes) return true;
    const queues = [...this.#queues].map(([name, each]) => ({ isOwn: name === tenant, waiting: [...each] }));
    const own = queues.find(({ isOwn }) => isOwn)?.waiting ?? [];
    const refused: Waiting[] = [];
    while (left.places >= maxQueued || left.bytes > maxQueuedBytes) {
      const isPlace = left.places >= maxQueued;
      const sizeOf = (waiting: readonly Waiting[]) => (isPlace ? waiting.length : bytesOf(waiting));
      const [largest] = queues.toSorted((a, b) => sizeOf(b.waiting) - sizeOf(a.waiting));
      const youngest = largest?.waiting.pop();
      if (largest === undefined || youngest === undefined || largest.isOwn) return false;
      if (sizeOf(largest.waiting) < sizeOf(own) + (isPlace ? 1 : bytes)) return false;
      refused.push(youngest);
      left.places--;
      left.bytes -= youngest.bytes;
    }
    for (const each of refused) each.refuse(full);
    return true;
  }

  /** Milliseconds that a newcomer would wait, if places go on becoming free as they have of late; 0 while that is unknown. */
  #foreseenWait(tenant: string): number {
    const [first] = this.#turns;
    if (first === undefined || this.#turns.length < fewestTurns) return 0;
    const own = (this.#queues.get(tenant)?.size ?? 0) + 1;
    let nTurns = 1;
    for (const each of this.#queues.values()) nTurns += Math.min(each.size, own);
    return (nTurns * (this.#now() - first)) / this.#turns.length;
  }

  #refusal(message: string): ServeError {
    this.#nRefused++;
    return new ServeError("QUEUE_FULL", message, { retryAfterMs: retryDelay() });
  }

  #admitNext(): void {
    for (;;) {
      const next = this.#queues.entries().next();
      if (next.done === true) break;
      if (this.#nRunning >= this.#limits.parallel) return;
      const [tenant, own] = next.value;
      const [waiting] = own;
      // Behind all others.
      this.#queues.delete(tenant);
      this.#queues.set(tenant, own);
      waiting?.admit();
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
