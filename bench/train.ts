/**
 * The trainer: tokens per second of whole optimiser steps by size, and the share of a bare loop over the same matrix products in f32
 * (6 · N · tokens: forward, and two on the way back), which no trainer in f32 can avoid; one whose forward products are made of bytes can
 * be faster. Random tokens: no data is read. Beside it, in turn: another trainer given with --peer, and PyTorch where Python has it.
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
import type { Column, Row, Verdict } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";
import { programPeer, type TrainerPeer, torchPeer } from "./harness/trainer-peer.ts";

/** Shapes with about so many parameters; the second is that of the model in docs/training.md. */
const shapes = [
  { name: "1M", hiddenSize: 128, ffnSize: 384, nLayers: 4, nHeads: 4 },
  { name: "2M", hiddenSize: 192, ffnSize: 512, nLayers: 4, nHeads: 6 },
  { name: "5M", hiddenSize: 256, ffnSize: 768, nLayers: 6, nHeads: 8 },
  { name: "10M", hiddenSize: 384, ffnSize: 1024, nLayers: 6, nHeads: 12 },
];
const vocabSize = 1024;
const documentLength = 256;
/** In each round, after one that is not counted: caches and pages are the other's until then. Of a program, whose start has to be taken off, more. */
const [ownSteps, programSteps, torchSteps] = [3, 6, 2];

await runBench("train", async ({ options, isa, threads, say }) => {
  const kernels = nativeKernels({ threads });
  const nRows = options.isQuick ? 512 : 4096;
  const nRuns = options.isQuick ? 1 : 5;
  const rows: Row[] = [];
  const others: number[] = [];
  let torchName = "PyTorch";
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
    const shape = {
      ...{
        hiddenSize: sizes.hiddenSize,
        ffnSize: sizes.ffnSize,
        nLayers: sizes.nLayers,
        nHeads: sizes.nHeads,
      },
      ...{ vocabSize, length: documentLength, batchTokens: nRows },
    };
    const peer = options.peer === null ? null : programPeer(options.peer, shape, threads);
    const torch = options.isQuick ? null : await torchPeer(shape, threads);
    torchName = torch?.name ?? torchName;
    let nSteps = 0;
    const ownStep = () => {
      step(++nSteps);
      return (
        secondsOf(() => {
          for (let i = 0; i < ownSteps; i++) step(++nSteps);
        }) / ownSteps
      );
    };
    bare();
    for (const each of [peer, torch]) await each?.seconds(1);
    // Interleaved, so that a busy moment meets both.
    const [whole, brains, loops]: [number[], number[], number[]] = [[], [], []];
    const [peers, torches]: [number[], number[]] = [[], []];
    const stop = watchOthers(torch === null ? [] : [torch.pid]);
    const secondsPerStep = async (other: TrainerPeer | null, nSteps: number) =>
      other === null ? [] : [(await other.seconds(nSteps)) / nSteps];
    for (let run = 0; run < nRuns; run++) {
      whole.push(ownStep());
      loops.push(secondsOf(bare));
      peers.push(...(await secondsPerStep(peer, programSteps)));
      torches.push(...(await secondsPerStep(torch, torchSteps)));
      if (!kernels.hasBrains) continue;
      executor.setBackward("bf16");
      brains.push(ownStep());
      executor.setBackward("f32");
    }
    const disturbance = stop();
    if (disturbance !== null) others.push(disturbance);
    for (const each of [peer, torch]) await each?.stop();
    const [stepSeconds, loopSeconds] = [median(whole), median(loops)];
    const fastest = Math.min(stepSeconds, ...(kernels.hasBrains ? [median(brains)] : []));
    const beside = (key: string, seconds: readonly number[]): Row =>
      seconds.length === 0
        ? {}
        : { [`${key}Rate`]: nRows / median(seconds), [`${key}Ratio`]: median(seconds) / fastest };
    const nMultiplied = shapesOf.reduce((sum, [m, n]) => sum + m * n, 0);
    rows.push({
      name,
      parameters: countParameters(graph) / 1e6,
      rate: nRows / stepSeconds,
      ...(kernels.hasBrains ? { brainRate: nRows / median(brains) } : {}),
      ...beside("peer", peers),
      ...beside("torch", torches),
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
      ...besideColumns("peer", "another trainer", rows),
      ...besideColumns("torch", torchName, rows),
      { key: "products", label: "bare products", unit: "GMAC/s" },
      { key: "share", label: "time of the bare products in f32, of a step", unit: "share" },
    ],
    verdicts: rows.map(verdictOf),
    notes: [
      `${kernels.name}; ${nRows} predictions a step in documents of ${documentLength}, vocabulary ${vocabSize}, weights b1.58.`,
      ...(options.peer === null ? [] : [`Another trainer: ${options.peer}`]),
    ],
    disturbance: others.length === 0 ? null : median(others),
  };
});

function besideColumns(key: string, label: string, rows: readonly Row[]): Column[] {
  if (rows.every((row) => row[`${key}Rate`] === undefined)) return [];
  return [
    { key: `${key}Rate`, label, unit: "tok/s" },
    { key: `${key}Ratio`, label: "the faster of ours × that", unit: "" },
  ];
}

function verdictOf({ name, peerRatio }: Row): Verdict {
  const isMeasured = typeof peerRatio === "number";
  return {
    what: `training of ${name}, the faster of both ways, against another trainer`,
    ...{ measured: isMeasured ? peerRatio : null, unit: "×", wanted: 1.5, bound: "least" },
    ...(isMeasured ? {} : { remark: "none was given with --peer" }),
  };
}

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
