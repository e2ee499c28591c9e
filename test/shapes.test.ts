/**
 * Checkpoints of odd shapes in every format that can hold them. The same weights give the same bits of logits from every format, on
 * the reference and the native backend alike, and what a naive forward pass in f64 gives, within rounding.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bindModel, describeModel, openModelFiles, type PackingId, type Program } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HfChoices } from "./checkpoint-hf.ts";
import { bitsOf, checkpointFiles, type Format, logitsOf, relativeError } from "./checkpoint-run.ts";
import { naiveLogits } from "./naive-bitnet.ts";
import {
  type Checkpoint,
  type CheckpointShape,
  randomCheckpoint,
  randomTokens,
} from "./random-checkpoint.ts";
import { seededIntegers } from "./seeded.ts";
import { nativeFor, reference, usableIsas } from "./tiny-model.ts";

const common = {
  family: "bitnet-b1.58",
  context: 100,
  theta: 10000,
  eps: 1e-5,
  tokens: 300,
  isTied: true,
  embeddingBits: 8,
} as const;

/** Rows of 192 or 144 columns are no whole blocks of I2_S; 3 heads of 48 are not the hidden size. */
const narrow: CheckpointShape = {
  ...common,
  ...{ hidden: 192, ffn: 200, layers: 2, heads: 3, kvHeads: 1, headDim: 48, vocab: 300 },
};
/** Everything in whole blocks of 128, used in place; a head of its own. */
const aligned: CheckpointShape = {
  ...common,
  ...{ hidden: 384, ffn: 768, layers: 1, heads: 6, kvHeads: 2, headDim: 64, vocab: 1111, tokens: 1100 },
  ...{ isTied: false, embeddingBits: 4, eps: 1e-6 },
};
const tiny: CheckpointShape = {
  ...common,
  ...{
    hidden: 96,
    ffn: 500,
    layers: 3,
    heads: 5,
    kvHeads: 5,
    headDim: 16,
    vocab: 777,
    tokens: 777,
    context: 33,
  },
};
const odd: CheckpointShape = {
  ...common,
  ...{ hidden: 320, ffn: 1000, layers: 1, heads: 5, kvHeads: 5, headDim: 64, vocab: 401, isTied: false },
};
/** All columns are multiples of 256, as TQ1_0, TQ2_0 and Q6_K want them. */
const blocky: CheckpointShape = {
  ...common,
  ...{ hidden: 256, ffn: 768, layers: 2, heads: 8, kvHeads: 2, headDim: 32, vocab: 640, embeddingBits: 6 },
  theta: 500000,
};
const wideHeads: CheckpointShape = {
  ...common,
  ...{ hidden: 192, ffn: 1000, layers: 1, heads: 3, kvHeads: 3, headDim: 80, vocab: 1000, eps: 1e-3 },
};

/** The Llama shape: in whole blocks, and with odd sizes. */
const llamaBlocky: CheckpointShape = { ...blocky, family: "llama", isTied: false };
const llamaNarrow: CheckpointShape = { ...narrow, family: "llama" };
/** One shape of every other family, with what only it has. */
const families: readonly [name: string, shape: CheckpointShape, tokenSeed: number][] = [
  ["bitnet of 1bitLLM", { ...narrow, family: "bitnet" }, 1],
  ["qwen2", { ...narrow, family: "qwen2" }, 1],
  ["qwen3", { ...blocky, family: "qwen3", yarn: { factor: 4, original: 64 } }, 2],
  ["qwen3 with norms in its projections", { ...narrow, family: "qwen3", hasInnerNorms: true }, 1],
  ["gemma3", { ...narrow, family: "gemma3", layers: 3, window: { size: 4, pattern: 3, theta: 500 } }, 1],
  ["minicpm", { ...blocky, family: "minicpm", factors: { embedding: 12, residual: 0.25, logits: 0.125 } }, 2],
];

const packed = (packing: Exclude<PackingId, "hf_u8">) => ({ kind: "packed", packing }) as const;

