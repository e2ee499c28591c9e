/**
 * A machine that takes its time, and that stalls, fails before or after it has written, or answers with too little. What it computes is
 * that of the fake executable, which refuses rows never written, rows of another prefix, and pages that somebody else reads.
 */
import { BitNetError, pageTokens, type Step, type StepResult } from "@bitnet.ts/core";
import { FakeExecutable, hashedLogits } from "#core/generate/fake-executable.test.kit.ts";
import type { Chance } from "./chance.ts";
import type { SimulatedClock } from "./clock.ts";

export const vocabSize = 16;
/** A prompt that ends in it cannot be computed. */
export const poison = 15;

/** The token that ends an answer. */
export const eosId = 0;

export function logitsOf(history: readonly number[]): Float32Array {
  const logits = hashedLogits(history, vocabSize);
  logits[poison] = -100;
  return logits;
}

function failsOn(history: readonly number[]): BitNetError | null {
  if (history.at(-1) !== poison) return null;
  return new BitNetError("NUMERIC_FAILURE", "simulated: not a number", { details: { named: true } });
}

export interface BackendPlan {
  nPages: number;
  maxRows: number;
  contextLength: number;
  /** One step in so many goes wrong; 0: none. */
  faultEvery: number;
}

export class SimulatedBackend extends FakeExecutable {
  /** Times at which everything that ran was lost. */
  readonly faults: number[] = [];
  readonly #clock: SimulatedClock;
  readonly #chance: Chance;
  readonly #faultEvery: number;
  readonly #touched = new Set<number>();
  #isBusy = false;

  constructor(clock: SimulatedClock, chance: Chance, plan: BackendPlan & { isPoisoned: boolean }) {
    const { nPages, maxRows, contextLength, faultEvery, isPoisoned } = plan;
    super({
      ...{ nPages, maxRows, contextLength, vocabSize },
      logitsOf,
      // Looking at every row takes time.
      ...(isPoisoned ? { failsOn } : {}),
    });
    this.#clock = clock;
    this.#chance = chance;
    this.#faultEvery = faultEvery;
  }

  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Pages whose memory has not been given back. */
  get nTouched(): number {
    return this.#touched.size;
  }

  override async run(step: Step): Promise<StepResult> {
    if (this.#isBusy) throw new Error("two runs at once");
    this.#isBusy = true;
    try {
      const isFaulty = this.#faultEvery > 0 && this.#chance.oneIn(this.#faultEvery);
      const fault = isFaulty ? this.#chance.one("stall", "before", "after", "short", "memory") : "none";
      await this.#clock.sleep(fault === "stall" ? this.#chance.int(500, 8000) : this.#chance.int(1, 20));
      if (fault === "before") throw this.#fail("BACKEND_FAILED");
      for (const table of step.pageTables) for (const page of table) this.#touched.add(page);
      const result = await super.run(step);
      this.steps.length = 0;
      if (fault === "after") throw this.#fail("BACKEND_FAILED");
      if (fault === "memory") throw this.#fail("OUT_OF_MEMORY");
      if (fault !== "short" || result.heads.length === 0) return result;
      this.#fail("INTERNAL");
      return { ...result, heads: result.heads.slice(1) };
    } finally {
      this.#isBusy = false;
    }
  }

  override releasePages(pages: Int32Array): void {
    if (this.#isBusy) throw new Error("pages released during a run");
    super.releasePages(pages);
    for (const page of pages) this.#touched.delete(page);
  }

  #fail(code: "BACKEND_FAILED" | "OUT_OF_MEMORY" | "INTERNAL"): BitNetError {
    this.faults.push(this.#clock.now);
    return new BitNetError(code, "simulated: the machine failed");
  }
}

export const tokensOf = (nPages: number): number => nPages * pageTokens;
