/** Models that know every answer of a task, or none. */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AnswerRequest, EvalModel, LikelihoodRequest } from "./models/eval-model.ts";
import type { Task } from "./tasks/task.ts";

export const fixtures = join(dirname(fileURLToPath(import.meta.url)), "..", "fixtures");

const keyOf = ({ context, continuation }: LikelihoodRequest) => `${context}\u0000${continuation}`;
const promptOf = ({ prompt }: AnswerRequest) => JSON.stringify(prompt);

/** @param answers What to write for each prompt, in the order of the items. */
export function plantedModel(task: Task, isRight: boolean, answers: readonly string[] = []): EvalModel {
  const gold = new Set<string>();
  const texts = new Map<string, string>();
  task.items.forEach((item, i) => {
    if ("requests" in item) gold.add(keyOf(item.requests[item.gold] as LikelihoodRequest));
    else texts.set(promptOf(item.request), answers[i] ?? "");
  });
  return {
    name: isRight ? "knows" : "is wrong",
    settings: {},
    likelihoods: async (requests) =>
      requests.map((request) => ({ sum: gold.has(keyOf(request)) === isRight ? -1 : -10_000, nTokens: 1 })),
    answer: async (request) => (isRight ? (texts.get(promptOf(request)) ?? "") : "I would not know."),
    perplexity: null,
  };
}
