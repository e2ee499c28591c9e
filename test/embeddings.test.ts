/**
 * Embeddings: the same bits alone and in a batch, on every backend; what an independent forward pass in f64 gives; and what the model's own files
 * say about pooling, dense layers and prompts.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { BitNet, cosineSimilarity, type EmbeddingResult } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GgufChoices, ggufBytes } from "./checkpoint-gguf.ts";
import { hfFiles, safetensors } from "./checkpoint-hf.ts";
import { naiveStates } from "./naive-bitnet.ts";
import {
  type Checkpoint,
  type CheckpointShape,
  randomCheckpoint,
  randomTokens,
} from "./random-checkpoint.ts";
import { seededIntegers } from "./seeded.ts";
import { usableIsas } from "./tiny-model.ts";

const shape: CheckpointShape = {
  family: "qwen3",
  hasInnerNorms: true,
  context: 100,
  theta: 10000,
  eps: 1e-6,
  tokens: 300,
  isTied: true,
  embeddingBits: 8,
  ...{ hidden: 192, ffn: 200, layers: 2, heads: 3, kvHeads: 1, headDim: 48, vocab: 300 },
};
const gemma: CheckpointShape = {
  ...shape,
  ...{ family: "gemma3", layers: 3, window: { size: 4, pattern: 3, theta: 500 } },
};

let folder = "";
let nWritten = 0;
const models: BitNet[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-embeddings-"));
});
afterAll(async () => {
  for (const model of models) await model.dispose();
  await rm(folder, { recursive: true });
});

type Files = Readonly<Record<string, object | Uint8Array>>;

async function load(path: string, isa?: string): Promise<BitNet> {
  const model = await BitNet.load(path, {
    ...(isa === undefined ? { backend: "reference" } : { isa: isa as "scalar", threads: 2 }),
    kvType: "f32",
    onNotice: () => {},
  });
  models.push(model);
  return model;
}

/** A Hugging Face folder of packed weights with further files. */
async function folderOf(checkpoint: Checkpoint, extra: Files = {}, config: object = {}): Promise<string> {
  const place = join(folder, String(nWritten++));
  const files = hfFiles(checkpoint, { ternary: "multiplies", floats: "f32", config: { ...config } });
  for (const [name, value] of [...files, ...Object.entries(extra)]) {
    await mkdir(dirname(join(place, name)), { recursive: true });
    await writeFile(join(place, name), value instanceof Uint8Array ? value : JSON.stringify(value));
  }
  return place;
}

async function ggufOf(checkpoint: Checkpoint, choices: Partial<GgufChoices> = {}): Promise<string> {
  const path = join(folder, `${nWritten++}.gguf`);
  const ternary = { kind: "packed", packing: "i2_s" } as const;
  await writeFile(path, await ggufBytes(checkpoint, { ternary, embedding: "f32", ...choices }));
  return path;
}

const transformers = "sentence_transformers.models";
const module = (idx: number, type: string, path = "") => ({ idx, name: String(idx), path, type });
const chain = (...types: string[]) =>
  types.map((type, i) => module(i, `${transformers}.${type}`, i === 0 ? "" : `${i}_${type}`));

/** Texts of very different lengths; some begin alike, and two are equal. */
function raggedTexts(n: number, most: number): string[] {
  const random = seededIntegers(7);
  const letters = "etaoin shrdlu";
  const made = Array.from({ length: n - 1 }, (_, i) => {
    const length = 1 + (random() % most);
    const text = Array.from({ length }, () => letters[random() % letters.length]).join("");
    return i % 4 === 0 ? `the same beginning of all these texts ${text}`.slice(0, most) : text;
  });
  return [...made, made[0] ?? ""];
}

const bits = ({ embeddings }: Pick<EmbeddingResult, "embeddings">) =>
  embeddings.map(({ buffer, byteOffset, byteLength }) =>
    Buffer.from(buffer, byteOffset, byteLength).toString("hex"),
  );

