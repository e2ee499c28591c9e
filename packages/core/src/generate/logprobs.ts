/**
 * Log-probabilities as the model gives them: log-softmax of the logits before penalties, biases and temperature.
 */
import type { HeadResult } from "../backend/step.ts";
import { BitNetError } from "../base/errors.ts";
import { type Ranking, RankingBuilder, topOfAll } from "./ranking.ts";

export type TopLogprob = readonly [id: number, logprob: number];

export interface TokenLogprob {
  id: number;
  logprob: number;
  /** The best tokens, best first, as many as were asked for. */
  top: readonly TopLogprob[];
}

/**
 * Reads the log-probability of `id` and of the `nTop` best tokens from a head's answer.
 * @param apart The ids that the request asked for apart. Candidates and apart together hold `id` and the best `nTop`.
 */
export function readLogprob(result: HeadResult, apart: Int32Array, id: number, nTop: number): TokenLogprob {
  const { logSumExp } = result;
  const isAll = result.ids.length === 0 && result.logits.length > 0;
  const ranking = isAll ? topOfAll(result.logits, nTop) : merged(result, apart);
  const logit = isAll ? result.logits[id] : ranking.logits[ranking.ids.indexOf(id)];
  if (logSumExp === undefined || logit === undefined)
    throw new BitNetError("INTERNAL", `log-probability of token ${id}: the head did not answer it`);
  const logprobOf = (x: number) => Math.fround(x - logSumExp);
  const top: TopLogprob[] = [];
  for (let i = 0; i < Math.min(nTop, ranking.ids.length); i++)
    top.push([ranking.ids[i] ?? 0, logprobOf(ranking.logits[i] ?? 0)]);
  return { id, logprob: logprobOf(logit), top };
}

/** The same from the answer to a request for a draw, whose token has been chosen. */
export function readDrawnLogprob({ row, ids, logits, logSumExp }: HeadResult, nTop: number): TokenLogprob {
  const id = ids[0] ?? -1;
  const own: HeadResult = {
    row,
    ids: ids.subarray(0, 1),
    logits: logits.subarray(0, 1),
    apartLogits: new Float32Array(),
  };
  const best: HeadResult = { ...own, ids: ids.subarray(1), logits: logits.subarray(1) };
  const sum = logSumExp === undefined ? {} : { logSumExp };
  const { logprob } = readLogprob({ ...own, ...sum }, new Int32Array(), id, 0);
  if (nTop === 0) return { id, logprob, top: [] };
  const { top } = readLogprob({ ...best, ...sum }, new Int32Array(), best.ids[0] ?? -1, nTop);
  return { id, logprob, top };
}

function merged(result: HeadResult, apart: Int32Array): Ranking {
  const builder = new RankingBuilder(result.ids.length + apart.length);
  result.ids.forEach((id, i) => {
    builder.add(id, result.logits[i] ?? 0);
  });
  apart.forEach((id, i) => {
    builder.add(id, result.apartLogits[i] ?? 0);
  });
  return builder.finish();
}
