/** AdamW over an executor's parameters, with the gradient's norm clipped. Norms' weights do not decay; matrices do. */
import { BitNetError } from "@bitnet.ts/core";
import type { Executor } from "../graph/executor.ts";
import type { Floats } from "../kernels/kernels.ts";

export interface OptimizerSettings {
  beta1: number;
  beta2: number;
  eps: number;
  /** The longest gradient that is taken as it is. */
  clipNorm: number;
}

export const defaultOptimizer: OptimizerSettings = { beta1: 0.9, beta2: 0.95, eps: 1e-8, clipNorm: 1 };

export class Optimizer {
  /** First and second moments, one of each per parameter. */
  readonly m: readonly Floats[];
  readonly v: readonly Floats[];
  readonly #executor: Executor;
  readonly #settings: OptimizerSettings;

  constructor(executor: Executor, settings: OptimizerSettings) {
    this.#executor = executor;
    this.#settings = settings;
    const moments = () =>
      executor.parameters.map((weights, id) =>
        executor.kernels.allocate(executor.graph.parameters[id]?.isFrozen ? 0 : weights.length),
      );
    this.m = moments();
    this.v = moments();
  }

  /**
   * One step along the gathered gradients; forms the weights anew.
   * @param step Counts from 1.
   * @returns The gradient's norm before clipping.
   * @throws BitNetError NUMERIC_FAILURE when it is NaN or infinite; the parameters are as they were.
   */
  step(step: number, rate: number, weightDecay: number): number {
    const { kernels, parameters, gradients, graph } = this.#executor;
    const { clipNorm, ...constants } = this.#settings;
    const isTrained = (id: number) => graph.parameters[id]?.isFrozen === false;
    const norm = Math.sqrt(
      gradients.reduce((sum, gradient, id) => sum + (isTrained(id) ? kernels.sumSquares(gradient) : 0), 0),
    );
    if (!(norm < Number.POSITIVE_INFINITY))
      throw new BitNetError("NUMERIC_FAILURE", `training: the gradient of step ${step} is NaN or infinite`);
    const gradientFactor = norm > clipNorm ? clipNorm / norm : 1;
    parameters.forEach((weights, id) => {
      if (!isTrained(id)) return;
      kernels.adamw({
        weights,
        gradient: gradients[id] as Floats,
        m: this.m[id] as Floats,
        v: this.v[id] as Floats,
        rate,
        ...{ beta1: constants.beta1, beta2: constants.beta2, eps: constants.eps },
        weightDecay: graph.parameters[id]?.decays ? weightDecay : 0,
        gradientFactor,
        step,
      });
    });
    this.#executor.formWeights();
    return norm;
  }
}