/** In any shape; the first is what the others are compared with. */
const anyShape: Format[] = [
  { name: "GGUF I2_S", gguf: { ternary: packed("i2_s") } },
  {
    name: "GGUF I2_S 64/16",
    i2sLayout: "64/16",
    gguf: { ternary: packed("i2_s_64"), embedding: "bf16", architecture: "bitnet-25" },
  },
  {
    name: "GGUF I2_S in groups of 4 rows, split in 3",
    i2sLayout: "rows4",
    parts: 3,
    gguf: { ternary: packed("i2_s_rows4"), embedding: "f32", norm: "bf16" },
  },
  { name: "GGUF f16 masters", gguf: { ternary: { kind: "masters", type: "f16" }, alignment: 1 } },
  { name: "GGUF f32 products", gguf: { ternary: { kind: "products", type: "f32" }, head: "f32" } },
  { name: "HF packed, scales multiply", hf: { ternary: "multiplies", floats: "bf16" } },
  {
    name: "HF packed, scales divide, off every alignment",
    hf: { ternary: "divides", floats: "f32", padding: 3 },
  },
  { name: "HF bf16 masters, 3 shards", hf: { ternary: "masters", floats: "bf16", shards: 3 } },
];
/** The same in other element types; they differ in no shape. */
const otherTypes: Format[] = [
  { name: "GGUF bf16 masters", gguf: { ternary: { kind: "masters", type: "bf16" }, norm: "f16" } },
  { name: "GGUF f16 products", gguf: { ternary: { kind: "products", type: "f16" }, head: "bf16" } },
  { name: "HF packed, 3 shards", hf: { ternary: "multiplies", floats: "f16", shards: 3 } },
  { name: "HF f16 masters", hf: { ternary: "masters", floats: "f16" } },
  { name: "HF f32 masters, 2 shards", hf: { ternary: "masters", floats: "f32", shards: 2 } },
  { name: "HF bf16 trits", hf: { ternary: "trits", floats: "bf16" } },
];
/** Llama's files: the architecture has one name, and floats in GGUF are read only as products. */
const llamaFormats = anyShape.filter(
  ({ gguf }) => gguf?.architecture === undefined && gguf?.ternary.kind !== "masters",
);
/** Scales for each 128 columns, of the embedding too. */
const groups: Format[] = (["pq2_0", "ptq1_0", "q2_0", "q2_0_128"] as const).map((packing) => ({
  name: `GGUF ${packing}`,
  gguf: { ternary: packed(packing) },
}));
const tq: Format[] = [
  { name: "GGUF TQ1_0", gguf: { ternary: packed("tq1_0"), embedding: "q8_0" } },
  { name: "GGUF TQ2_0", gguf: { ternary: packed("tq2_0"), embedding: "f16", alignment: 64 } },
];
const iq: Format[] = [
  { name: "GGUF IQ1_BN", gguf: { ternary: packed("iq1_bn"), embedding: "q8_0" } },
  {
    name: "GGUF IQ2_BN, split in 2",
    parts: 2,
    gguf: { ternary: packed("iq2_bn"), embedding: "q8_0", head: "f16" },
  },
];
const q6: Format[] = [
  { name: "GGUF I2_S, q6_k embedding", gguf: { ternary: packed("i2_s"), embedding: "q6_k" } },
];
const q4: Format[] = [
  { name: "GGUF I2_S, q4_0 embedding", gguf: { ternary: packed("i2_s"), embedding: "q4_0" } },
];

const q4k: Format[] = [
  { name: "GGUF TQ2_0", gguf: { ternary: packed("tq2_0"), embedding: "f32" } },
  { name: "GGUF TQ2_0, q4_k embedding and head", gguf: { ternary: packed("tq2_0"), embedding: "q4_k" } },
  { name: "GGUF TQ1_0, q4_k head", gguf: { ternary: packed("tq1_0"), embedding: "q4_0", head: "q4_k" } },
];
/** Binary weights, a scale for each 128. */
const binaryGroups: Format[] = (["pq2_0", "q1_0", "q2_0", "ptq1_0"] as const).map((packing) => ({
  name: `GGUF ${packing}`,
  gguf: { ternary: packed(packing) },
}));
/** Binary masters say that a weight has one bit. */
const binaryMasters: Format[] = [
  { name: "GGUF I2_S", gguf: { ternary: packed("i2_s") } },
  ...(["f32", "bf16"] as const).map((floats) => ({
    name: `HF ${floats} masters`,
    hf: {
      ternary: "masters",
      floats,
      config: {
        quantization_config: { quant_method: "bitnet", quantization_mode: "online", weight_bits: 1 },
      },
    } as const,
  })),
];

