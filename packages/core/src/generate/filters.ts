/**
 * The filters of the sampler chain over candidates in ranking order, and the final draw. Every filter keeps a contiguous
 * window of the ranking. Weights are expF32(f32(f32(logit − best) / temperature)), `best` being the best of the window;
 * sums run in f64 in ranking order (docs/numerics.md, "Samplers").
 */
import { expF32 } from "../base/elementary.ts";
import { gumbel, type NoisePoint, threefry } from "../base/noise.ts";
import { type Ranking, RankingBuilder } from "./ranking.ts";

const f32 = Math.fround;

/** `ranking[start … end)`; never empty unless the ranking is. */
export interface Window {
  readonly start: number;
  readonly end: number;
}

/** Weights of e^−40 do not reach the slack of `cutWithin`, however many. */
const negligible = 40;

/** More than the largest Gumbel noise, 16.636. */
const noiseBound = 16.75;

/** How far below the best a logit stands, in units of the temperature; ≤ 0. */
function distance(logit: number, best: number, temperature: number): number {
  return f32(f32(logit - best) / temperature);
}

/** Weights of `ranking[window)`, from 0 on. */
export function weightsOf(ranking: Ranking, { start, end }: Window, temperature: number): Float64Array {
  const best = ranking.logits[start] ?? 0;
  const weights = new Float64Array(end - start);
  for (let i = start; i < end; i++)
    weights[i - start] = expF32(distance(ranking.logits[i] ?? 0, best, temperature));
  return weights;
}

export function sumOf(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/** The shortest beginning of the window whose weight is at least `topP` of the whole. */
export function topP(ranking: Ranking, window: Window, temperature: number, p: number): Window {
  const weights = weightsOf(ranking, window, temperature);
  const bound = p * sumOf(weights);
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i] ?? 0;
    if (sum >= bound) return { start: window.start, end: window.start + i + 1 };
  }
  return window;
}

/** The window up to the first token whose weight is below `minP`. */
export function minP(ranking: Ranking, { start, end }: Window, temperature: number, p: number): Window {
  const best = ranking.logits[start] ?? 0;
  let cut = Math.min(start + 1, end);
  while (cut < end && expF32(distance(ranking.logits[cut] ?? 0, best, temperature)) >= p) cut++;
  return { start, end: cut };
}

/** Noise of the token `index` that decides whether XTC takes part; beyond the ids of any vocabulary. */
const xtcId = 0xffffffff;

/** Whether XTC acts on this token: as likely as it is told, and the same for the same seed. */
export function xtcActs(
  { xtcProbability, xtcThreshold }: { xtcProbability: number; xtcThreshold: number },
  { seed, choice, index }: NoisePoint,
): boolean {
  if (xtcProbability === 0 || xtcThreshold > 0.5) return false;
  return threefry(seed, choice, index, xtcId) < xtcProbability * 2 ** 32;
}

/**
 * Exclude top choices (XTC, by p-e-w): of the tokens whose share, at temperature 1, is at least `threshold`, only the least probable
 * stays.
 */
export function xtc(ranking: Ranking, window: Window, threshold: number): Window {
  const weights = weightsOf(ranking, window, 1);
  const bound = threshold * sumOf(weights);
  let last = 0;
  for (let i = 1; i < weights.length && (weights[i] ?? 0) >= bound; i++) last = i;
  return { start: window.start + last, end: window.end };
}

/**
 * Locally typical sampling (Meister et al., 2023): the tokens whose log-probability is nearest to its expectation. The
 * window grows from where the expectation falls in the ranking, by the nearer neighbour, the upper one when equal.
 */
