/** The side paths that training starts with: A uniform within 1 / √inputs (Kaiming), B zero, so that the first step is the base's own. */
import { threefry } from "@bitnet.ts/core";
import type { Executor } from "../graph/executor.ts";

export function initialiseAdapter(executor: Executor, seed: number): void {
  executor.graph.parameters.forEach(({ name, shape, isFrozen }, id) => {
    const weights = executor.parameters[id];
    if (isFrozen || weights === undefined) return;
    if (!name.endsWith(".lora_a")) {
      weights.fill(0);
      return;
    }
    const bound = 1 / Math.sqrt(shape[1] ?? 1);
    for (let i = 0; i < weights.length; i++)
      weights[i] = bound * ((threefry(seed, 0xada0 + id, i, 0) + 0.5) / 2 ** 31 - 1);
  });
}