describe("a batch of 64 ragged texts has the bits of one at a time", () => {
  const texts = raggedTexts(64, 60);
  const checkpoint = randomCheckpoint(shape, 3);

  it.each(["mean", "last", "cls"] as const)("pooled by %s", async (pooling) => {
    const path = await ggufOf(checkpoint);
    const reference = await load(path);
    const whole = await reference.embed(texts, { pooling });
    expect(whole.embeddings).toHaveLength(64);
    expect(whole.promptTokens).toBeGreaterThan(64 * 10);
    const expected = bits(whole);
    if (pooling !== "cls") expect(new Set(expected).size).toBe(63);
    const alone: string[] = [];
    for (const text of texts.slice(0, 6))
      alone.push(...bits(await (await load(path)).embed(text, { pooling })));
    expect(alone).toEqual(expected.slice(0, 6));
    for (const isa of usableIsas()) {
      const native = await load(path, isa);
      expect(bits(await native.embed(texts, { pooling })), isa).toEqual(expected);
      const singly: string[] = [];
      for (const text of texts) singly.push(...bits(await native.embed(text, { pooling })));
      expect(singly, `${isa}, one at a time`).toEqual(expected);
    }
  });

  it("also beside a generation, and with a cache of few pages", async () => {
    const path = await ggufOf(checkpoint);
    const expected = bits(await (await load(path)).embed(texts, { pooling: "mean" }));
    const model = await BitNet.load(path, {
      kvType: "f32",
      cacheTokens: 128,
      contextLength: 100,
      onNotice: () => {},
    });
    models.push(model);
    const generation = model.generate("some text that goes on", { maxTokens: 50, ignoreEos: true, seed: 1 });
    expect(bits(await model.embed(texts, { pooling: "mean" }))).toEqual(expected);
    expect((await generation.result).ids).toHaveLength(50);
  });
});

describe.each([
  ["the Qwen3 shape with norms in its projections", shape],
  ["the Gemma3 shape with norms in its projections", gemma],
])("%s", (_name, each) => {
  const checkpoint = randomCheckpoint(each, 5);
  // None of its values lies at the border between two int8 steps (shapes.test.ts).
  const tokens = randomTokens(checkpoint, 7, 5);
  const states = naiveStates(checkpoint, tokens);

  it.each(["folder", "gguf"])("embeds as the equations say, from a %s", async (kind) => {
    const model = await load(kind === "gguf" ? await ggufOf(checkpoint) : await folderOf(checkpoint));
    expect(model.info).toMatchObject({ pooling: "last", embeddingSize: 192, canGenerate: true });
    const last = await model.embed([tokens], { normalize: false });
    expect(far(last.embeddings[0], states.at(-1))).toBeLessThan(1e-5);
    const mean = await model.embed([tokens], { normalize: false, pooling: "mean" });
    expect(far(mean.embeddings[0], meanOf(states))).toBeLessThan(1e-5);
    const first = await model.embed([tokens], { normalize: false, pooling: "cls" });
    expect(far(first.embeddings[0], states[0])).toBeLessThan(1e-5);
    const unit = await model.embed([tokens], { dimensions: 64 });
    const cut = states.at(-1)?.slice(0, 64) ?? [];
    const length = Math.hypot(...cut);
    expect(
      far(
        unit.embeddings[0],
        cut.map((value) => value / length),
      ),
    ).toBeLessThan(1e-5);
  });
});

const meanOf = (rows: readonly number[][]) =>
  (rows[0] ?? []).map((_, i) => rows.reduce((sum, row) => sum + (row[i] ?? 0), 0) / rows.length);

/** Largest difference, in units of the root of the mean square. */
function far(found: Float32Array | undefined, exact: readonly number[] = []): number {
  expect(found).toHaveLength(exact.length);
  const size = Math.sqrt(exact.reduce((sum, value) => sum + value * value, 0) / exact.length);
  return Math.max(...exact.map((value, i) => Math.abs((found?.[i] ?? Number.NaN) - value))) / size;
}

