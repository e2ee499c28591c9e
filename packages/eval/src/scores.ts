/** From likelihoods and judgements to scores with their standard errors. */
import type { Likelihood } from "./models/eval-model.ts";
import type { ChoiceItem } from "./tasks/task.ts";

export interface Score {
  /** Share of right answers. */
  readonly value: number;
  /** √(p(1 − p)/(n − 1)), and the same of shares: √((mean of squares − mean²)/(n − 1)); null for fewer than two items. */
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

/** @param judgements Right or wrong, or a share in between. */
export function scoreOf(judgements: readonly (boolean | number)[]): Score {
  const n = judgements.length;
  const mean = (power: number) =>
    judgements.reduce<number>((sum, judged) => sum + Number(judged) ** power, 0) / Math.max(1, n);
  const value = mean(1);
  return { value, standardError: n < 2 ? null : Math.sqrt(Math.max(0, mean(2) - value ** 2) / (n - 1)) };
}

/**
 * Chance that k of n draws, `nRight` of them right, hold a right one: 1 − C(n − nRight, k) / C(n, k), as a product without large numbers.
 * Source: Chen et al., Evaluating Large Language Models Trained on Code (2021), equation 1.
 */
export function passAtK(n: number, nRight: number, k: number): number {
  if (n - nRight < k) return 1;
  let missed = 1;
  for (let i = n - nRight + 1; i <= n; i++) missed *= (i - k) / i;
  return 1 - missed;
}
