/** `rope_freqs.weight` of GGUF files: what llama.cpp's converter writes in place of a rule by which rotations are stretched. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNet } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GgufChoices, ggufBytes } from "./checkpoint-gguf.ts";
import { type CheckpointShape, randomCheckpoint } from "./random-checkpoint.ts";

const shape: CheckpointShape = {
  family: "llama",
  ...{ context: 100, theta: 10000, eps: 1e-5, tokens: 300, isTied: true, embeddingBits: 8 },
  ...{ hidden: 128, ffn: 256, layers: 1, heads: 4, kvHeads: 2, headDim: 32, vocab: 300 },
};
const checkpoint = randomCheckpoint(shape, 1);

let folder = "";
let nWritten = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-rope-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function stateOf(choices: Partial<GgufChoices>, contextLength?: number): Promise<number[]> {
  const path = join(folder, `${nWritten++}.gguf`);
  await writeFile(
    path,
    await ggufBytes(checkpoint, { ternary: { kind: "packed", packing: "i2_s" }, ...choices }),
  );
  const model = await BitNet.load(path, {
    backend: "reference",
    ...(contextLength ? { contextLength } : {}),
  });
  try {
    const { embeddings } = await model.embed([[5, 6, 7, 8, 9, 10]], { pooling: "last" });
    return Array.from(embeddings[0] ?? []);
  } finally {
    await model.dispose();
  }
}

const linear = {
  "llama.rope.scaling.type": { type: "string", value: "linear" },
  "llama.rope.scaling.factor": { type: "f32", value: 4 },
} as const;
const divisors = (...values: number[]) => ({
  extra: { "rope_freqs.weight": Float32Array.from({ length: 16 }, (_, i) => values[i % values.length] ?? 1) },
});

describe("rope_freqs", () => {
  it("divides frequencies: by four everywhere is linear scaling by four", async () => {
    const usual = await stateOf({});
    expect(await stateOf(divisors(1))).toEqual(usual);
    const stretched = await stateOf({ metadata: linear });
    expect(stretched).not.toEqual(usual);
    expect(await stateOf(divisors(4))).toEqual(stretched);
    expect(await stateOf(divisors(1, 8))).not.toEqual(stretched);
  });

  it("is refused beside another rule, of a wrong size, and with values that are no divisors", async () => {
    await expect(stateOf({ ...divisors(4), metadata: linear })).rejects.toThrow(/rope_freqs.*linear/);
    const short = { extra: { "rope_freqs.weight": new Float32Array(8).fill(1) } };
    await expect(stateOf(short)).rejects.toThrow(/rope_freqs\.weight" is 1 × 8.*1 × 16/);
    for (const wrong of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      await expect(stateOf(divisors(1, wrong))).rejects.toThrow(/divisor 1 is/);
  });
});

describe("rope_factors", () => {
  const list = (divisor: number) => new Float32Array(16).fill(divisor);
  const longRope = (original: number, attention?: number): Partial<GgufChoices> => ({
    extra: { "rope_factors_long.weight": list(4), "rope_factors_short.weight": list(2) },
    metadata: {
      "llama.rope.scaling.type": { type: "string", value: "longrope" },
      "llama.rope.scaling.original_context_length": { type: "u32", value: original },
      ...(attention === undefined
        ? {}
        : { "llama.rope.scaling.attn_factor": { type: "f32", value: attention } }),
    },
  });

  it("divide frequencies by one list up to the context of training, and by the other beyond", async () => {
    const [two, four] = [await stateOf(divisors(2)), await stateOf(divisors(4))];
    expect(two).not.toEqual(four);
    expect(await stateOf(longRope(40))).toEqual(four); // the context is 100
    expect(await stateOf(longRope(40), 40)).toEqual(two);
    expect(await stateOf(longRope(100))).toEqual(two);
    expect(await stateOf(longRope(100, 1.5))).not.toEqual(two);
  });

  it("are refused without a rule that says from where on, and missing, in words", async () => {
    const { extra } = longRope(40);
    await expect(stateOf({ extra: extra ?? {} })).rejects.toThrow(/rope_factors_short\.weight.*longrope/);
    const { metadata } = longRope(40);
    await expect(stateOf({ metadata: metadata ?? {} })).rejects.toThrow(
      /rope_factors_short\.weight" is missing/,
    );
  });
});
