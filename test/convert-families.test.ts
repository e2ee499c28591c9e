/**
 * Folders of families with windows, stretched rotations, factors and shifted norms as GGUF files, and those as folders again: the same bits of what
 * they compute, and the same files.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConversionTarget, openModelFiles, planConversion } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { BitNet } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hfFiles } from "./checkpoint-hf.ts";
import { type CheckpointShape, randomCheckpoint, randomTokens } from "./random-checkpoint.ts";

const shape: CheckpointShape = {
  family: "llama",
  ...{ context: 100, theta: 10000, eps: 1e-6, tokens: 300, isTied: true, embeddingBits: 8 },
  ...{ hidden: 192, ffn: 200, layers: 3, heads: 3, kvHeads: 1, headDim: 48, vocab: 300 },
};
/** `rope_scaling` of config.json, and how long a context it is for. */
const rotations = {
  llama3: { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 256 },
  linear: { factor: 2.5 },
  dynamic: { factor: 2, original_max_position_embeddings: 100 },
  longrope: {
    short_factor: Array.from({ length: 24 }, (_, i) => 1 + i / 16),
    long_factor: Array.from({ length: 24 }, (_, i) => 1 + i / 16),
    original_max_position_embeddings: 40,
    attention_factor: 1,
  },
  // Two lists, and a factor of attention.
  "longrope by context": {
    rope_type: "longrope",
    short_factor: Array.from({ length: 24 }, (_, i) => 1 + i / 16),
    long_factor: Array.from({ length: 24 }, (_, i) => 2 + i / 8),
    original_max_position_embeddings: 40,
    attention_factor: 1.25,
  },
};
const rotated = (rope_type: keyof typeof rotations): [string, CheckpointShape, boolean, object] => [
  `qwen3 with ${rope_type} rotations`,
  { ...shape, family: "qwen3" },
  true,
  { rope_scaling: { rope_type, ...rotations[rope_type] } },
];
const families: readonly [name: string, shape: CheckpointShape, isSameOrder: boolean, config?: object][] = [
  ...(["llama3", "linear", "dynamic", "longrope", "longrope by context"] as const).map(rotated),
  ["bitnet", { ...shape, family: "bitnet" }, true],
  [
    "llama with llama3 rotations",
    shape,
    false,
    { rope_scaling: { rope_type: "llama3", ...rotations.llama3 } },
  ],
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

/** @returns Whether frequencies were rounded. */
async function convert(from: string, to: string, target: ConversionTarget): Promise<boolean> {
  const files = await openModelFiles(await openPath(from));
  try {
    const plan = await planConversion(files, from, target);
    if (plan.kind === "folder") await mkdir(to);
    for (const { name, pieces } of plan.files) {
      const chunks: Uint8Array[] = [];
      for await (const piece of pieces) chunks.push(Uint8Array.from(piece));
      await writeFile(name === null ? to : join(to, name), Buffer.concat(chunks));
    }
    return plan.roundsRotations;
  } finally {
    await files.close();
  }
}

describe.each(families)("%s", (name, each, isSameOrder, config = {}) => {
  it("computes from the GGUF file, and from a folder made of it, what it does from the folder", async () => {
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
    for (const [file, bytes] of hfFiles(checkpoint, {
      ternary: "multiplies",
      floats: "bf16",
      config: { ...config },
    }))
      await writeFile(join(source, file), bytes);
    const roundsRotations = await convert(source, `${source}.gguf`, "i2_s");
    expect(roundsRotations, "no divisor in f32 gives some frequencies of Llama 3's rule").toBe(
      name.includes("llama3"),
    );
    await convert(`${source}.gguf`, `${source}-again`, "hf-packed");
    await rm(join(source, "1_Pooling"), { recursive: true });
    await rm(join(source, "modules.json"));
    await convert(source, `${source}-plain.gguf`, "i2_s");
    await convert(`${source}-again`, `${source}-again.gguf`, "i2_s");
    const [plain, again] = [await readFile(`${source}-plain.gguf`), await readFile(`${source}-again.gguf`)];
    expect(again.equals(plain), "the GGUF file of the folder made of it").toBe(true);
    const tokens = randomTokens(checkpoint, 12, 3);
    const embed = async (path: string) => {
      const model = await BitNet.load(path, { backend: "reference", kvType: "f32" });
      const { embeddings } = await model.embed([tokens], { pooling: "mean", normalize: false });
      const { pooling } = model.info;
      await model.dispose();
      return { pooling, values: Array.from(embeddings[0] ?? []) };
    };
    const [before, after, refolded] = [
      await embed(source),
      await embed(`${source}.gguf`),
      await embed(`${source}-again`),
    ];
    expect(after.pooling).toBe("cls");
    expect(refolded.values).toEqual(before.values); // both have q and k in a folder's order, and the folder's rule
    if (isSameOrder && !roundsRotations) expect(after.values).toEqual(before.values);
    else {
      const difference = Math.max(
        ...after.values.map((value, i) => Math.abs(value - (before.values[i] ?? 0))),
      );
      expect(difference).toBeLessThan(0.1);
    }
  });
});

it("refuses a rule that gives other frequencies for every context", async () => {
  for (const [type, rule] of [
    ["dynamic", { ...rotations.dynamic, original_max_position_embeddings: 50 }],
  ] as const) {
    const source = await mkdtemp(join(folder, "refused-"));
    const config = { rope_scaling: { rope_type: type, ...rule } };
    for (const [file, bytes] of hfFiles(randomCheckpoint(shape, 4), {
      ternary: "multiplies",
      floats: "bf16",
      config,
    }))
      await writeFile(join(source, file), bytes);
    await expect(convert(source, `${source}.gguf`, "i2_s")).rejects.toThrow(
      new RegExp(`by the rule "${type}"`),
    );
  }
});