describe("what the files say", () => {
  const checkpoint = randomCheckpoint({ ...shape, layers: 1 }, 9);
  const pooling = (mode: string, rest: object = {}) => ({
    word_embedding_dimension: 192,
    pooling_mode_cls_token: false,
    pooling_mode_mean_tokens: false,
    ...{ [`pooling_mode_${mode}`]: true, ...rest },
  });

  it.each([
    ["mean_tokens", "mean"],
    ["lasttoken", "last"],
    ["cls_token", "cls"],
  ])("modules.json: %s", async (mode, expected) => {
    const extra = { "modules.json": chain("Transformer", "Pooling"), "1_Pooling/config.json": pooling(mode) };
    const model = await load(await folderOf(checkpoint, extra));
    const result = await model.embed("text");
    expect(result.pooling).toBe(expected);
    expect(bits(result)).toEqual(
      bits(await model.embed("text", { pooling: result.pooling, normalize: false })),
    );
  });

  it("the newer spelling, and a Normalize", async () => {
    const list = [
      module(0, "sentence_transformers.base.modules.transformer.Transformer"),
      module(1, "sentence_transformers.sentence_transformer.modules.pooling.Pooling", "1_Pooling"),
      module(2, "sentence_transformers.sentence_transformer.modules.normalize.Normalize", "2_Normalize"),
    ];
    const extra = { "modules.json": list, "1_Pooling/config.json": { pooling_mode: "mean" } };
    const model = await load(await folderOf(checkpoint, extra));
    const { embeddings, pooling: found } = await model.embed("text");
    expect(found).toBe("mean");
    expect(Math.hypot(...(embeddings[0] ?? []))).toBeCloseTo(1, 6);
  });

  it.each([
    [1, "mean"],
    [2, "cls"],
    [3, "last"],
    [0, "last"],
  ])("GGUF pooling_type %i", async (type, expected) => {
    const metadata = { "qwen3.pooling_type": { type: "u32", value: type } } as const;
    const model = await load(await ggufOf(checkpoint, { metadata }));
    expect(model.info.pooling).toBe(expected);
  });

  it.each([
    ["1_Pooling/config.json", pooling("max_tokens"), /max_tokens/],
    [
      "1_Pooling/config.json",
      pooling("lasttoken", { pooling_mode_mean_tokens: true }),
      /mean_tokens and lasttoken/,
    ],
    ["modules.json", chain("Transformer", "Pooling", "LSTM"), /models\.LSTM/],
    ["modules.json", chain("Transformer"), /no Pooling/],
    ["2_Dense/config.json", { activation_function: "torch.nn.modules.activation.Tanh" }, /activation\.Tanh/],
  ])("refuses by name what is unknown: %s %#", async (name, value, message) => {
    const extra = {
      "modules.json": chain("Transformer", "Pooling", "Dense"),
      "1_Pooling/config.json": pooling("mean_tokens"),
      "2_Dense/config.json": {},
      ...{ [name]: value },
    };
    const model = await load(await folderOf(checkpoint, extra));
    expect(model.info.pooling).toBeNull();
    await expect(model.embed("text")).rejects.toThrow(message);
    // It still completes texts.
    expect((await model.generate("text", { maxTokens: 1, ignoreEos: true }).result).ids).toHaveLength(1);
  });

  it("a reranker is refused by name", async () => {
    const metadata = { "qwen3.pooling_type": { type: "u32", value: 4 } } as const;
    const model = await load(await ggufOf(checkpoint, { metadata }));
    await expect(model.embed("text")).rejects.toThrow(/reranker/);
  });

  it("dense layers", async () => {
    const random = seededIntegers(1);
    const values = (n: number) => Float32Array.from({ length: n }, () => ((random() % 65) - 32) / 64);
    const stored = (floats: Float32Array, dims: number[]) =>
      ({ dtype: "F32", shape: dims, bytes: new Uint8Array(floats.buffer) }) as const;
    const [w1, b1, w2] = [values(40 * 192), values(40), values(24 * 40)];
    const extra = {
      "modules.json": chain("Transformer", "Pooling", "Dense", "Dense"),
      "1_Pooling/config.json": pooling("mean_tokens"),
      "2_Dense/config.json": { activation_function: "torch.nn.modules.linear.Identity" },
      "2_Dense/model.safetensors": safetensors(
        new Map([
          ["linear.weight", stored(w1, [40, 192])],
          ["linear.bias", stored(b1, [40])],
        ]),
      ),
      "3_Dense/config.json": {},
      "3_Dense/model.safetensors": safetensors(new Map([["linear.weight", stored(w2, [24, 40])]])),
    };
    const model = await load(await folderOf(checkpoint, extra));
    expect(model.info.embeddingSize).toBe(24);
    const tokens = randomTokens(checkpoint, 3, 5);
    const through = (w: Float32Array, x: number[], bias?: Float32Array) =>
      Array.from({ length: w.length / x.length }, (_, row) =>
        x.reduce((sum, value, i) => sum + value * (w[row * x.length + i] ?? 0), bias?.[row] ?? 0),
      );
    const exact = through(w2, through(w1, meanOf(naiveStates(checkpoint, tokens)), b1));
    const { embeddings, dimensions } = await model.embed([tokens]);
    expect(dimensions).toBe(24);
    expect(far(embeddings[0], exact)).toBeLessThan(1e-5);
  });

  it("prompts, and a mean that leaves them out", async () => {
    const prompts = { prompts: { query: "find: ", document: "" }, default_prompt_name: null };
    const extra = {
      "modules.json": chain("Transformer", "Pooling"),
      "config_sentence_transformers.json": prompts,
      "1_Pooling/config.json": pooling("mean_tokens", { include_prompt: false }),
    };
    const model = await load(await folderOf(checkpoint, extra));
    const check = async (options: object, prefix: string) => {
      const ids = model.tokenizer.encode(`${prefix}a thing`, { bos: true });
      const from = model.tokenizer.encode(prefix, { bos: true }).length;
      const states: number[][] = [];
      for (let end = from + 1; end <= ids.length; end++)
        states.push([
          ...((await model.embed([ids.subarray(0, end)], { pooling: "last" })).embeddings[0] ?? []),
        ]);
      const { embeddings } = await model.embed("a thing", options);
      expect(far(embeddings[0], meanOf(states))).toBeLessThan(1e-6);
    };
    await check({ prompt: "query" }, "find: ");
    await check({ instruction: "find" }, "Instruct: find\nQuery:");
    await expect(model.embed("a thing", { prompt: "quest" })).rejects.toThrow(
      /no prompt "quest".*query, document/,
    );
  });

  it("a class without a head embeds and does not generate", async () => {
    const untied = { architectures: ["Qwen3Model"], tie_word_embeddings: false };
    const model = await load(await folderOf(checkpoint, {}, untied));
    expect(model.info.canGenerate).toBe(false);
    expect((await model.embed("text")).embeddings).toHaveLength(1);
    expect(() => model.generate("text")).toThrow(/no head to generate with/);
  });

  it("the end token of the files goes behind every text", async () => {
    const metadata = { "tokenizer.ggml.add_eos_token": { type: "bool", value: true } } as const;
    const model = await load(await ggufOf(checkpoint, { metadata }));
    const { tokenizer } = model;
    const ids = [...tokenizer.encode("a text", { bos: true }), tokenizer.eosIds[0] ?? 0];
    expect(bits(await model.embed("a text"))).toEqual(bits(await model.embed([ids])));
    const long = "word ".repeat(90);
    await expect(model.embed(["short", long])).rejects.toMatchObject({
      code: "CONTEXT_EXCEEDED",
      details: { index: 1 },
    });
    const cut = [...tokenizer.encode(long, { bos: true }).subarray(0, 99), tokenizer.eosIds[0] ?? 0];
    expect(bits(await model.embed(long, { truncate: true }))).toEqual(bits(await model.embed([cut])));
  });
});

