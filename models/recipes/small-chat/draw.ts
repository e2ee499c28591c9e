/**
 * Seeded choices. A draw depends on (seed, document, how-manieth) only, so that document i is the same whenever it is made. Sums up the
 * information of the choices: an upper bound of what a document holds, and so of what the best model's loss on it can be.
 */
import { threefry } from "@bitnet.ts/core";

export class Draw {
  /** −log p of all choices so far, in nats. */
  nats = 0;
  /** Held-out documents may use words that training never sees. */
  readonly isHeldOut: boolean;
  readonly #seed: number;
  readonly #document: number;
  #count = 0;

  constructor(seed: number, document: number, isHeldOut = false) {
    this.#seed = seed;
    this.#document = document;
    this.isHeldOut = isHeldOut;
  }

  /** In [0, 1). */
  unit(): number {
    return threefry(this.#seed, 0x57a1, this.#document, this.#count++) / 2 ** 32;
  }

  below(n: number): number {
    this.nats += Math.log(n);
    return Math.floor(this.unit() * n);
  }

  /** From `first` to `last`, both included. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1);
  }

  chance(p: number): boolean {
    const is = this.unit() < p;
    this.nats -= Math.log(is ? p : 1 - p);
    return is;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** One of the others. */
  pickOther<T>(items: readonly T[], ...taken: readonly T[]): T {
    return this.pick(items.filter((item) => !taken.includes(item)));
  }

  weighted<T>(items: readonly (readonly [weight: number, item: T])[]): T {
    const sum = items.reduce((total, [weight]) => total + weight, 0);
    let left = this.unit() * sum;
    for (const [weight, item] of items) {
      left -= weight;
      if (left < 0) {
        this.nats -= Math.log(weight / sum);
        return item;
      }
    }
    return (items.at(-1) as readonly [number, T])[1];
  }

  /** A template with one of its alternatives for every `{a|b|c}`. */
  say(template: string): string {
    return template.replaceAll(/\{([^{}]*)\}/g, (_, options: string) => this.pick(options.split("|")));
  }
}
