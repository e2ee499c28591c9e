/**
 * Draws a token from all logits, by the letter of docs/numerics.md, "Samplers": ranks everything, keeps what each filter keeps, and
 * takes the highest sum of logit and noise. Knows no shorter way.
 */
import { expF32 } from "../../base/elementary.ts";
import { gumbel } from "../../base/noise.ts";
import type { DrawWant, HeadRequest } from "../step.ts";

const f32 = Math.fround;
const largest = 3.4028234663852886e38;

interface Token {
  id: number;
  logit: number;
}

/** [vocab] logits after penalties and biases; −Infinity: forbidden. */
export function changedLogits(
  { counts, biases, penalties }: DrawWant,
  { apart, allow }: HeadRequest,
  logits: Float32Array,
): Float32Array {
  const changed = logits.slice();
  apart?.forEach((id, i) => {
    changed[id] = change(logits[id] ?? 0, counts[i] ?? 0, biases[i] ?? 0, penalties);
  });
  if (allow === undefined) return changed;
  return changed.map((logit, id) =>
    (((allow[id >> 5] ?? 0) >>> (id & 31)) & 1) === 1 ? logit : Number.NEGATIVE_INFINITY,
  );
}

/** @returns The id; −1 when every token is forbidden. */
export function draw(want: DrawWant, request: HeadRequest, logits: Float32Array): number {
  let tokens: Token[] = [];
  changedLogits(want, request, logits).forEach((logit, id) => {
    if (logit > Number.NEGATIVE_INFINITY) tokens.push({ id, logit });
  });
  tokens.sort((a, b) => b.logit - a.logit || a.id - b.id);
  const temperature = f32(want.temperature);
  if (temperature === 0) return tokens[0]?.id ?? -1;
  if (want.topK > 0) tokens = tokens.slice(0, want.topK);
  if (want.typicalP < 1) tokens = typical(tokens, temperature, want.typicalP);
  if (want.topP < 1) tokens = nucleus(tokens, temperature, want.topP);
  if (want.minP > 0) {
    const end = weightsOf(tokens, temperature).findIndex((weight, i) => i > 0 && weight < want.minP);
    if (end > 0) tokens = tokens.slice(0, end);
  }
  return winner(tokens, temperature, want);
}

function change(
  logit: number,
  count: number,
  bias: number,
  { repeat, frequency, presence }: DrawWant["penalties"],
) {
  if (bias === Number.NEGATIVE_INFINITY) return bias;
  let changed = logit;
  if (count > 0) {
    changed = f32(changed > 0 ? changed / f32(repeat) : changed * f32(repeat));
    changed = f32(f32(changed - f32(count * f32(frequency))) - f32(presence));
  }
  changed = f32(changed + bias);
  if (Number.isNaN(changed)) return -largest;
  return Math.min(Math.max(changed, -largest), largest);
}

/** The arguments of exp, relative to the first. */
function distancesOf(tokens: readonly Token[], temperature: number): number[] {
  return tokens.map(({ logit }) => f32(f32(logit - (tokens[0]?.logit ?? 0)) / temperature));
}

function weightsOf(tokens: readonly Token[], temperature: number): number[] {
  return distancesOf(tokens, temperature).map(expF32);
}

const sumOf = (weights: readonly number[]) => weights.reduce((sum, weight) => sum + weight, 0);

function nucleus(tokens: Token[], temperature: number, p: number): Token[] {
  const weights = weightsOf(tokens, temperature);
  const bound = p * sumOf(weights);
  let sum = 0;
  const last = weights.findIndex((weight) => {
    sum += weight;
    return sum >= bound;
  });
  return last < 0 ? tokens : tokens.slice(0, last + 1);
}

function typical(tokens: Token[], temperature: number, p: number): Token[] {
  const distances = distancesOf(tokens, temperature);
  const weights = distances.map(expF32);
  const total = sumOf(weights);
  const expected = sumOf(weights.map((weight, i) => (weight > 0 ? weight * (distances[i] ?? 0) : 0))) / total;
  const below = distances.findIndex((distance) => !(distance >= expected));
  let end = below < 0 ? tokens.length : below;
  let start = end;
  for (let sum = 0; sum < p * total && (start > 0 || end < tokens.length); ) {
    const up = (distances[start - 1] ?? Number.POSITIVE_INFINITY) - expected;
    const down = expected - (distances[end] ?? Number.NEGATIVE_INFINITY);
    sum += weights[up <= down ? --start : end++] ?? 0;
  }
  return tokens.slice(start, end);
}

function winner(tokens: readonly Token[], temperature: number, want: DrawWant): number {
  let best = { id: -1, score: Number.NEGATIVE_INFINITY };
  for (const { id, logit } of tokens) {
    const score = f32(f32(logit / temperature) + gumbel(want, id));
    if (best.id < 0 || score > best.score || (score === best.score && id < best.id)) best = { id, score };
  }
  return best.id;
}
