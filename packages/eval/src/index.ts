/** @bitnet.ts/eval: scores language models on standard benchmarks and tasks of one's own. */
export { endpointModel } from "./models/endpoint-model.ts";
export type {
  AnswerRequest,
  EvalModel,
  Likelihood,
  LikelihoodRequest,
  PerplexityMode,
} from "./models/eval-model.ts";
export { type LocalModelOptions, localModel } from "./models/local-model.ts";
export { type PerplexityReport, perplexityReport } from "./perplexity.ts";
export {
  type Counting,
  type Perplexity,
  perplexityOf,
  type Window,
  windowsOf,
} from "./perplexity-windows.ts";
export { harnessJson } from "./report/harness-json.ts";
export { barsSvg, markdownTable } from "./report/tables.ts";
export { type EvalOptions, runTask, type TaskResult } from "./run-eval.ts";
export { loadTask, type TaskOptions, taskNames } from "./tasks/load-task.ts";
export type { Task } from "./tasks/task.ts";
