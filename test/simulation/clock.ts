/**
 * Time that passes only when everybody has nothing left to do. While it is installed, timers, `performance.now`, `Date.now` and
 * `Math.random` of this thread are its own, so that a run depends on its seed alone. Knows nothing of what runs.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { seededIntegers } from "../seeded.ts";

interface Timer {
  at: number;
  readonly order: number;
  readonly every: number | null;
  readonly task: () => void;
}

/** What the thread's functions give back; Node's timers can be refreshed and let go. */
class Handle {
  readonly timer: Timer;
  readonly #clock: SimulatedClock;
  readonly #delay: number;

  constructor(clock: SimulatedClock, timer: Timer, delay: number) {
    this.#clock = clock;
    this.timer = timer;
    this.#delay = delay;
  }

  refresh(): this {
    this.#clock.move(this.timer, this.#delay);
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

const realImmediate = setImmediate;
const kept = ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] as const;

export class SimulatedClock {
  /** Milliseconds. */
  now = 1_000_000;
  /** Soonest first; equal times in the order of their setting. */
  readonly #timers: Timer[] = [];
  #nSet = 0;

  /** Takes over the thread's clock. @returns Gives it back. */
  install(seed: number): () => void {
    const real = Object.fromEntries(kept.map((name) => [name, globalThis[name]]));
    const { random } = Math;
    const { now } = Date;
    const next = seededIntegers(seed);
    // Whoever sets a timer runs it, as Node has it.
    const set = (task: () => void, delay: number | undefined, every: boolean) =>
      this.#set(AsyncLocalStorage.bind(task), delay ?? 0, every);
    const clear = (handle: unknown) => {
      if (handle instanceof Handle) this.#drop(handle.timer);
    };
    Object.assign(globalThis, {
      setTimeout: (task: () => void, delay?: number) => set(task, delay, false),
      setInterval: (task: () => void, delay?: number) => set(task, delay, true),
      clearTimeout: clear,
      clearInterval: clear,
    });
    Math.random = () => next() / 2 ** 32;
    Date.now = () => this.now;
    Object.defineProperty(performance, "now", { value: () => this.now, configurable: true });
    return () => {
      Object.assign(globalThis, real);
      Math.random = random;
      Date.now = now;
      Reflect.deleteProperty(performance, "now");
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#set(resolve, ms, false));
  }

  /** Lets everything that can happen now happen. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 2; turn++) await new Promise<void>((resolve) => realImmediate(resolve));
  }

  /**
   * Lets time pass from timer to timer until there are none.
   * @param onQuiet Asked whenever nothing more can happen without time passing; true ends the run.
   */
  async run(onQuiet: () => boolean): Promise<void> {
    for (;;) {
      await this.settle();
      if (onQuiet()) return;
      const timer = this.#timers.shift();
      if (timer === undefined) return;
      this.now = Math.max(this.now, timer.at);
      if (timer.every !== null) this.#insert({ ...timer, at: this.now + timer.every });
      timer.task();
    }
  }

  move(timer: Timer, delay: number): void {
    this.#drop(timer);
    timer.at = this.now + Math.max(delay, 1);
    this.#insert(timer);
  }

  #set(task: () => void, delay: number, repeats: boolean): Handle {
    const ms = Math.max(delay, 1);
    const timer = { at: this.now + ms, order: this.#nSet++, every: repeats ? ms : null, task };
    this.#insert(timer);
    return new Handle(this, timer, ms);
  }

  #insert(timer: Timer): void {
    let at = this.#timers.length;
    while (at > 0 && (this.#timers[at - 1]?.at ?? 0) > timer.at) at--;
    this.#timers.splice(at, 0, timer);
  }

  /** Timers that repeat are known by their order: each round is a new entry. */
  #drop(timer: Timer): void {
    const at = this.#timers.findIndex(({ order }) => order === timer.order);
    if (at >= 0) this.#timers.splice(at, 1);
  }
}
