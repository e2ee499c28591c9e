/**
 * What the rendering of a chat template may use: evaluation steps, characters that operations read and write, and the
 * length of any one value. Counters, not clocks, so that a template fails or passes the same way everywhere.
 */
import { type Measure, type TemplateValue, templateError } from "./template-values.ts";

/** What one rendering may still use. */
export interface Budget {
  /** Evaluations of nodes and turns of loops. */
  steps: number;
  /** Characters read or written by operations. */
  characters: number;
  readonly measure: Measure;
}

/** @param limits For the whole rendering; `value` is the longest a single value may get. */
export function createBudget(limits: { steps: number; characters: number; value: number }): Budget {
  const measure = { sizes: new WeakMap<TemplateValue, number>(), limit: limits.value, isMutable: false };
  return { steps: limits.steps, characters: limits.characters, measure };
}

export function spendSteps(budget: Budget, count: number): void {
  budget.steps -= count;
  if (budget.steps < 0) throw templateError("used up its evaluation steps");
}

export function spendCharacters(budget: Budget, count: number): void {
  budget.characters -= count;
  if (!(budget.characters >= 0)) throw templateError("used up its budget of characters");
}
