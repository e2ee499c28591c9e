/** A small model as files, to be fine-tuned: random weights, a vocabulary of its own, and data about nothing. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ModelFiles, openModelFiles, tokenizerFromJson } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { exportGguf } from "../export/export-gguf.ts";
import { exportHf } from "../export/export-hf.ts";
import { Executor } from "../graph/executor.ts";
import { recordTransformer, type TransformerShape } from "../graph/transformer.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { nativeKernels } from "../kernels/native-kernels.ts";
import { referenceKernels } from "../kernels/reference/reference-kernels.ts";
import { controlTokens, tokenizerGguf, tokenizerJson } from "../tokenizer/tokenizer-files.ts";
import { PieceCounter, trainBpe } from "../tokenizer/train-bpe.ts";
import { initialise } from "../train/initialise.ts";

const vocabulary = (() => {
  const counter = new PieceCounter();
  for (const text of ["User: what is the colour of it? Assistant: it is red.", "blue", "green"])
    counter.add(text, 5);
  return trainBpe(counter.counts, { vocabSize: 300, specialTokens: [...controlTokens] });
})();

export function fastKernels(): Kernels {
  try {
    return nativeKernels({ threads: 1 });
  } catch {
    return referenceKernels("f32");
  }
}

/** Writes `base.gguf`, `base-hf` (bf16 masters) and `data.jsonl` of 40 examples; gives the model that they hold. */
export async function makeBase(folder: string, seed = 7): Promise<Executor> {
  const tokenizer = tokenizerFromJson(tokenizerJson(vocabulary, 64));
  const shape: TransformerShape = {
    hiddenSize: 64,
    ffnSize: 128,
    nLayers: 2,
    nHeads: 4,
    nKvHeads: 2,
    headDim: 16,
    vocabSize: tokenizer.vocabSize,
    contextLength: 64,
    normEps: 1e-5,
    ropeTheta: 10_000,
    activation: "relu2",
    hasSubNorms: true,
    isTied: true,
    form: "b1.58",
  };
  const executor = new Executor(recordTransformer(shape), fastKernels(), { maxRows: 64 });
  initialise(executor, seed);
  for (const [id, { name }] of executor.graph.parameters.entries())
    if (name === "token_embd")
      executor.parameters[id]?.forEach((x, i, all) => {
        all[i] = 5 * x;
      });
  mkdirSync(folder, { recursive: true });
  await exportGguf(join(folder, "base.gguf"), executor, shape, {
    name: "small",
    description: "test",
    tokenizer: tokenizerGguf(vocabulary),
    embeddingType: "f32",
  });
  await exportHf(join(folder, "base-hf"), executor, shape, tokenizerJson(vocabulary, 64));
  const colours = ["red", "blue", "green"];
  const lines = Array.from({ length: 40 }, (_, i) =>
    JSON.stringify({ instruction: `what is the colour of ${i}?`, output: `it is ${colours[i % 3]}.` }),
  );
  writeFileSync(join(folder, "data.jsonl"), `${lines.join("\n")}\n`);
  return executor;
}

export async function openFiles(path: string): Promise<ModelFiles> {
  return openModelFiles(await openPath(path));
}
