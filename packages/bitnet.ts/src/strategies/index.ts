/** The ways to run a model on this machine: examined, measured, compared. Needs Node. */
export {
  chooseStrategy,
  examineStrategies,
  type StrategiesReport,
  strategies,
  strategyPrompts,
} from "./examine.ts";
export { type Recommendation, recommend, type UseCase } from "./recommend.ts";
export type {
  Deployment,
  EnvironmentCheck,
  GenerateRequest,
  Strategy,
  StrategyOptions,
  StrategyReport,
  StrategyText,
  StrategyVerdict,
} from "./strategy.ts";
