/**
 * Learning rate and weight decay as pure functions of the optimiser's step: warm-up, a decay over the run to a floor, an abrupt drop at
 * the second stage; then, where a run is extended, the same anew for every extension. Source: the two-stage schedules of the BitNet
 * b1.58 training tips and of the 2B-4T report, §2.2.
 */
export interface Schedule {
  /** Optimiser steps of the run without extensions. */
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
  /** Stages that were added to the finished run, one after another. */
  extensions?: readonly Extension[];
}

/** A further stage with a course of its own. */
export interface Extension extends Course {
  steps: number;
  /** Steps that the rate's decay is spread over, where the stage ends before it; default: its steps. */
  decaySteps?: number;
  weightDecay: number;
}

/** How the rate goes over some steps. */
interface Course {
  warmupSteps: number;
  peakRate: number;
  decay: "linear" | "cosine" | "constant";
  floorShare: number;
}

export function totalSteps({ steps, extensions = [] }: Schedule): number {
  return extensions.reduce((sum, extension) => sum + extension.steps, steps);
}

/** 1 or 2; from 3 on the extensions. @param step From 1. */
export function stageOf(schedule: Schedule, step: number): number {
  const { steps, stage1Share, extensions = [] } = schedule;
  if (step <= Math.ceil(steps * stage1Share)) return 1;
  let stage = 2;
  for (let end = steps; step > end && stage - 2 < extensions.length; stage++)
    end += extensions[stage - 2]?.steps ?? 0;
  return stage;
}

/** Whether the run, or one that it extends, ends with this step. */
export function isEnd({ steps, extensions = [] }: Schedule, step: number): boolean {
  const ends = [steps];
  for (const extension of extensions) ends.push((ends.at(-1) ?? 0) + extension.steps);
  return ends.includes(step);
}

/** The extension that a step belongs to, and its step in there from 1. */
function extensionAt(schedule: Schedule, step: number): { extension: Extension; local: number } | null {
  const { extensions = [] } = schedule;
  const stage = stageOf(schedule, step);
  const extension = extensions[stage - 3];
  if (extension === undefined) return null;
  const before = totalSteps({ ...schedule, extensions: extensions.slice(0, stage - 3) });
  return { extension, local: step - before };
}

function courseAt({ warmupSteps, peakRate, decay, floorShare }: Course, steps: number, step: number): number {
  const done = Math.min(1, (step - 1) / Math.max(1, steps - 1));
  const warmth = Math.min(1, step / Math.max(1, warmupSteps));
  const fall = decay === "constant" ? 0 : decay === "linear" ? done : (1 - cosine(done)) / 2;
  return peakRate * warmth * (1 - (1 - floorShare) * fall);
}

export function rateAt(schedule: Schedule, step: number): number {
  const extended = extensionAt(schedule, step);
  if (extended !== null) {
    const { extension, local } = extended;
    return courseAt(extension, extension.decaySteps ?? extension.steps, local);
  }
  const stage = stageOf(schedule, step) === 1 ? 1 : schedule.stage2Rate;
  return courseAt(schedule, schedule.steps, step) * stage;
}

export function weightDecayAt(schedule: Schedule, step: number): number {
  const extended = extensionAt(schedule, step);
  if (extended !== null) return extended.extension.weightDecay;
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
