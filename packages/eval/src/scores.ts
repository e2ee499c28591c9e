/** From likelihoods and judgements to scores with their standard errors. */
import type { Likelihood } from "./models/eval-model.ts";
import type { ChoiceItem } from "./tasks/task.ts";

export interface Score {
  /** Share of right answers. */
  readonly value: number;
  /** √(p(1 − p)/(n − 1)); null for fewer than two items. */
  readonly standardError: number | null;
}

/** Whether the choice of each metric is the right one. Ties go to the first choice. */
export function judgeChoices(
  item: ChoiceItem,
  likelihoods: readonly Likelihood[],
): Record<"acc" | "acc_norm" | "acc_bytes", boolean> {
  const sums = likelihoods.map(({ sum }) => sum);
  const perUnit = (unitsOf: (choice: string) => number) =>
    sums.map((sum, i) => sum / Math.max(1, unitsOf(item.choices[i] ?? "")));
  return {
    acc: firstHighest(sums) === item.gold,
    acc_norm: firstHighest(perUnit((choice) => [...choice].length)) === item.gold,
    acc_bytes: firstHighest(perUnit((choice) => new TextEncoder().encode(choice).length)) === item.gold,
  };
}

function firstHighest(values: readonly number[]): number {
  let best = 0;
  values.forEach((value, i) => {
    if (value > (values[best] ?? Number.NEGATIVE_INFINITY)) best = i;
  });
  return best;
}

export function scoreOf(judgements: readonly boolean[]): Score {
  const n = judgements.length;
  const value = judgements.filter(Boolean).length / Math.max(1, n);
  return { value, standardError: n < 2 ? null : Math.sqrt((value * (1 - value)) / (n - 1)) };
}