describe("results", () => {
  const checkpoint = randomCheckpoint({ ...shape, layers: 1 }, 2);
  let model: BitNet;
  beforeAll(async () => {
    model = await load(await ggufOf(checkpoint));
  });

  it("in int8 and in bits", async () => {
    const { embeddings } = await model.embed(["one text", "another"]);
    const int8 = await model.embed(["one text", "another"], { quantize: "int8" });
    const binary = await model.embed(["one text", "another"], { quantize: "binary" });
    const [exact, steps, packed] = [embeddings[0], int8.embeddings[0], binary.embeddings[0]];
    const scale = int8.scales?.[0] ?? 0;
    expect(Math.max(...(steps ?? []).map(Math.abs))).toBe(127);
    exact?.forEach((value, i) => {
      expect(Math.abs((steps?.[i] ?? 0) * scale - value)).toBeLessThanOrEqual(scale * 0.5001);
      expect(((packed?.[i >> 3] ?? 0) >> (7 - (i % 8))) & 1).toBe(value > 0 ? 1 : 0);
    });
    expect(packed).toHaveLength(192 / 8);
    const signs = embeddings.map((vector) => Float32Array.from(vector, (value) => (value > 0 ? 1 : -1)));
    const [a, b] = binary.embeddings;
    expect(cosineSimilarity(a ?? [], b ?? [])).toBeCloseTo(
      cosineSimilarity(signs[0] ?? [], signs[1] ?? []),
      12,
    );
    await expect(model.embed("x", { quantize: "binary", dimensions: 100 })).rejects.toThrow(/multiple of 8/);
  });

  it("cosine", () => {
    expect(cosineSimilarity([1, 0], [0, 2])).toBe(0);
    expect(cosineSimilarity([3, 4], [6, 8])).toBeCloseTo(1, 12);
    expect(cosineSimilarity([1, 1], [-2, -2])).toBeCloseTo(-1, 12);
    expect(cosineSimilarity([0, 0], [1, 1])).toBe(0);
    expect(() => cosineSimilarity([1], [1, 2])).toThrow(/lengths 1 and 2/);
    expect(() => cosineSimilarity(Uint8Array.of(1), Int8Array.of(1))).toThrow(/one kind/);
  });

  it("ranks texts by their cosine with the query", async () => {
    const texts = ["the weather", "a cat", "the cats", "stock market", "a cat"];
    const { embeddings } = await model.embed(["a cat", ...texts]);
    const [query, ...vectors] = embeddings;
    const ranking = await model.rank("a cat", texts);
    expect(ranking.slice(0, 2).map(({ index }) => index)).toEqual([1, 4]);
    expect(ranking.map(({ index }) => index).sort()).toEqual([0, 1, 2, 3, 4]);
    for (const { index, score } of ranking)
      expect(score).toBe(cosineSimilarity(query ?? [], vectors[index] ?? []));
    expect(ranking.map(({ score }) => score)).toEqual(
      ranking.map(({ score }) => score).sort((a, b) => b - a),
    );
    expect(await model.rank("a cat", [])).toEqual([]);
  });

  it.each([
    [{ pooling: "max" }, /pooling: expected one of mean, last, cls/],
    [{ dimensions: 193 }, /from 1 to 192, found 193/],
    [{ normalise: true }, /normalise: no such option.*normalize/],
    [{ quantize: "int4" }, /quantize: expected one of/],
    [{ instruction: "a", prompt: "b" }, /not both/],
  ])("refuses %j", async (options, message) => {
    await expect(model.embed("text", options as object)).rejects.toThrow(message);
  });

  it("refuses texts that are none", async () => {
    await expect(model.embed([1, 2] as never)).rejects.toThrow(/text 0: expected a text.*a number/);
    await expect(model.embed(["a", [999]])).rejects.toThrow(/token 0 is 999/);
    await expect(model.embed(undefined as never)).rejects.toThrow(/expected a text or a list/);
    expect(await model.embed([])).toMatchObject({ embeddings: [], promptTokens: 0 });
  });

  it("can be aborted, and then runs no more", async () => {
    const ending = new AbortController();
    const running = model.embed(raggedTexts(64, 60), { signal: ending.signal });
    ending.abort();
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
    expect(model.stats()).toMatchObject({ running: 0, waiting: 0 });
    await expect(model.embed("text", { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
  });
});
