/**
 * The whole sampler chain on logits that are here: of a whole vocabulary, or of its candidates. Samplers draw with it, and backends that answer
 * `draw` where their devices lack something.
 */
import { changedLogits } from "../backend/reference/draw.ts";
import { logSumExp } from "../backend/reference/head.ts";
import type { DrawWant, HeadRequest, HeadResult } from "../backend/step.ts";
import type { NoisePoint } from "../base/noise.ts";
import { Draw, minP, rankAll, topP, topPOfAll, typicalP, type Window, xtc } from "./filters.ts";
import { type Ranking, topOfAll } from "./ranking.ts";

export interface DrawSettings {
  /** f32, in units of the logits; 0: the highest logit, without filters. */
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  typicalP: number;
  /** Null: XTC does not act. */
  xtcThreshold: number | null;
}

/** @param logits [vocab] as changed by penalties and biases; −Infinity for what is forbidden. @returns −1 when everything is. */
export function drawFromAll(logits: Float32Array, settings: DrawSettings, noise: NoisePoint): number {
  const { temperature, topK, topP: p, minP: min, typicalP: typical, xtcThreshold } = settings;
  if (temperature === 0) return highestOf(logits);
  if (topK > 0 && topK < logits.length)
    return drawFromRanking(beginningOf(rankAll(logits), topK), settings, noise);
  if (typical === 1 && p === 1 && min === 0 && xtcThreshold === null) {
    const draw = new Draw(temperature, noise);
    for (const [id, logit] of logits.entries()) if (logit > Number.NEGATIVE_INFINITY) draw.offer(id, logit);
    return draw.id;
  }
  if (typical === 1 && p < 1)
    return drawFromRanking(topPOfAll(logits, temperature, p), { ...settings, topP: 1 }, noise);
  return drawFromRanking(rankAll(logits), settings, noise);
}

/** What the filters leave of a ranking that top-k has cut. @returns −1 when it is empty. */
export function drawFromRanking(ranking: Ranking, settings: DrawSettings, noise: NoisePoint): number {
  const { temperature, topP: p, minP: min, typicalP: typical, xtcThreshold } = settings;
  let window: Window = { start: 0, end: ranking.ids.length };
  if (window.end === 0) return -1;
  if (typical < 1) window = typicalP(ranking, window, temperature, typical);
  if (p < 1) window = topP(ranking, window, temperature, p);
  if (min > 0) window = minP(ranking, window, temperature, min);
  if (xtcThreshold !== null) window = xtc(ranking, window, xtcThreshold);
  const draw = new Draw(temperature, noise);
  for (let i = window.start; i < window.end; i++) draw.offer(ranking.ids[i] ?? 0, ranking.logits[i] ?? 0);
  return draw.id;
}

export function beginningOf({ ids, logits }: Ranking, n: number): Ranking {
  return { ids: ids.subarray(0, n), logits: logits.subarray(0, n) };
}

/** Answers a request for a draw as the reference does, without ranking more than it takes. `logits` [vocab] are finite. */
export function answerDraw(request: HeadRequest, want: DrawWant, logits: Float32Array): HeadResult {
  const { row, apart = new Int32Array() } = request;
  const settings = { ...want, temperature: Math.fround(want.temperature), xtcThreshold: null };
  const id = drawFromAll(changedLogits(want, request, logits), settings, want);
  const best = topOfAll(logits, want.nBest);
  return {
    row,
    ids: Int32Array.of(id, ...best.ids),
    logits: Float32Array.of(id < 0 ? 0 : (logits[id] ?? 0), ...best.logits),
    apartLogits: Float32Array.from(apart, (each) => logits[each] ?? 0),
    ...(request.logSumExp ? { logSumExp: logSumExp(logits) } : {}),
  };
}

/** Of equal ones the lowest id. */
function highestOf(logits: Float32Array): number {
  let best = -1;
  let highest = Number.NEGATIVE_INFINITY;
  for (const [id, logit] of logits.entries()) {
    if (logit > highest) {
      best = id;
      highest = logit;
    }
  }
  return best;
}
