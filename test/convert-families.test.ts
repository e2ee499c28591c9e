/** Folders of families with windows, stretched rotations, factors and shifted norms as GGUF files: the same bits of what they compute. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNet } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hfFiles } from "./checkpoint-hf.ts";
import { bitnet } from "./cli-process.ts";
import { type CheckpointShape, randomCheckpoint, randomTokens } from "./random-checkpoint.ts";

const shape: CheckpointShape = {
  family: "llama",
  ...{ context: 100, theta: 10000, eps: 1e-6, tokens: 300, isTied: true, embeddingBits: 8 },
  ...{ hidden: 192, ffn: 200, layers: 3, heads: 3, kvHeads: 1, headDim: 48, vocab: 300 },
};
const families: readonly [name: string, shape: CheckpointShape, isSameOrder: boolean][] = [
  ["gemma3", { ...shape, family: "gemma3", window: { size: 4, pattern: 3, theta: 500 } }, true],
  [
    "gemma3 with norms in its projections",
    { ...shape, family: "gemma3", hasInnerNorms: true, window: { size: 4, pattern: 3, theta: 500 } },
    true,
  ],
  ["qwen3 with YaRN", { ...shape, family: "qwen3", yarn: { factor: 4, original: 25 } }, true],
  ["qwen2 with biases", { ...shape, family: "qwen2" }, true],
  // GGUF files of the family have q and k in another order, and so other roundings.
  [
    "minicpm",
    { ...shape, family: "minicpm", factors: { embedding: 12, residual: 0.25, logits: 0.3 } },
    false,
  ],
];

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-families-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe.each(families)("%s", (name, each, isSameOrder) => {
  it("computes from the GGUF file what it does from the folder", async () => {
    const checkpoint = randomCheckpoint(each, 4);
    const source = join(folder, name.replaceAll(" ", "-"));
    await mkdir(source);
    const modules = [
      { idx: 0, path: "", type: "sentence_transformers.models.Transformer" },
      { idx: 1, path: "1_Pooling", type: "sentence_transformers.models.Pooling" },
    ];
    await mkdir(join(source, "1_Pooling"));
    const extra = [
      ["modules.json", modules],
      ["1_Pooling/config.json", { pooling_mode_cls_token: true }],
    ] as const;
    for (const [file, json] of extra) await writeFile(join(source, file), JSON.stringify(json));
    for (const [file, bytes] of hfFiles(checkpoint, { ternary: "multiplies", floats: "bf16" }))
      await writeFile(join(source, file), bytes);
    const { status, stderr } = await bitnet(["convert", source, "-o", `${source}.gguf`, "--to", "i2_s"]);
    expect([status, stderr]).toEqual([0, expect.anything()]);
    const tokens = randomTokens(checkpoint, 12, 3);
    const embed = async (path: string) => {
      const model = await BitNet.load(path, { backend: "reference", kvType: "f32" });
      const { embeddings } = await model.embed([tokens], { pooling: "mean", normalize: false });
      const { pooling } = model.info;
      await model.dispose();
      return { pooling, values: Array.from(embeddings[0] ?? []) };
    };
    const [before, after] = [await embed(source), await embed(`${source}.gguf`)];
    expect([before.pooling, after.pooling]).toEqual(["cls", "cls"]);
    if (isSameOrder) expect(after.values).toEqual(before.values);
    else {
      const difference = Math.max(
        ...after.values.map((value, i) => Math.abs(value - (before.values[i] ?? 0))),
      );
      expect(difference).toBeLessThan(0.1);
    }
  });
});
