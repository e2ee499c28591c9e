/**
 * Top-p, min-p and the draw on a part of the vocabulary: the best tokens, exactly, and a bracket of what all others weigh. Gives the token
 * that the same filters on all logits would give, or nothing when the bracket leaves it open. Knows nothing of heads.
 */
import { type Draw, minP, sumOf, weightsOf } from "./filters.ts";
import type { Ranking } from "./ranking.ts";

export interface NucleusSettings {
  temperature: number;
  topP: number;
  minP: number;
}

/** A beginning of the ranking, and what comes after it. */
export interface PartialRanking {
  /** The best tokens, then tokens whose place among those that are not here is not known. */
  ranking: Ranking;
  /** Tokens of `ranking` that no other token stands before. */
  nKnown: number;
  /** What the tokens that are not here weigh together, in real numbers relative to a token of logit `reference`. */
  rest: { low: number; high: number };
  reference: number;
}

/**
 * A weight's argument is rounded twice on the way to −87.3, below which it is 0: 1.05·10⁻⁵ from the real one. expF32 adds 1.2·10⁻⁷.
 */
const weightSlack = 2e-5;
/** More than the rounding of sums in f64, of Math.exp, and of everything that is 0 as a weight only. */
const sumSlack = 1e-9;

/** Offers to `draw` what top-p and min-p keep. @returns false when it is open which token that makes the winner. */
export function drawNucleus(part: PartialRanking, settings: NucleusSettings, draw: Draw): boolean {
  const { ranking, nKnown } = part;
  const { temperature, topP, minP: min } = settings;
  if (topP === 1) return drawMinP(part, settings, draw);
  const cut = topPRange(part, settings);
  if (cut === null) return false;
  const end = min > 0 ? minP(ranking, { start: 0, end: nKnown }, temperature, min).end : nKnown;
  let i = 0;
  const offerUpTo = (bound: number) => {
    for (; i < Math.min(bound, end); i++) draw.offer(ranking.ids[i] ?? 0, ranking.logits[i] ?? 0);
  };
  offerUpTo(cut.least);
  const winner = draw.id;
  // When more tokens change nothing, no number of them in between does.
  offerUpTo(cut.most);
  return draw.id === winner;
}

/** Where min-p cuts depends on the best token alone; open only when it does not cut within what is known. */
function drawMinP(
  { ranking, nKnown, rest }: PartialRanking,
  { temperature, minP: min }: NucleusSettings,
  draw: Draw,
): boolean {
  const { end } = minP(ranking, { start: 0, end: nKnown }, temperature, min);
  // A rest that weighs nothing is below any bound.
  if (end === nKnown && (nKnown < ranking.ids.length || rest.high > 0)) return false;
  for (let i = 0; i < end; i++) draw.offer(ranking.ids[i] ?? 0, ranking.logits[i] ?? 0);
  return true;
}

/** The fewest and the most tokens that top-p may keep; null when those are more than are known. */
function topPRange(
  { ranking, nKnown, rest, reference }: PartialRanking,
  { temperature, topP: p }: NucleusSettings,
): { least: number; most: number } | null {
  const all = weightsOf(ranking, { start: 0, end: ranking.ids.length }, temperature);
  const best = ranking.logits[0] ?? 0;
  // At most 1: the reference is a token of the ranking.
  const scale = Math.exp((reference - best) / temperature);
  const here = sumOf(all);
  const low = p * (here + rest.low * scale * (1 - weightSlack)) * (1 - sumSlack);
  const high = p * (here + rest.high * scale * (1 + weightSlack)) * (1 + sumSlack);
  let least = 0;
  let sum = 0;
  for (let i = 0; i < nKnown; i++) {
    sum += all[i] ?? 0;
    if (least === 0 && sum >= low) least = i + 1;
    if (sum >= high) return { least, most: i + 1 };
  }
  return null;
}
