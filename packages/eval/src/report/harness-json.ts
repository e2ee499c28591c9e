/** Results in the form of lm-evaluation-harness' results.json. */
import type { EvalModel } from "../models/eval-model.ts";
import type { TaskResult } from "../run-eval.ts";

export function harnessJson(model: EvalModel, results: readonly TaskResult[], date: Date): unknown {
  const byTask = <T>(value: (result: TaskResult) => T) =>
    Object.fromEntries(results.map((result) => [result.task.name, value(result)]));
  return {
    results: byTask(({ task, scores, skipped }) => ({
      alias: task.name,
      ...(skipped === null ? {} : { skipped }),
      ...Object.fromEntries(
        Object.entries(scores).flatMap(([metric, { value, standardError }]) => [
          [`${metric},none`, value],
          [`${metric}_stderr,none`, standardError ?? "N/A"],
        ]),
      ),
      chance: task.chance,
    })),
    configs: byTask(({ task, labels }) => ({
      task: task.name,
      output_type: task.kind,
      metadata: { ...task.settings, labels },
    })),
    versions: byTask(() => 1),
    "n-shot": byTask(({ task }) => task.settings.shots ?? 0),
    "n-samples": byTask(({ nAll, nItems }) => ({ original: nAll, effective: nItems })),
    higher_is_better: byTask(({ scores }) =>
      Object.fromEntries(Object.keys(scores).map((metric) => [metric, true])),
    ),
    config: { model: "bitnet.ts", model_args: { name: model.name, ...model.settings } },
    date: date.getTime() / 1000,
    model_name: model.name,
  };
}
