/** The head of a plan: its buffers and dispatches, which run for the requests of a step rather than for its rows. */
import type { OpOf } from "@bitnet.ts/core";
import { usage } from "./device.ts";
import type { Dispatch } from "./dispatch.ts";
import { type DrawPlan, planDraws } from "./draw-plan.ts";
import { askedWords, headLogits, headStates } from "./kernels/head.ts";
import { bestWords, headBest, headNext, headPick, mostRanked, stretchOf } from "./kernels/head-best.ts";
import type { DeviceMemory } from "./memory.ts";
import type { PlannedWeights } from "./planned-weights.ts";

export interface HeadPlan {
  cols: number;
  vocabSize: number;
  /** Requests that are answered together. */
  most: number;
  /** Stretches of the vocabulary that are ranked each for itself. */
  nStretches: number;
  /** Words of a mask. */
  maskWords: number;
  asked: GPUBuffer;
  masks: GPUBuffer;
  states: GPUBuffer;
  logits: GPUBuffer;
  best: GPUBuffer;
  picks: GPUBuffer;
  picked: GPUBuffer;
  /** By what they are for. `logits` are the shards of the table. */
  dispatches: { states: Dispatch; logits: Dispatch[]; best: Dispatch; pick: Dispatch };
  /** Without the rows of a step, which it changes and which move when they need more room. */
  next: { kernel: ReturnType<typeof headNext>; nStretches: number };
  draw: DrawPlan;
}

/** Of logits that are there at once. */
const mostLogitBytes = 2 ** 25;
/** Single logits that are answered at once. */
export const mostPicks = 4096;

export function planHead(
  { weight, eps, table }: OpOf<"head">,
  x: GPUBuffer,
  { weights, memory, maxRows }: { weights: PlannedWeights; memory: DeviceMemory; maxRows: number },
): HeadPlan {
  const { cols, rows: vocabSize, type } = weights.dense(table);
  const { threads } = memory.device;
  const room = Math.min(mostLogitBytes, memory.mostBytes);
  const most = Math.min(maxRows, Math.max(1, Math.floor(room / (4 * vocabSize))));
  const nStretches = Math.ceil(vocabSize / stretchOf(threads));
  const maskWords = Math.ceil(vocabSize / 32);
  const both = usage.copyDst | usage.copySrc;
  const asked = memory.storage("asked", 4 * askedWords * most);
  const masks = memory.storage("masks", 4 * maskWords * most);
  const states = memory.storage("states", 4 * cols * most, both);
  const logits = memory.storage("logits", 4 * vocabSize * most, both);
  const best = memory.storage("best", 4 * nStretches * bestWords(mostRanked) * most, both);
  const picks = memory.storage("picks", 8 * mostPicks);
  const picked = memory.storage("picked", 4 * mostPicks, both);
  const one = { least: 1, tile: 1 };
  const shards = weights.table(table).map(({ buffer, firstRow, shardRows }): Dispatch => {
    const x = Math.ceil(shardRows / 8);
    return {
      variants: [
        { ...one, kernel: headLogits(type, 1, cols), x },
        { least: 2, tile: 4, kernel: headLogits(type, 4, cols), x },
      ],
      params: { cols, firstRow, shardRows, vocabSize },
      operands: [buffer, states, logits],
    };
  });
  const dispatches = {
    states: {
      variants: [{ ...one, kernel: headStates(threads), x: 1 }],
      params: { cols, eps },
      operands: [x, weights.vector(weight), asked, states],
    },
    logits: shards,
    best: {
      variants: [{ ...one, kernel: headBest(threads), x: nStretches }],
      params: { vocabSize, maskWords },
      operands: [logits, asked, masks, best],
    },
    pick: {
      variants: [{ least: 1, tile: Number.POSITIVE_INFINITY, kernel: headPick, x: mostPicks / 64 }],
      params: { vocabSize },
      operands: [logits, picks, picked],
    },
  };
  return {
    ...{ cols, vocabSize, most, nStretches, maskWords, asked, masks, states, logits, best, picks, picked },
    dispatches,
    next: { kernel: headNext(threads), nStretches },
    draw: planDraws({ logits, asked, masks, best }, { vocabSize, maskWords, nStretches, most }, memory),
  };
}
