/**
 * Learning rate and weight decay as pure functions of the optimiser's step: warm-up, a decay over the whole run to a floor, an abrupt
 * drop at the second stage. Source: the two-stage schedules of the BitNet b1.58 training tips and of the 2B-4T report, §2.2.
 */
export interface Schedule {
  /** Optimiser steps of the whole run. */
  steps: number;
  warmupSteps: number;
  peakRate: number;
  decay: "linear" | "cosine" | "constant";
  /** Share of the peak at the last step. */
  floorShare: number;
  /** Factor of the rate in the second stage. */
  stage2Rate: number;
  /** Weight decay in the first stage; the second has none. */
  weightDecay: number;
  /** Share of the steps in the first stage. */
  stage1Share: number;
}

/** 1 or 2. @param step From 1. */
export function stageOf({ steps, stage1Share }: Schedule, step: number): 1 | 2 {
  return step <= Math.ceil(steps * stage1Share) ? 1 : 2;
}

export function rateAt(schedule: Schedule, step: number): number {
  const { steps, warmupSteps, peakRate, decay, floorShare, stage2Rate } = schedule;
  const done = Math.min(1, (step - 1) / Math.max(1, steps - 1));
  const warmth = Math.min(1, step / Math.max(1, warmupSteps));
  const fall = decay === "constant" ? 0 : decay === "linear" ? done : (1 - cosine(done)) / 2;
  const stage = stageOf(schedule, step) === 1 ? 1 : stage2Rate;
  return peakRate * warmth * (1 - (1 - floorShare) * fall) * stage;
}

export function weightDecayAt(schedule: Schedule, step: number): number {
  return stageOf(schedule, step) === 1 ? schedule.weightDecay : 0;
}

/** cos(π x) from multiplications, so that no engine's own cosine has a say in the weights. */
function cosine(x: number): number {
  const angle = Math.PI * (x <= 0.5 ? x : 1 - x);
  let term = 1;
  let sum = 1;
  for (let k = 1; k <= 12; k++) {
    term = (-term * angle * angle) / ((2 * k - 1) * (2 * k));
    sum += term;
  }
  return x <= 0.5 ? sum : -sum;
}