interface Case {
  name: string;
  shape: CheckpointShape;
  formats: Format[];
  /** Of the tokens for the naive forward pass, and how many of them. */
  tokenSeed: number;
  nTokens: number;
}

const cases: Case[] = [
  {
    name: "hidden 192, ffn 200, 3/1 heads of 48",
    shape: narrow,
    formats: [...anyShape, ...otherTypes, ...iq],
    ...{ tokenSeed: 1, nTokens: 12 },
  },
  {
    name: "hidden 384, ffn 768, 6/2 heads of 64, own head",
    shape: aligned,
    formats: [...anyShape, ...iq, ...tq, ...q4],
    ...{ tokenSeed: 1, nTokens: 12 },
  },
  {
    name: "hidden 96, ffn 500, 5/5 heads of 16",
    shape: tiny,
    formats: anyShape,
    ...{ tokenSeed: 1, nTokens: tiny.context },
  },
  {
    name: "hidden 320, ffn 1000, 5/5 heads of 64, own head",
    shape: odd,
    formats: [...anyShape, ...iq],
    ...{ tokenSeed: 9, nTokens: 12 },
  },
  {
    name: "hidden 256, ffn 768, 8/2 heads of 32",
    shape: blocky,
    formats: [...anyShape, ...iq, ...tq, ...q6],
    ...{ tokenSeed: 1, nTokens: 12 },
  },
  {
    name: "hidden 192, ffn 1000, 3/3 heads of 80",
    shape: wideHeads,
    formats: [...anyShape, ...iq],
    ...{ tokenSeed: 1, nTokens: 12 },
  },
  {
    name: "qwen3 with scales in groups: hidden 256, ffn 768",
    shape: { ...blocky, family: "qwen3", isGrouped: true },
    formats: groups,
    ...{ tokenSeed: 4, nTokens: 12 },
  },
  {
    name: "llama, GGUF of llama-quantize: hidden 256, ffn 768, own head",
    shape: { ...llamaBlocky, embeddingBits: 4 },
    formats: q4k,
    ...{ tokenSeed: 1, nTokens: 12 },
  },
  {
    name: "qwen3 with binary weights and tables: hidden 256, ffn 768",
    shape: { ...blocky, family: "qwen3", isGrouped: true, isBinary: true },
    formats: binaryGroups,
    ...{ tokenSeed: 4, nTokens: 12 },
  },
  {
    name: "bitnet of 1bitLLM with binary masters: hidden 192, ffn 200",
    shape: { ...narrow, family: "bitnet", isBinary: true },
    formats: binaryMasters,
    ...{ tokenSeed: 1, nTokens: 12 },
  },
  ...families.flatMap(([name, shape, tokenSeed]) =>
    [true, false].map((isGguf) => ({
      name: `${name}, ${isGguf ? "GGUF" : "HF"}`,
      shape,
      formats: (shape.family === "bitnet" ? anyShape : llamaFormats).filter(
        ({ gguf }) => (gguf !== undefined) === isGguf && gguf?.architecture === undefined,
      ),
      ...{ tokenSeed, nTokens: 12 },
    })),
  ),
  // GGUF has the elements of a head in another order than Hugging Face, and so other roundings: each kind agrees with itself.
  ...[true, false].flatMap((isGguf) => [
    {
      name: `llama, ${isGguf ? "GGUF" : "HF"}: hidden 256, ffn 768, 8/2 heads of 32, own head`,
      shape: llamaBlocky,
      formats: [...llamaFormats, ...tq].filter(({ gguf }) => (gguf !== undefined) === isGguf),
      ...{ tokenSeed: 1, nTokens: 12 },
    },
    {
      name: `llama, ${isGguf ? "GGUF" : "HF"}: hidden 192, ffn 200, 3/1 heads of 48`,
      shape: llamaNarrow,
      formats: llamaFormats.filter(({ gguf }) => (gguf !== undefined) === isGguf),
      ...{ tokenSeed: 1, nTokens: 12 },
    },
  ]),
];

