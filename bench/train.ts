/**
 * The trainer: tokens per second of whole optimiser steps by size, and the share of a bare loop over the same matrix products in f32
 * (6 · N · tokens: forward, and two on the way back), which no trainer in f32 can avoid; one whose forward products are made of bytes can
 * be faster. Random tokens: no data is read.
 */
import { median } from "@bitnet.ts/cli/measuring";
import {
  countParameters,
  defaultOptimizer,
  Executor,
  initialise,
  type Kernels,
  nativeKernels,
  Optimizer,
  recordTransformer,
} from "@bitnet.ts/train";
import { watchOthers } from "./harness/machine.ts";
import type { Row } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

/** Shapes with about so many parameters; the second is that of the model in docs/training.md. */
const shapes = [
  { name: "1M", hiddenSize: 128, ffnSize: 384, nLayers: 4, nHeads: 4 },
  { name: "2M", hiddenSize: 192, ffnSize: 512, nLayers: 4, nHeads: 6 },
  { name: "5M", hiddenSize: 256, ffnSize: 768, nLayers: 6, nHeads: 8 },
  { name: "10M", hiddenSize: 384, ffnSize: 1024, nLayers: 6, nHeads: 12 },
];
const vocabSize = 1024;
const documentLength = 256;

await runBench("train", async ({ options, isa, threads, say }) => {
  const kernels = nativeKernels({ threads });
  const nRows = options.isQuick ? 512 : 4096;
  const nRuns = options.isQuick ? 1 : 5;
  const stop = watchOthers([]);
  const rows: Row[] = [];
  for (const { name, ...sizes } of options.isQuick ? shapes.slice(0, 1) : shapes) {
    say(`train: ${name}`);
    const graph = recordTransformer({
      ...{ ...sizes, nKvHeads: sizes.nHeads, headDim: 32, vocabSize, contextLength: documentLength },
      ...{
        normEps: 1e-5,
        ropeTheta: 10_000,
        activation: "relu2",
        hasSubNorms: true,
        isTied: true,
        form: "b1.58",
      },
    });
    const executor = new Executor(graph, kernels, { maxRows: nRows });
    initialise(executor, 1);
    const optimizer = new Optimizer(executor, defaultOptimizer);
    const batch = {
      ids: Int32Array.from({ length: nRows }, (_, i) => (i * 7919) % vocabSize),
      labels: Int32Array.from({ length: nRows }, (_, i) => ((i + 1) * 7919) % vocabSize),
      weights: new Float32Array(nRows).fill(1),
      starts: Int32Array.from({ length: nRows / documentLength + 1 }, (_, i) => i * documentLength),
    };
    const step = (n: number) => {
      executor.clearGradients();
      executor.gradient(batch, 1 / nRows);
      optimizer.step(n, 1e-3, 0.1);
    };
    const products = graph.parameters.filter(
      ({ shape, name: of }) => shape.length === 2 && of !== "token_embd",
    );
    const shapesOf = [
      ...products.map(({ shape }) => shape as [number, number]),
      [vocabSize, sizes.hiddenSize] as const,
    ];
    const bare = bareLoop(kernels, shapesOf, nRows);
    step(1);
    bare();
    // Interleaved, so that a busy moment meets both.
    const [whole, brains, loops]: [number[], number[], number[]] = [[], [], []];
    for (let run = 0; run < nRuns; run++) {
      whole.push(secondsOf(() => step(2 * run + 2)));
      loops.push(secondsOf(bare));
      if (!kernels.hasBrains) continue;
      executor.setBackward("bf16");
      brains.push(secondsOf(() => step(2 * run + 3)));
      executor.setBackward("f32");
    }
    const [stepSeconds, loopSeconds] = [median(whole), median(loops)];
    const nMultiplied = shapesOf.reduce((sum, [m, n]) => sum + m * n, 0);
    rows.push({
      name,
      parameters: countParameters(graph) / 1e6,
      rate: nRows / stepSeconds,
      ...(kernels.hasBrains ? { brainRate: nRows / median(brains) } : {}),
      products: (3 * nMultiplied * nRows) / loopSeconds / 1e9,
      share: loopSeconds / stepSeconds,
    });
  }
  return {
    models: [],
    ...{ isa, threads, rows },
    rooflines: [],
    columns: [
      { key: "name", label: "model", unit: "" },
      { key: "parameters", label: "parameters, millions", unit: "" },
      { key: "rate", label: "training", unit: "tok/s" },
      { key: "brainRate", label: "with gradients in bf16", unit: "tok/s" },
      { key: "products", label: "bare products", unit: "GMAC/s" },
      { key: "share", label: "time of the bare products in f32, of a step", unit: "share" },
    ],
    verdicts: [],
    notes: [
      `${kernels.name}; ${nRows} predictions a step in documents of ${documentLength}, vocabulary ${vocabSize}, weights b1.58.`,
    ],
    disturbance: stop(),
  };
});

function secondsOf(run: () => void): number {
  const start = performance.now();
  run();
  return (performance.now() - start) / 1000;
}

/** The three products of every matrix [outputs, inputs] in f32, and nothing else. */
function bareLoop(
  kernels: Kernels,
  matrices: readonly (readonly [number, number])[],
  rows: number,
): () => void {
  const parts = matrices.map(([outputs, inputs]) => ({
    ...{ outputs, inputs, x: kernels.allocate(rows * inputs), y: kernels.allocate(rows * outputs) },
    weights: kernels.allocate(outputs * inputs),
  }));
  return () => {
    for (const { outputs, inputs, x, y, weights } of parts) {
      kernels.product({ a: x, b: weights, out: y, m: rows, n: outputs, k: inputs, transB: true });
      kernels.product({ a: y, b: weights, out: x, m: rows, n: inputs, k: outputs });
      kernels.product({ a: y, b: x, out: weights, m: outputs, n: inputs, k: rows, transA: true });
    }
  };
}
