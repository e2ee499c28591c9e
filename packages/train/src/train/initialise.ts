/** The weights that training starts with: norms 1, matrices normal with a standard deviation of 0.02. */
import { threefry } from "@bitnet.ts/core";
import type { Executor } from "../graph/executor.ts";

const deviation = 0.02;

export function initialise(executor: Executor, seed: number): void {
  executor.parameters.forEach((weights, id) => {
    const isNorm = executor.graph.parameters[id]?.shape.length === 1;
    for (let i = 0; i < weights.length; i++) weights[i] = isNorm ? 1 : deviation * normal(seed, id, i);
  });
  executor.formWeights();
}

/**
 * The sum of twelve uniform numbers, less six: normal enough, and from additions only, so that every engine draws the same.
 */
function normal(seed: number, parameter: number, index: number): number {
  let sum = -6;
  for (let k = 0; k < 6; k++) {
    const word = threefry(seed, 0x1217 + parameter, index, k);
    sum += ((word & 0xffff) + 0.5) / 2 ** 16 + ((word >>> 16) + 0.5) / 2 ** 16;
  }
  return sum;
}
