/**
 * DRY ("don't repeat yourself", by p-e-w): a token that would continue a repetition of the last tokens is held back, the more the longer the
 * repetition is. Repetitions do not reach across sequence breakers. llama.cpp's definition, in f32 steps (docs/numerics.md, "Samplers").
 */
import type { SequenceBreakers } from "./dry-breakers.ts";
import type { SamplingSettings } from "./options.ts";

const f32 = Math.fround;
const largestF32 = 3.4028234663852886e38;

export function hasDry({ dryMultiplier, dryPenaltyLastN }: SamplingSettings): boolean {
  return dryMultiplier > 0 && dryPenaltyLastN !== 0;
}

export class Dry {
  readonly #settings: SamplingSettings;
  readonly #breakers: SequenceBreakers;
  readonly #tokens: number[] = [];

  constructor(settings: SamplingSettings, breakers: SequenceBreakers) {
    this.#settings = settings;
    this.#breakers = breakers;
  }

  see(token: number): void {
    this.#tokens.push(token);
  }

  /** What to subtract from logits, by token; positive f32. */
  penalties(): Map<number, number> {
    const { dryPenaltyLastN, dryAllowedLength } = this.#settings;
    const penalties = new Map<number, number>();
    const window = dryPenaltyLastN < 0 ? this.#tokens.length : dryPenaltyLastN;
    const recent = this.#tokens.slice(-window).reverse();
    if (recent.length <= dryAllowedLength) return penalties;
    const longest = this.#longestRepeat(recent);
    if (longest < dryAllowedLength) return penalties;
    const lengths = prefixLengths(recent);
    const repeats = new Map<number, number>();
    for (let back = 1; back < recent.length; back++) {
      const length = Math.min(lengths[back] ?? 0, longest);
      const next = recent[back - 1] ?? 0; // what followed then
      if (length >= dryAllowedLength && length > (repeats.get(next) ?? -1)) repeats.set(next, length);
    }
    for (const [token, length] of repeats)
      if (!this.#breakers.isSingle(token)) penalties.set(token, this.#penalty(length - dryAllowedLength));
    return penalties;
  }

  /** The tokens since the last breaker, which may be several tokens. */
  #longestRepeat(recent: readonly number[]): number {
    for (let back = 0; back < recent.length; back++) {
      const length = this.#breakers.longestAt(recent, back);
      if (length >= 0) return back - length;
    }
    return recent.length;
  }

  /** multiplier · base^exponent, by multiplications rounded to f32. */
  #penalty(exponent: number): number {
    const { dryMultiplier, dryBase } = this.#settings;
    let penalty = dryMultiplier;
    if (dryBase === 1) return penalty;
    for (let i = 0; i < exponent && penalty < largestF32; i++) {
      const grown = f32(penalty * dryBase);
      if (grown === penalty) break; // nothing more comes of it
      penalty = Math.min(grown, largestF32);
    }
    return penalty;
  }
}

/** For every place, how many tokens from there on are those of the beginning (the Z function). */
function prefixLengths(tokens: readonly number[]): Int32Array {
  const lengths = new Int32Array(tokens.length);
  let left = 0;
  let right = 0;
  for (let i = 1; i < tokens.length; i++) {
    let length = i < right ? Math.min(right - i, lengths[i - left] ?? 0) : 0;
    while (i + length < tokens.length && tokens[length] === tokens[i + length]) length++;
    lengths[i] = length;
    if (i + length > right) {
      left = i;
      right = i + length;
    }
  }
  return lengths;
}