let folder = "";
let nWritten = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-shapes-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Writes the checkpoint to disk and binds what is read back. */
async function bind(checkpoint: Checkpoint, format: Format): Promise<Program> {
  const place = join(folder, String(nWritten++));
  await mkdir(place);
  for (const [name, bytes] of await checkpointFiles(checkpoint, format))
    await writeFile(join(place, name), bytes);
  const files = await openModelFiles(
    await openPath(place),
    format.i2sLayout ? { i2sLayout: format.i2sLayout } : {},
  );
  try {
    const model = describeModel(files, format.name);
    return await bindModel(model, model.config);
  } finally {
    await files.close();
  }
}

const isas = usableIsas();
const [best] = isas;

describe.each(cases)("$name", ({ shape, formats, tokenSeed, nTokens }) => {
  const checkpoint = randomCheckpoint(shape, 1 + shape.hidden + shape.headDim);
  const [first = { name: "none" }, ...others] = formats;
  const tokens = randomTokens(checkpoint, 4, 5);
  let expected: string[] = [];

  beforeAll(async () => {
    expected = bitsOf(await logitsOf(reference(), await bind(checkpoint, first), tokens, 3));
  });

  it.each(others)("$name", async (format) => {
    const program = await bind(checkpoint, format);
    expect(bitsOf(await logitsOf(reference(), program, tokens, 3))).toEqual(expected);
    if (best === undefined) return;
    expect(bitsOf(await logitsOf(await nativeFor(best, 2), program, tokens, 3))).toEqual(expected);
  });

  it.skipIf(isas.length === 0).each(isas)(`${first.name}, native %s`, async (isa) => {
    const program = await bind(checkpoint, first);
    expect(bitsOf(await logitsOf(await nativeFor(isa, 2), program, tokens, 3))).toEqual(expected);
  });

  it("is what the naive forward pass computes", async () => {
    const many = randomTokens(checkpoint, nTokens, tokenSeed);
    const found = await logitsOf(reference(), await bind(checkpoint, first), many, 0);
    const naive = naiveLogits(checkpoint, many);
    expect(found).toHaveLength(many.length);
    for (const [row, logits] of found.entries())
      expect(relativeError(logits, naive[row] ?? []), `row ${row}`).toBeLessThan(2e-6);
  });
});

/** Packed as Hugging Face does, which holds any shape whose rows are multiples of 4. */
function randomShape(seed: number): CheckpointShape {
  const random = seededIntegers(seed);
  const below = (n: number) => random() % n;
  const kvHeads = 1 + below(4);
  return {
    ...common,
    ...{ hidden: 8 * (1 + below(40)), ffn: 4 * (1 + below(100)), layers: 1 + below(2) },
    ...{ kvHeads, heads: kvHeads * (1 + below(4)), headDim: 4 * (1 + below(40)) },
    ...{ vocab: 260 + 4 * below(20), tokens: 260, theta: 2 + below(1_000_000), isTied: below(2) === 0 },
  };
}

describe("random shapes", () => {
  it.each([1, 4, 5, 7, 8, 9, 10, 11])("of seed %i", async (seed) => {
    const checkpoint = randomCheckpoint(randomShape(seed), seed);
    const config = { head_dim: checkpoint.shape.headDim };
    const hf: HfChoices = { ternary: "divides", floats: "f32", padding: seed % 5, config };
    const program = await bind(checkpoint, { name: "HF packed", hf });
    const tokens = randomTokens(checkpoint, 3, seed);
    const expected = await logitsOf(reference(), program, tokens, 0);
    const naive = naiveLogits(checkpoint, tokens);
    for (const [row, logits] of expected.entries())
      expect(relativeError(logits, naive[row] ?? []), `row ${row}`).toBeLessThan(2e-6);
    for (const isa of isas) {
      const found = await logitsOf(await nativeFor(isa, 2), program, tokens, 0);
      expect(bitsOf(found), isa).toEqual(bitsOf(expected));
    }
  });
});
