/** A model small enough for the reference kernels, with seeded weights and batches. */
import { threefry } from "@bitnet.ts/core";
import type { Kernels } from "../kernels/kernels.ts";
import { Executor, type ExecutorOptions, type MicroBatch } from "./executor.ts";
import { type LoraShape, loraTargets, recordTransformer, type TransformerShape } from "./transformer.ts";

export const smallShape: TransformerShape = {
  hiddenSize: 24,
  ffnSize: 40,
  nLayers: 2,
  nHeads: 4,
  nKvHeads: 2,
  headDim: 6,
  vocabSize: 19,
  contextLength: 16,
  normEps: 1e-5,
  ropeTheta: 100,
  activation: "relu2",
  hasSubNorms: true,
  isTied: true,
  form: "b1.58",
};

export const smallLora: LoraShape = { rank: 3, alpha: 6, dropout: 0.25, targets: loraTargets };

/** Uniform in [−1, 1). */
export function noise(seed: number, index: number): number {
  return threefry(seed, 0, index, 0) / 2 ** 31 - 1;
}

export function smallExecutor(
  kernels: Kernels,
  shape: Partial<TransformerShape> = {},
  options: Partial<ExecutorOptions> = {},
  lora: LoraShape | null = null,
): Executor {
  const graph = recordTransformer({ ...smallShape, ...shape }, lora);
  const executor = new Executor(graph, kernels, { maxRows: 40, ...options });
  executor.parameters.forEach((weights, id) => {
    const isNorm = graph.parameters[id]?.shape.length === 1;
    for (let i = 0; i < weights.length; i++)
      weights[i] = isNorm ? 1 + 0.3 * noise(id + 1, i) : 0.5 * noise(id + 1, i);
  });
  graph.parameters.forEach(({ form, isFrozen, adapter }, id) => {
    if (!isFrozen || form === "float" || adapter !== undefined) return;
    const masters = executor.parameters[id]?.slice() ?? kernels.allocate(0);
    executor.setFrozenScale(id, kernels.formWeights(masters, form, executor.parameters[id] ?? masters));
  });
  executor.formWeights();
  return executor;
}

/** Documents of the given lengths; every seventh row is left out, every fifth counts half. */
export function smallBatch(
  lengths: readonly number[],
  seed = 9,
  vocabSize = smallShape.vocabSize,
): MicroBatch {
  const starts = Int32Array.from([0, ...lengths]);
  for (let d = 1; d < starts.length; d++) starts[d] = (starts[d] ?? 0) + (starts[d - 1] ?? 0);
  const rows = starts.at(-1) ?? 0;
  const token = (kind: number) => (_: unknown, row: number) => threefry(seed, kind, row, 1) % vocabSize;
  return {
    ids: Int32Array.from({ length: rows }, token(0)),
    labels: Int32Array.from({ length: rows }, token(1)),
    weights: Float32Array.from({ length: rows }, (_, row) => (row % 7 === 6 ? 0 : row % 5 === 4 ? 0.5 : 1)),
    starts,
  };
}
