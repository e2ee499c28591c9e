/** Draws that the device makes: whether it can, and what it is told of them. All others follow from all logits of a row. */
import type { DrawWant, HeadRequest } from "@bitnet.ts/core";
import { type DrawPlan, mostLeaving } from "./draw-plan.ts";
import {
  type DrawSetting,
  drawWords,
  mostTopK,
  nCandidates,
  placeOfSetting,
  stateWords,
  touchedWords,
} from "./kernels/draw.ts";

/** Touched by the penalties and biases of one request. */
const mostApart = 1024;
/** Of penalties and biases: beyond it nothing is certain. */
const mostAdded = 1e9;
/** Below it everything may weigh nothing. */
const leastMinP = 1e-30;
/** Below it, 0 excepted, logits are divided into what no f32 holds. */
const leastTemperature = 2 ** -21;
/** More of them add up to sums that are not certain enough. */
export const mostStretches = 256;

/** A greedy choice as a draw, so that it can stand beside others in a chain. */
const greedy: Omit<DrawWant, "counts" | "biases"> = {
  ...{ kind: "draw", temperature: 0, topK: 0, typicalP: 1, topP: 1, minP: 0, seed: 0, choice: 0, index: 0 },
  ...{ nBest: 0, penalties: { repeat: 1, frequency: 0, presence: 0 } },
};

export interface Drawn {
  want: DrawWant;
  /** Ids that are touched, those that are forbidden left out, with their counts and biases. */
  touched: readonly (readonly [id: number, count: number, bias: number])[];
  /** Forbidden by their biases. */
  forbidden: readonly number[];
  /** Steps that may follow without asking. */
  leaving: Int32Array;
}

/** The draw that the device can make of a request; null: none. */
export function drawOf(request: HeadRequest, vocabSize: number): Drawn | null {
  const { want, apart = new Int32Array(), logSumExp } = request;
  if (want.kind !== "draw" || logSumExp || want.nBest > 0 || want.typicalP < 1) return null;
  if (apart.length > mostApart || (want.minP > 0 && want.minP < leastMinP)) return null;
  const temperature = Math.fround(want.temperature);
  if (temperature > 0 && temperature < leastTemperature) return null;
  const isRanked = temperature > 0 && want.topK > 0 && want.topK < vocabSize;
  if (isRanked && want.topK > mostTopK) return null;
  const all = [...apart].map((id, i) => [id, want.counts[i] ?? 0, want.biases[i] ?? 0] as const);
  const touched = all.filter(([, , bias]) => bias > Number.NEGATIVE_INFINITY);
  const forbidden = all.flatMap(([id, , bias]) => (bias > Number.NEGATIVE_INFINITY ? [] : [id]));
  const leaving = want.leaving?.slice(0, mostLeaving) ?? new Int32Array();
  const drawn = { want, touched, forbidden, leaving };
  return addedOf(drawn) <= mostAdded && factorOf(want) <= mostAdded ? drawn : null;
}

/** What asks for the highest logit, as a draw. */
export function greedyDraw({ apart }: HeadRequest): Drawn {
  const want = { ...greedy, counts: new Int32Array(), biases: new Float32Array() };
  return { want, touched: [], forbidden: [...(apart ?? [])], leaving: new Int32Array() };
}

/** Ids that a stretch ranks for it. */
export function rankedForDraw(drawn: Drawn, vocabSize: number): number {
  const topK = topKOf(drawn.want, vocabSize);
  return topK > 0 ? topK + 1 : nCandidates;
}

function topKOf({ temperature, topK }: DrawWant, vocabSize: number): number {
  return temperature === 0 || topK >= vocabSize ? 0 : topK;
}

/** By how much penalties and biases move a logit at most. */
function addedOf({ want: { penalties }, touched, leaving }: Omit<Drawn, "forbidden">): number {
  const count = touched.reduce((most, [, each]) => Math.max(most, each), 0) + leaving.length;
  const bias = touched.reduce((most, [, , each]) => Math.max(most, Math.abs(each)), 0);
  return count * Math.abs(penalties.frequency) + Math.abs(penalties.presence) + bias;
}

function factorOf({ penalties: { repeat } }: DrawWant): number {
  return Math.max(repeat, 1 / repeat);
}

/** The draws of a submission, each with the row it is for, or null where no token is drawn; in the order of the requests. */
export function writeDraws(
  queue: GPUQueue,
  plan: DrawPlan,
  {
    requests,
    drawn,
    ranked,
  }: { requests: readonly HeadRequest[]; drawn: readonly (Drawn | null)[]; ranked: number },
): void {
  const { vocabSize } = plan;
  const nRequests = requests.length;
  const settings = new Uint32Array(
    drawWords * plan.most + drawn.reduce((n, each) => n + (each?.leaving.length ?? 0), 0),
  );
  const floats = new Float32Array(settings.buffer);
  const nTouched = drawn.reduce((n, each) => n + (each === null ? 0 : each.touched.length + mostLeaving), 0);
  const state = new Uint32Array(stateWords * plan.most + touchedWords * nTouched);
  const biases = new Float32Array(state.buffer);
  let leavingAt = drawWords * plan.most;
  let touchedAt = stateWords * plan.most;
  for (let i = 0; i < nRequests; i++) {
    const each = drawn[i] ?? null;
    if (each === null) continue;
    const { want, touched, leaving } = each;
    const put = (name: DrawSetting, value: number) => {
      settings[drawWords * i + placeOfSetting(name)] = value;
    };
    const putFloat = (name: DrawSetting, value: number) => {
      floats[drawWords * i + placeOfSetting(name)] = value;
    };
    put("isDrawn", 1);
    put("row", requests[i]?.row ?? 0);
    put("topK", topKOf(want, vocabSize));
    put("hasTopP", want.topP < 1 ? 1 : 0);
    put("hasMinP", want.minP > 0 ? 1 : 0);
    const isNeutral = want.penalties.repeat === 1 && addedOf(each) === 0;
    put("isTouched", isNeutral ? 0 : 1);
    putFloat("temperature", want.temperature);
    putFloat("topP", want.topP);
    putFloat("minP", want.minP);
    put("seed", want.seed);
    put("choice", want.choice);
    put("index", want.index);
    putFloat("repeat", want.penalties.repeat);
    putFloat("frequency", want.penalties.frequency);
    putFloat("presence", want.penalties.presence);
    putFloat("added", addedOf(each));
    putFloat("factor", factorOf(want));
    put("touchedAt", touchedAt);
    put("leavingAt", leavingAt);
    put("nLeaving", leaving.length);
    put("ranked", ranked);
    settings.set(leaving, leavingAt);
    leavingAt += leaving.length;
    state.set([0, 0, want.index, touched.length], stateWords * i);
    for (const [j, [id, count, bias]] of touched.entries()) {
      state.set([id, count], touchedAt + touchedWords * j);
      biases[touchedAt + touchedWords * j + 2] = bias;
    }
    touchedAt += touchedWords * (touched.length + mostLeaving);
  }
  queue.writeBuffer(plan.draws, 0, settings);
  queue.writeBuffer(plan.state, 0, state);
}
