/**
 * Whole models of every family on WebGPU: the logits of a naive forward pass in f64 within rounding, and the texts of the reference backend, alone and side by
 * side, several tokens a readback. Seeds are chosen so that nothing lies at the border between two int8 steps, as in shapes.test.ts.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Backend, bindModel, describeModel, openModelFiles, type Program } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Scheduler } from "#core/generate/scheduler.ts";
import { ggufBytes } from "./checkpoint-gguf.ts";
import { naiveLogits } from "./naive-bitnet.ts";
import {
  type Checkpoint,
  type CheckpointShape,
  randomCheckpoint,
  randomTokens,
} from "./random-checkpoint.ts";
import { reference, webgpu } from "./tiny-model.ts";

const common: Omit<CheckpointShape, "family"> = {
  ...{ hidden: 128, ffn: 200, layers: 2, heads: 4, kvHeads: 2, headDim: 32, vocab: 300, tokens: 300 },
  ...{ context: 64, theta: 10000, eps: 1e-5, isTied: true, embeddingBits: 8 },
};
const grouped: CheckpointShape = { ...common, family: "qwen3", hidden: 256, ffn: 384, isGrouped: true };

const shapes: readonly [name: string, shape: CheckpointShape][] = [
  ["BitNet b1.58", { ...common, family: "bitnet-b1.58" }],
  ["BitNet of 1bitLLM", { ...common, family: "bitnet" }],
  ["BitNet b1, of binary weights", { ...common, family: "bitnet", isBinary: true }],
  ["Llama, own head", { ...common, family: "llama", isTied: false }],
  ["Qwen2", { ...common, family: "qwen2" }],
  ["Qwen3, YaRN", { ...common, family: "qwen3", yarn: { factor: 4, original: 64 } }],
  ["Qwen3 with norms in its projections", { ...common, family: "qwen3", hasInnerNorms: true }],
  ["Gemma3", { ...common, family: "gemma3", layers: 3, window: { size: 4, pattern: 3, theta: 500 } }],
  ["MiniCPM", { ...common, family: "minicpm", factors: { embedding: 12, residual: 0.25, logits: 0.125 } }],
  ["Bonsai, ternary in groups", grouped],
  ["Bonsai, binary in groups", { ...grouped, isBinary: true }],
];

const found = await webgpu();
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-webgpu-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function bind(checkpoint: Checkpoint): Promise<Program> {
  const path = join(folder, "model.gguf");
  const packing = checkpoint.shape.isGrouped ? "pq2_0" : "i2_s";
  await writeFile(path, await ggufBytes(checkpoint, { ternary: { kind: "packed", packing } }));
  const files = await openModelFiles(await openPath(path), {});
  try {
    const model = describeModel(files, path);
    return await bindModel(model, model.config);
  } finally {
    await files.close();
  }
}

async function logitsOf(
  backend: Backend,
  program: Program,
  tokens: readonly number[],
): Promise<Float32Array[]> {
  const executable = await backend.load(program, { kvType: "f32", nPages: 2, maxRows: tokens.length });
  const { heads } = await executable.run({
    tokens: Int32Array.from(tokens),
    positions: Int32Array.from(tokens, (_, i) => i),
    sequences: new Int32Array(tokens.length),
    pageTables: [Int32Array.of(0, 1)],
    heads: tokens.map((_, row) => ({ row, want: { kind: "all" } })),
  });
  await executable.dispose();
  return heads.map(({ logits }) => logits);
}

/** Greedy ids behind each prompt, all at once. */
async function greedyIds(backend: Backend, program: Program, prompts: number[][]): Promise<number[][]> {
  const nPages = 2 * prompts.length;
  const scheduler = new Scheduler(await backend.load(program, { kvType: "f16", nPages, maxRows: 16 }), {
    nPages,
  });
  const results = await Promise.all(
    prompts.map(
      (prompt) =>
        scheduler.generate(Int32Array.from(prompt), { temperature: 0, repeatPenalty: 1, maxTokens: 8 })
          .result,
    ),
  );
  await scheduler.dispose();
  return results.map(({ ids }) => [...ids]);
}

/** Largest difference, in standard deviations of the logits. */
function relativeError(logits: Float32Array, exact: readonly number[]): number {
  const deviation = Math.sqrt(exact.reduce((sum, v) => sum + v * v, 0) / exact.length);
  return Math.max(...exact.map((v, id) => Math.abs((logits[id] ?? Number.NaN) - v))) / deviation;
}

describe.skipIf(found === null)("whole models on WebGPU", { timeout: 180_000 }, () => {
  it.each(shapes)("%s", async (_, shape) => {
    const gpu = found ?? reference();
    const checkpoint = randomCheckpoint(shape, 7);
    const program = await bind(checkpoint);
    const tokens = randomTokens(checkpoint, 9, 3);
    const naive = naiveLogits(checkpoint, tokens);
    const logits = await logitsOf(gpu, program, tokens);
    expect(logits).toHaveLength(tokens.length);
    for (const [row, own] of logits.entries())
      expect(relativeError(own, naive[row] ?? []), `row ${row}`).toBeLessThan(1e-5);
    const prompts = [tokens, tokens.slice(2, 7)];
    const expected = await greedyIds(reference(), program, prompts);
    expect(await greedyIds(gpu, program, prompts)).toEqual(expected);
  });
});
