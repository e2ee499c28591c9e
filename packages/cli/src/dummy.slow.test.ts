import {
  bytesSource,
  describeModel,
  openModelFiles,
  readTokenizer,
  tritHistogram,
  writeGguf,
} from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { dummyGguf } from "./dummy-model.ts";
import {
  countWeights,
  type DummyShape,
  dummyPackings,
  dummyShapes,
  planTensors,
  tensorBytes,
} from "./dummy-shapes.ts";
import { embeddingChunks, ternaryChunks } from "./dummy-tensors.ts";
import { makeVocabulary } from "./dummy-vocabulary.ts";
import { RandomBits } from "./random-bits.ts";

function shapeOf(name: string): DummyShape {
  const found = dummyShapes.find((shape) => shape.name === name);
  if (found === undefined) throw new Error(`no shape ${name}`);
  return found;
}

function join(chunks: Iterable<Uint8Array>): Uint8Array {
  return Buffer.concat(Array.from(chunks, (chunk) => Buffer.from(chunk)));
}

describe("shapes", () => {
  it("have the sizes that they are called by", () => {
    const tensors = planTensors(shapeOf("2b-4t"));
    expect(tensors.length).toBe(332);
    expect(countWeights(tensors)).toBe(2_412_820_480);
    for (const shape of dummyShapes) {
      const [, digits, unit] = /(?:^|-)([\d.]+)([mb])/.exec(shape.name) ?? [];
      const nominal = Number(digits) * (unit === "m" ? 1e6 : 1e9);
      const ratio = countWeights(planTensors(shape)) / nominal;
      expect(ratio, shape.name).toBeGreaterThan(0.8);
      expect(ratio, shape.name).toBeLessThan(1.25);
    }
  });

  it("refuse what a packing cannot hold, with the tensor and the reason", () => {
    const total = (name: string, packing: "i2_s" | "tq2_0") =>
      planTensors(shapeOf(name)).reduce((sum, tensor) => sum + tensorBytes(tensor, packing), 0);
    expect(total("3b", "i2_s")).toBeGreaterThan(0);
    expect(() => total("3b", "tq2_0")).toThrow(/"blk\.0\.attn_q\.weight" cannot be stored as tq2_0.*256/);
    expect(() => total("1.3b", "tq2_0")).toThrow(/"blk\.0\.ffn_down\.weight"/);
  });
});

describe("tensors", () => {
  // More than one chunk, and a last one that ends inside a pair of words.
  const shape = { rows: 4099, cols: 1280 };

  it.each(dummyPackings)("%s holds a third each of −1, 0, +1 and nothing else", (packing) => {
    const bytes = join(ternaryChunks(packing, [shape.rows, shape.cols], new RandomBits(1, 2)));
    const { minus, zero, plus, invalid } = tritHistogram(packing, bytes, shape);
    const total = shape.rows * shape.cols;
    expect(bytes.length).toBe(
      tensorBytes({ name: "w", shape: [shape.rows, shape.cols], kind: "ternary" }, packing),
    );
    expect(invalid).toBe(0);
    for (const count of [minus, zero, plus]) expect(Math.abs(count / total - 1 / 3)).toBeLessThan(0.01);
  });

  it("depend on seed and stream only", () => {
    const bytes = (seed: number, stream: number) =>
      join(ternaryChunks("i2_s", [128, 128], new RandomBits(seed, stream)));
    expect(bytes(1, 2)).toEqual(bytes(1, 2));
    expect(bytes(1, 2)).not.toEqual(bytes(2, 2));
    expect(bytes(1, 2)).not.toEqual(bytes(1, 3));
  });

  it("embeddings are finite and about normal", () => {
    const bytes = join(embeddingChunks(101, 333, new RandomBits(3, 0)));
    expect(bytes.length).toBe(101 * 333 * 2);
    const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
    expect(halves.every((half) => (half & 0x7c00) !== 0x7c00)).toBe(true);
    expect(new Set(halves).size).toBeGreaterThan(1000);
  });
});

describe("vocabulary", () => {
  it.each([32000, 32002, 128256])("of %i has no token twice and a merge for every word", (size) => {
    const { tokens, types, merges, bosId, eosId, eotId } = makeVocabulary(size);
    const known = new Set(tokens);
    expect([tokens.length, types.length, known.size]).toEqual([size, size, size]);
    const nControl = types.filter((type) => type === 3).length;
    expect(merges.length).toBe(size - 256 - nControl);
    for (const merge of merges) {
      const [left = "", right = ""] = merge.split(" ");
      expect(known.has(left) && known.has(right) && known.has(left + right)).toBe(true);
    }
    expect([tokens[bosId], tokens[eosId], tokens[eotId]]).toEqual([
      "<|begin_of_text|>",
      "<|end_of_text|>",
      "<|eot_id|>",
    ]);
    if (size === 128256) expect([bosId, eosId, eotId]).toEqual([128000, 128001, 128009]);
  });

  it("too small is an error", () => {
    expect(() => makeVocabulary(200)).toThrow(/too small/);
  });
});

describe("checkpoint", () => {
  const small: DummyShape = {
    ...shapeOf("125m"),
    nLayers: 1,
    hiddenSize: 256,
    ffnSize: 512,
    nHeads: 4,
    nKvHeads: 2,
  };

  it.each(dummyPackings)("in %s opens with configuration and tokenizer", async (packing) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of writeGguf(dummyGguf(small, packing, 5))) chunks.push(chunk.slice());
    const source = bytesSource(Buffer.concat(chunks), "dummy.gguf");
    const files = await openModelFiles({ kind: "file", source });
    const { config, tensors } = describeModel(files, "dummy.gguf");
    expect(config).toMatchObject({
      hiddenSize: 256,
      ffnSize: 512,
      nLayers: 1,
      nHeads: 4,
      nKvHeads: 2,
      vocabSize: 32000,
    });
    expect([...tensors.keys()]).toEqual(planTensors(small).map(({ name }) => name));
    expect(tensors.get("blk.0.attn_k.weight")?.type).toBe(packing);
    const tokenizer = readTokenizer(files, config);
    const text = "Hello there, 12 wörlds!\n";
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(tokenizer.encode(" the").length).toBeLessThan(4);
    expect(tokenizer.eosIds).toEqual([31998, 31999]);
  });

  it("can bear the name that llama.cpp opens", () => {
    const { metadata } = dummyGguf(small, "tq2_0", 5, "bitnet");
    expect(metadata.get("general.architecture")?.value).toBe("bitnet");
    expect(metadata.get("bitnet.embedding_length")?.value).toBe(256);
    expect([...metadata.keys()].filter((key) => key.startsWith("bitnet-b1.58."))).toEqual([]);
  });
});
