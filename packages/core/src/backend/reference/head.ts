/**
 * Answers head requests from the full logits of one row: ranking, candidates, perturbed winner, log-sum-exp, as
 * docs/numerics.md decides them.
 */
import { expF32, logF32 } from "../../base/elementary.ts";
import { BitNetError } from "../../base/errors.ts";
import { gumbel, type NoisePoint } from "../../base/noise.ts";
import type { HeadRequest, HeadResult, HeadWant, HeadWantKind } from "../step.ts";
import { draw } from "./draw.ts";
import { foldStripes } from "./rows.ts";

/** Every kind there is. */
export const headWants: readonly HeadWantKind[] = ["top", "above", "winner", "all", "mass", "draw", "state"];

const f32 = Math.fround;
/** The fewest and the most candidates that a request for a share of the mass is answered with, where there are so many. */
const leastListed = 64;
const mostListed = 1024;
/** More than the rounding of the weights and of their sum. */
const massSlack = 1e-9;

/** A request for the state itself. */
export function answerState(row: number, state: Float32Array): HeadResult {
  return { row, ids: new Int32Array(), logits: new Float32Array(), apartLogits: new Float32Array(), state };
}

/** `logits` [vocab] are finite. */
export function answerHead(request: HeadRequest, logits: Float32Array): HeadResult {
  const apart = request.apart ?? new Int32Array();
  const { want } = request;
  const result: HeadResult = {
    row: request.row,
    ...answerTo(want, request, logits),
    apartLogits: pick(logits, apart),
  };
  if (request.logSumExp) result.logSumExp = logSumExp(logits);
  return result;
}

function answerTo(want: HeadWant, request: HeadRequest, logits: Float32Array) {
  if (want.kind === "mass") return mass(request, logits, want);
  if (want.kind === "state") throw new BitNetError("INTERNAL", "head: a state is not answered from logits");
  if (want.kind !== "draw") return candidates(request, want, logits);
  const best = [...logits.keys()].sort(rankedBy(logits)).slice(0, want.nBest);
  const winner = draw(want, request, logits);
  const list = listed([winner, ...best], logits);
  if (winner < 0) list.logits[0] = 0;
  return list;
}

/** log Σ exp(logit) with the stripes running over token ids. */
export function logSumExp(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const logit of logits) max = Math.max(max, logit);
  const chains = new Float32Array(16);
  for (let id = 0; id < logits.length; id++)
    chains[id & 15] = (chains[id & 15] as number) + expF32(f32((logits[id] as number) - max));
  return f32(max + logF32(foldStripes(chains)));
}

interface Listed {
  ids: Int32Array;
  logits: Float32Array;
}

function candidates(
  request: HeadRequest,
  want: Exclude<HeadWant, { kind: "mass" | "draw" | "state" }>,
  logits: Float32Array,
): Listed {
  if (want.kind === "all") return { ids: new Int32Array(), logits: logits.slice() };
  const ids = rankable(request, logits.length);
  const byRank = rankedBy(logits);
  switch (want.kind) {
    case "top":
      return listed(ids.sort(byRank).slice(0, want.k), logits);
    case "above": {
      let highest = Number.NEGATIVE_INFINITY;
      for (const id of ids) highest = Math.max(highest, logits[id] as number);
      const bound = f32(highest - f32(want.margin));
      return listed(ids.filter((id) => (logits[id] as number) >= bound).sort(byRank), logits);
    }
    case "winner":
      return listed(winner(ids, logits, want.temperature, want), logits);
  }
}

function rankedBy(logits: Float32Array): (a: number, b: number) => number {
  return (a, b) => (logits[b] as number) - (logits[a] as number) || a - b;
}

/** Weights in f64; engines round `Math.exp` differently, which the bracket covers. */
function mass(
  request: HeadRequest,
  logits: Float32Array,
  { temperature, share }: Extract<HeadWant, { kind: "mass" }>,
): Listed & Pick<HeadResult, "rest"> {
  const byRank = rankedBy(logits);
  const ids = rankable(request, logits.length).sort(byRank);
  const both = [...ids, ...(request.apart ?? [])].sort(byRank);
  const weightsOf = (list: readonly number[]) =>
    list.map((id) =>
      Math.exp(((logits[id] as number) - (logits[list[0] ?? 0] as number)) / f32(temperature)),
    );
  const weights = weightsOf(both);
  const total = sumOf(weights);
  let end = 0;
  for (let sum = 0; end < both.length && sum < share * total; end++) sum += weights[end] ?? 0;
  const isListed = new Set(both.slice(0, end));
  const nCarrying = ids.filter((id) => isListed.has(id)).length;
  const n = Math.min(Math.max(nCarrying, leastListed), mostListed);
  const rest = sumOf(weightsOf(ids).slice(n));
  return {
    ...listed(ids.slice(0, n), logits),
    rest: { low: rest * (1 - massSlack), high: rest * (1 + massSlack) },
  };
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

/** Ids in ascending order that take part in the ranking. */
function rankable({ apart, allow }: HeadRequest, vocabSize: number): number[] {
  const leftOut = new Set(apart);
  const ids: number[] = [];
  for (let id = 0; id < vocabSize; id++) {
    if (allow && (((allow[id >> 5] ?? 0) >>> (id & 31)) & 1) === 0) continue;
    if (!leftOut.has(id)) ids.push(id);
  }
  return ids;
}

function winner(ids: number[], logits: Float32Array, temperature: number, noise: NoisePoint): number[] {
  let best = -1;
  let highest = Number.NEGATIVE_INFINITY;
  for (const id of ids) {
    const value = f32(f32((logits[id] as number) / f32(temperature)) + gumbel(noise, id));
    if (best < 0 || value > highest) {
      best = id;
      highest = value;
    }
  }
  return best < 0 ? [] : [best];
}

function listed(ids: number[], logits: Float32Array): Listed {
  return { ids: Int32Array.from(ids), logits: pick(logits, ids) };
}

function pick(logits: Float32Array, ids: ArrayLike<number>): Float32Array {
  return Float32Array.from(ids, (id) => logits[id] as number);
}
