/** Choices that a seed makes. */
import { seededIntegers } from "../seeded.ts";

export class Chance {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seededIntegers(Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995);
    // Neighbouring seeds begin alike.
    for (let i = 0; i < 8; i++) this.#next();
  }

  /** An integer of `low … high`, both included. */
  int(low: number, high: number): number {
    return low + (this.#next() % (high - low + 1));
  }

  one<T>(...values: readonly T[]): T {
    return values[this.#next() % values.length] as T;
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.#next() % n === 0;
  }
}
