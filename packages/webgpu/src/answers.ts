/** Answers head requests from the logits of a row as the device gave them: ranking with the lower id first among equals, and what stands apart. */
import {
  answerDraw,
  BitNetError,
  type HeadRequest,
  type HeadResult,
  type HeadWantKind,
  logSumExp,
} from "@bitnet.ts/core";

/** The kinds of requests that are answered; samplers do the others from all logits. */
export const answeredWants: readonly HeadWantKind[] = ["top", "all", "draw", "state"];

/** Up to so many candidates are kept in order while the logits are gone through; more are sorted. */
const mostKept = 64;

/** @param logits [vocab] finite; kept by an answer of all. */
export function answer(request: HeadRequest, logits: Float32Array): HeadResult {
  const { row, want, apart = new Int32Array() } = request;
  if (want.kind === "draw") return answerDraw(request, want, logits);
  if (want.kind !== "top" && want.kind !== "all")
    throw new BitNetError("INVALID_ARGUMENT", `webgpu: head requests of kind "${want.kind}" are not offered`);
  const ids = want.kind === "top" ? highest(request, logits, want.k) : new Int32Array();
  const result: HeadResult = {
    row,
    ids,
    logits: want.kind === "all" ? logits : pick(logits, ids),
    apartLogits: pick(logits, apart),
  };
  if (request.logSumExp) result.logSumExp = logSumExp(logits);
  return result;
}

function highest({ apart, allow }: HeadRequest, logits: Float32Array, k: number): Int32Array {
  const leftOut = new Set(apart);
  const isRanked = (id: number) =>
    !(allow && (((allow[id >> 5] ?? 0) >>> (id & 31)) & 1) === 0) && !(leftOut.size > 0 && leftOut.has(id));
  if (k > mostKept) {
    const all = [...logits.keys()].filter(isRanked);
    all.sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
    return Int32Array.from(all.slice(0, k));
  }
  const ids: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] ?? 0;
    // In ascending order, an equal one ranks behind.
    if ((ids.length === k && logit <= least) || !isRanked(id)) continue;
    let at = ids.length;
    while (at > 0 && (logits[ids[at - 1] ?? 0] ?? 0) < logit) at--;
    ids.splice(at, 0, id);
    if (ids.length > k) ids.pop();
    least = logits[ids.at(-1) ?? 0] ?? 0;
  }
  return Int32Array.from(ids);
}

function pick(logits: Float32Array, ids: ArrayLike<number>): Float32Array {
  return Float32Array.from(ids, (id) => logits[id] ?? 0);
}
