/**
 * What was trained is what runs: a small model trained by a recipe, exported, and loaded by the engine gives the trainer's own losses,
 * bit for bit from a GGUF file with an f32 embedding, in `bitnet perplexity` too, and nearly so from bf16 masters.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type EncodedExample,
  exportGguf,
  exportHf,
  type Kernels,
  nativeKernels,
  type OpenRun,
  openRun,
  parseRecipe,
  referenceKernels,
  tokenizerGguf,
  tokenizerJson,
  type WeightForm,
} from "@bitnet.ts/train";
import { BitNet } from "bitnet.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const bitnet = join(import.meta.dirname, "..", "packages", "cli", "bin", "bitnet.js");
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-export-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function kernels(): Kernels {
  try {
    return nativeKernels({ threads: 1 });
  } catch {
    return referenceKernels("f32");
  }
}

const words = ["cat", "dog", "red", "blue", "runs", "sits", "and", "the"];

async function trained(form: WeightForm): Promise<OpenRun> {
  const recipe = parseRecipe(
    {
      name: "small",
      model: {
        hiddenSize: 64,
        ffnSize: 128,
        nLayers: 2,
        nHeads: 4,
        nKvHeads: 2,
        headDim: 16,
        contextLength: 96,
        form,
      },
      tokenizer: { vocabSize: 320, samples: 200 },
      sources: [
        {
          name: "words",
          generate: (seed: number, index: number) => ({
            kind: "text",
            text: Array.from({ length: 30 }, (_, i) => words[(seed * 7 + index * 3 + i * i) % 8]).join(" "),
          }),
          heldOut: 4,
        },
      ],
      tokens: 6000,
      batchTokens: 400,
      microBatchTokens: 200,
      schedule: { warmupSteps: 3 },
    },
    "test",
  );
  const run = await openRun(recipe, { folder, kernels: kernels(), recipePath: join(folder, "recipe") });
  await run.trainer.run();
  return run;
}

/** −log p of every token but the first. */
async function engineLosses(path: string, { ids }: EncodedExample): Promise<number[]> {
  const model = await BitNet.load(path, { kvType: "f32", onNotice: () => {}, threads: 1 });
  try {
    const { promptLogprobs = [] } = await model.generate(ids, { maxTokens: 0, promptLogprobs: 0 }).result;
    return promptLogprobs.slice(1).map((entry) => -(entry?.logprob ?? Number.NaN));
  } finally {
    await model.dispose();
  }
}

/** What `bitnet perplexity` says of a text that fits the context. */
function perplexityOf(path: string, text: string): unknown {
  const file = join(folder, "text.txt");
  writeFileSync(file, text);
  const args = ["perplexity", "-m", path, "-f", file, "-c", "96", "--stride", "96", "-t", "1", "--json"];
  return JSON.parse(execFileSync(process.execPath, [bitnet, ...args], { encoding: "utf8" }));
}

describe("a trained model", () => {
  it.each(["b1.58", "b1"] as const)(
    "%s computes the same from its GGUF file as in training",
    async (form) => {
      const run = await trained(form);
      const path = join(folder, "model.gguf");
      const options = {
        name: "small",
        description: "test",
        tokenizer: tokenizerGguf(run.vocabulary),
        embeddingType: "f32",
      } as const;
      await exportGguf(path, run.executor, run.shape, options);
      for (const document of run.heldOut.get("words") ?? []) {
        const mean = run.trainer.evaluate([document]);
        const trainer = Array.from(run.executor.losses.subarray(0, document.ids.length - 1));
        const engine = await engineLosses(path, document);
        expect(engine).toEqual(trainer);
        expect(mean).toBeLessThan(Math.log(320));
      }
      const [document] = run.heldOut.get("words") ?? [];
      if (document === undefined) throw new Error("no held-out document");
      run.trainer.evaluate([document]);
      // The end-of-text token is no part of a text.
      const ofText = Array.from(run.executor.losses.subarray(0, document.ids.length - 2));
      const mean = ofText.reduce((sum, loss) => sum + loss, 0) / ofText.length;
      const found = perplexityOf(path, run.tokenizer.decode(document.ids.subarray(1, -1)));
      expect(found).toMatchObject({ nTokens: ofText.length, meanLoss: mean });
      run.close();
    },
  );

  it("comes out of bf16 masters nearly as it was", async () => {
    const run = await trained("b1.58");
    await exportHf(join(folder, "hf"), run.executor, run.shape, tokenizerJson(run.vocabulary, 96));
    const [document] = run.heldOut.get("words") ?? [];
    if (document === undefined) throw new Error("no held-out document");
    const losses = await engineLosses(join(folder, "hf"), document);
    const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
    expect(Math.abs(mean - run.trainer.evaluate([document]))).toBeLessThan(0.05);
    run.close();
  });
});
