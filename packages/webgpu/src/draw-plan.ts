/** Of the head of a plan what draws tokens: its buffers and dispatches. */
import { usage } from "./device.ts";
import type { Dispatch } from "./dispatch.ts";
import {
  drawNext,
  drawScores,
  drawWeights,
  drawWords,
  stateWords,
  touchedWords,
  weighedWords,
} from "./kernels/draw.ts";
import type { DeviceMemory } from "./memory.ts";

export interface DrawPlan {
  vocabSize: number;
  /** Requests that are answered together. */
  most: number;
  draws: GPUBuffer;
  state: GPUBuffer;
  dispatches: { scores: Dispatch; weights: Dispatch };
  /** Without the rows of a step, which it changes and which move when they need more room. */
  next: {
    kernel: ReturnType<typeof drawNext>;
    buffers: readonly GPUBuffer[];
    params: Uint32Array<ArrayBuffer>;
  };
}

/** Tokens that come with one readback: stop rules are looked at behind them. */
export const mostChained = 8;
/** Tokens that may leave the window of a request's penalties before it is asked again. */
export const mostLeaving = mostChained - 1;
/** Touched tokens of all requests that are answered together. */
export const mostTouched = 4096;

export function planDraws(
  { logits, asked, masks, best }: Record<"logits" | "asked" | "masks" | "best", GPUBuffer>,
  sizes: { vocabSize: number; maskWords: number; nStretches: number; most: number },
  memory: DeviceMemory,
): DrawPlan {
  const { vocabSize, maskWords, nStretches, most } = sizes;
  const { threads } = memory.device;
  const both = usage.copyDst | usage.copySrc;
  const draws = memory.storage("draws", 4 * (drawWords + mostLeaving) * most);
  const state = memory.storage(
    "state of draws",
    4 * (stateWords * most + touchedWords * (mostTouched + mostLeaving * most)),
    both,
  );
  const changed = memory.storage("changed logits", 4 * vocabSize * most);
  const peaks = memory.storage("peaks", 8 * nStretches * most);
  const weighed = memory.storage("weights", 4 * weighedWords * nStretches * most);
  const params = { vocabSize, maskWords, nStretches };
  const one = { least: 1, tile: 1, x: nStretches };
  return {
    ...{ vocabSize, most, draws, state },
    dispatches: {
      scores: {
        variants: [{ ...one, kernel: drawScores(threads) }],
        params,
        operands: [logits, asked, masks, draws, state, changed, best, peaks],
      },
      weights: {
        variants: [{ ...one, kernel: drawWeights(threads) }],
        params,
        operands: [changed, asked, masks, draws, peaks, best, weighed],
      },
    },
    next: {
      kernel: drawNext(threads),
      buffers: [best, draws, state, peaks, weighed, changed, logits],
      params: Uint32Array.of(vocabSize, nStretches),
    },
  };
}
