/**
 * An endless, seeded stream of examples from several sources by share. Its whole state is a few numbers per source, so that a
 * checkpoint holds it and a resumed run goes on with the very next example. Knows nothing of tokens but how many a source gave.
 */
import { threefry } from "@bitnet.ts/core";
import type { Example } from "./example.ts";

/** Where examples come from. */
export type ExampleSource =
  /** So many; passed through in a new order every epoch. */
  | { readonly count: number; at(index: number): Example }
  /** Without end; example i is always the same. */
  | { readonly count: null; at(index: number): Example };

export interface MixtureState {
  /** Examples taken of each source. */
  taken: number[];
  /** Tokens that each has given. */
  tokens: number[];
}

export class Mixture {
  readonly #sources: readonly ExampleSource[];
  readonly #seed: number;
  readonly #orders: ({ epoch: number; order: Uint32Array } | null)[];
  #state: MixtureState;

  constructor(sources: readonly ExampleSource[], seed: number) {
    this.#sources = sources;
    this.#seed = seed;
    this.#orders = sources.map(() => null);
    this.#state = { taken: sources.map(() => 0), tokens: sources.map(() => 0) };
  }

  get state(): MixtureState {
    return structuredClone(this.#state);
  }

  restore(state: MixtureState): void {
    this.#state = structuredClone(state);
  }

  /**
   * The next example, of the source that lags most behind its share of the tokens.
   * @param shares One per source, in any unit; 0 leaves a source out.
   */
  next(shares: readonly number[]): { source: number; example: Example } {
    const { taken, tokens } = this.#state;
    const sum = shares.reduce((total, share) => total + share, 0);
    const given = tokens.reduce((total, n, i) => total + ((shares[i] ?? 0) > 0 ? n : 0), 0);
    let source = -1;
    let most = Number.NEGATIVE_INFINITY;
    shares.forEach((share, i) => {
      // Relative to the share, so that the stream mixes well from the first example on.
      const lag = share > 0 ? (given + 1) / sum - ((tokens[i] ?? 0) + 1) / share : Number.NEGATIVE_INFINITY;
      if (lag > most) [source, most] = [i, lag];
    });
    const from = this.#sources[source] as ExampleSource;
    const index = taken[source] ?? 0;
    taken[source] = index + 1;
    return { source, example: from.at(this.#place(source, from, index)) };
  }

  count(source: number, tokens: number): void {
    this.#state.tokens[source] = (this.#state.tokens[source] ?? 0) + tokens;
  }

  /** Another count of tokens, as when shares change: every source starts level. */
  restartShares(): void {
    this.#state.tokens.fill(0);
  }

  #place(source: number, { count }: ExampleSource, index: number): number {
    if (count === null) return index;
    const epoch = Math.floor(index / count);
    let known = this.#orders[source] ?? null;
    if (known?.epoch !== epoch) {
      known = { epoch, order: shuffled(count, this.#seed, source, epoch) };
      this.#orders[source] = known;
    }
    return known.order[index % count] ?? 0;
  }
}

/** Fisher and Yates, with counter-based noise. */
export function shuffled(count: number, seed: number, source: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor((threefry(seed, source, epoch, i) / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return order;
}