export function typicalP(ranking: Ranking, window: Window, temperature: number, p: number): Window {
  const best = ranking.logits[window.start] ?? 0;
  const weights = weightsOf(ranking, window, temperature);
  const total = sumOf(weights);
  const distanceAt = (i: number) => distance(ranking.logits[window.start + i] ?? 0, best, temperature);
  let expected = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i] ?? 0;
    if (weight > 0) expected += weight * distanceAt(i);
  }
  expected /= total;
  let end = 0;
  while (end < weights.length && distanceAt(end) >= expected) end++;
  let start = end;
  for (let sum = 0; sum < p * total && (start > 0 || end < weights.length); ) {
    const above = start > 0 ? distanceAt(start - 1) - expected : Number.POSITIVE_INFINITY;
    const below = end < weights.length ? expected - distanceAt(end) : Number.POSITIVE_INFINITY;
    sum += weights[above <= below ? --start : end++] ?? 0;
  }
  return { start: window.start + start, end: window.start + end };
}

/**
 * What `topP` keeps of a whole vocabulary, without ranking all of it. Tokens near the best are ranked and weighed exactly;
 * the rest enters the total as a bracket from `Math.exp`, which engines may round differently. Where the bracket leaves the
 * cut open, or more tokens are needed, the next wider circle is ranked, in the end everything.
 *
 * @param logits By id; −Infinity for forbidden tokens.
 */
export function topPOfAll(logits: Float32Array, temperature: number, p: number): Ranking {
  const best = maximum(logits);
  for (const reach of [6, 16]) {
    const { near, far } = split(logits, best, temperature, reach);
    const end = cutWithin(near, { far, temperature, p });
    if (end !== null) return { ids: near.ids.slice(0, end), logits: near.logits.slice(0, end) };
  }
  const all = rankAll(logits);
  const { end } = topP(all, { start: 0, end: all.ids.length }, temperature, p);
  return { ids: all.ids.slice(0, end), logits: all.logits.slice(0, end) };
}

/** Ranks the tokens within `reach` of the best and sums the approximate weights of the others. */
function split(
  logits: Float32Array,
  best: number,
  temperature: number,
  reach: number,
): { near: Ranking; far: number } {
  const builder = new RankingBuilder(1024);
  let far = 0;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] ?? 0;
    const d = distance(logit, best, temperature);
    if (d >= -reach) builder.add(id, logit);
    else if (d > -negligible) far += Math.exp(d);
  }
  return { near: builder.finish(), far };
}

/** Where top-p cuts, when the bracket of the total decides it within `near`; else null. */
function cutWithin(
  near: Ranking,
  { far, temperature, p }: { far: number; temperature: number; p: number },
): number | null {
  const weights = weightsOf(near, { start: 0, end: near.ids.length }, temperature);
  const nearTotal = sumOf(weights);
  // expF32 is within 1.2·10⁻⁷ of the true value; the outer factors cover the rounding of 2²¹ additions in any order.
  const low = p * (nearTotal + far * (1 - 2e-7)) * (1 - 1e-9);
  const high = p * (nearTotal + far * (1 + 2e-7)) * (1 + 1e-9);
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i] ?? 0;
    if (sum >= high) return i + 1;
    if (sum >= low) return null;
  }
  return null;
}

/** Every token that is not forbidden. */
export function rankAll(logits: Float32Array): Ranking {
  const builder = new RankingBuilder(logits.length);
  for (let id = 0; id < logits.length; id++) builder.add(id, logits[id] ?? 0);
  return builder.finish();
}

function maximum(values: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const value of values) if (value > max) max = value;
  return max;
}

/** The running winner of a draw: the token with the highest f32(f32(logit / temperature) + noise), the lower id on ties. */
export class Draw {
  id = -1;
  readonly #temperature: number;
  readonly #noise: NoisePoint;
  #score = Number.NEGATIVE_INFINITY;

  constructor(temperature: number, noise: NoisePoint) {
    this.#temperature = temperature;
    this.#noise = noise;
  }

  /** @param logit Not −Infinity. */
  offer(id: number, logit: number): void {
    const scaled = f32(logit / this.#temperature);
    if (f32(scaled + noiseBound) < this.#score) return;
    const score = f32(scaled + gumbel(this.#noise, id));
    if (score > this.#score || (score === this.#score && id < this.id) || this.id < 0) {
      this.#score = score;
      this.id = id;
    }
  }
}
