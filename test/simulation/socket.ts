/**
 * The client's end of an answer: it reads fast, slowly, not for a while or never again, leaves, and lies about being ready. Stands where
 * `ServerResponse` and Fastify's reply stand.
 */
import { EventEmitter } from "node:events";
import type { Exchange } from "#server/exchange.ts";
import type { Chance } from "./chance.ts";
import type { SimulatedClock } from "./clock.ts";

export interface ReaderPlan {
  kind: "fast" | "slow" | "pausing" | "dead" | "leaving";
  /** Before each taking. */
  delayMs: number;
  /** "pausing": how long; "leaving": when. */
  afterMs: number;
  /** Says that it is ready when nobody asked, and leaves twice. */
  lies: boolean;
}

const highWater = 96;

export class SimulatedSocket extends EventEmitter {
  statusCode = 200;
  destroyed = false;
  writableFinished = false;
  writableNeedDrain = false;
  /** What the client has got. */
  received = "";
  /** Whole answers, and ends of streams. */
  nEnds = 0;
  readonly violations: string[] = [];
  readonly #clock: SimulatedClock;
  readonly #plan: ReaderPlan;
  #pending: string[] = [];
  #isTaking = false;
  #nTaken = 0;
  #hasPaused = false;

  constructor(clock: SimulatedClock, plan: ReaderPlan) {
    super();
    this.#clock = clock;
    this.#plan = plan;
    this.setMaxListeners(50);
    if (plan.kind === "leaving") void clock.sleep(plan.afterMs).then(() => this.destroy());
  }

  /** Whether somebody waits for the client. */
  get isBehind(): boolean {
    return this.#pending.length > 0 && !this.destroyed;
  }

  writeHead(status: number): this {
    this.statusCode = status;
    return this;
  }

  flushHeaders(): void {}

  write(text: string): boolean {
    if (this.nEnds > 0) this.violations.push("something was written after the end");
    if (this.destroyed) return false;
    this.#pending.push(text);
    void this.#take();
    const size = this.#pending.reduce((sum, each) => sum + each.length, 0);
    if (size > highWater) this.writableNeedDrain = true;
    return !this.writableNeedDrain;
  }

  end(text = ""): this {
    if (text !== "") this.write(text);
    this.nEnds++;
    if (this.nEnds > 1) this.violations.push("the answer ended twice");
    void this.#take();
    return this;
  }

  destroy(): this {
    if (this.destroyed || this.writableFinished) return this;
    this.destroyed = true;
    this.#pending = [];
    this.emit("close");
    if (this.#plan.lies) this.emit("close");
    return this;
  }

  async #take(): Promise<void> {
    if (this.#isTaking) return;
    this.#isTaking = true;
    while (!this.destroyed && (this.#pending.length > 0 || this.nEnds > 0)) {
      const { kind, delayMs, afterMs, lies } = this.#plan;
      const isTired = this.#nTaken >= 3 && !this.#hasPaused;
      if (kind === "dead" && isTired) return;
      if (kind === "pausing" && isTired) {
        this.#hasPaused = true;
        await this.#clock.sleep(afterMs);
      }
      await this.#clock.sleep(delayMs);
      if (this.destroyed) return;
      this.#receive(kind === "slow" ? 1 : this.#pending.length);
      if (lies) this.emit("drain");
      if (this.#pending.length > 0 || this.nEnds === 0) continue;
      this.writableFinished = true;
      this.emit("finish");
      this.emit("close");
      return;
    }
    this.#isTaking = false;
  }

  #receive(n: number): void {
    this.#nTaken++;
    this.received += this.#pending.splice(0, n).join("");
    if (this.#pending.length > 0 || !this.writableNeedDrain) return;
    this.writableNeedDrain = false;
    this.emit("drain");
  }
}

/** As much of Fastify's reply as exchanges use. */
export function replyOn(socket: SimulatedSocket): Exchange["reply"] {
  const headers: Record<string, string> = {};
  const reply = {
    raw: socket,
    code(status: number) {
      socket.statusCode = status;
      return reply;
    },
    header(name: string, value: string) {
      headers[name] = value;
      return reply;
    },
    headers(more: Record<string, string>) {
      Object.assign(headers, more);
      return reply;
    },
    getHeaders: () => headers,
    hijack: () => reply,
    send(text: string) {
      socket.end(text);
      return reply;
    },
  };
  return reply as unknown as Exchange["reply"];
}

export function planReader(chance: Chance): ReaderPlan {
  return {
    kind: chance.one("fast", "fast", "fast", "slow", "pausing", "dead", "leaving"),
    delayMs: chance.int(1, 30),
    afterMs: chance.int(1, 3000),
    lies: chance.oneIn(8),
  };
}
