import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { bytesSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";
import { openGguf } from "../formats/gguf/open-gguf.ts";
import type { GgufValue } from "../formats/gguf/values.ts";
import { type GgufTensorInput, writeGguf } from "../formats/gguf/write-gguf.ts";
import { openPath } from "../formats/model-files.node.ts";
import { type ModelFiles, openModelFiles } from "../formats/model-files.ts";
import { readTensor } from "../formats/tensor.ts";
import type { PackingId, Scale } from "../packing/packing.ts";
import { packings } from "../packing/registry.ts";
import { compareModels } from "./compare.ts";
import type { Conversion, ConversionOptions } from "./conversion.ts";
import { planConversion } from "./convert.ts";
import type { ConversionTarget } from "./targets.ts";

const path = (name: string) => new URL(`../../../../${name}`, import.meta.url).pathname;
const tiny = path("test/golden/tiny.gguf");
const golden = (name: string) => path(`test/golden/${name}`);

/** The files of a conversion by name; "" for the one file. */
async function collect({ files }: Pick<Conversion, "files">): Promise<Map<string, Uint8Array>> {
  const collected = new Map<string, Uint8Array>();
  for (const { name, pieces } of files) {
    const chunks: Uint8Array[] = [];
    for await (const piece of pieces) chunks.push(Uint8Array.from(piece));
    collected.set(name ?? "", Buffer.concat(chunks));
  }
  return collected;
}

/** A path, the bytes of a GGUF file, or the files of a folder. */
type Source = string | Uint8Array | Map<string, Uint8Array>;

const opened: ModelFiles[] = [];
afterEach(async () => {
  for (const files of opened.splice(0)) await files.close();
});

async function open(source: Source): Promise<ModelFiles> {
  const files = await openAny(source);
  opened.push(files);
  return files;
}

async function openAny(source: Source): Promise<ModelFiles> {
  if (typeof source === "string") return openModelFiles(await openPath(source));
  if (source instanceof Uint8Array) return openModelFiles({ kind: "file", source: bytesSource(source) });
  const file = source.get("");
  if (file !== undefined) return openModelFiles({ kind: "file", source: bytesSource(file) });
  const openFile = async (name: string) => {
    const bytes = source.get(name);
    return bytes === undefined ? null : bytesSource(bytes, name);
  };
  return openModelFiles({ kind: "folder", name: "folder", open: openFile });
}

async function convert(source: Source, to: ConversionTarget, options: ConversionOptions = {}) {
  return collect(await planConversion(await open(source), "source", to, options));
}

async function errorOf(action: () => Promise<unknown>): Promise<BitNetError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof BitNetError) return error;
    throw error;
  }
  throw new Error("expected a BitNetError, but the call succeeded");
}

const sameBytes = (a: Uint8Array | undefined, b: Uint8Array | undefined) =>
  Buffer.compare(a ?? Buffer.alloc(0), b ?? Buffer.alloc(1)) === 0;

describe("files of an independent implementation convert into each other", () => {
  test("masters and I2_S into its packed folder, byte for byte", async () => {
    const expected = readFileSync(golden("hf-packed/model.safetensors"));
    const fromMasters = (await convert(golden("hf-bf16"), "hf-packed")).get("model.safetensors");
    expect(sameBytes(fromMasters, expected)).toBe(true);
    // The I2_S file has its embedding in f16, which loses the smallest values; all that follows it is the same.
    const fromI2s = (await convert(tiny, "hf-packed")).get("model.safetensors");
    const embedding = 8 + Number(expected.readBigUInt64LE()) + 2 * 2048 * 256;
    expect(sameBytes(fromI2s?.subarray(embedding), expected.subarray(embedding))).toBe(true);
  });

  test("its TQ2_0 file into TQ1_0, or I2_S, and back, byte for byte", async () => {
    const original = readFileSync(golden("tiny-tq2_0.gguf"));
    for (const between of ["tq1_0", "i2_s"] as const)
      expect(
        sameBytes(
          (await convert(await convert(golden("tiny-tq2_0.gguf"), between), "tq2_0")).get(""),
          original,
        ),
      ).toBe(true);
  });

  test.each(["tq1_0", "tq2_0"] as const)("its I2_S file into the tensors of its %s file", async (to) => {
    const ours = await openGguf(bytesSource((await convert(tiny, to)).get("") ?? new Uint8Array()));
    const theirs = await open(golden(`tiny-${to}.gguf`));
    if (theirs.kind !== "gguf") throw new Error("expected a GGUF file");
    expect([...ours.tensors.keys()]).toEqual([...theirs.gguf.tensors.keys()]);
    for (const [name, tensor] of theirs.gguf.tensors) {
      const own = ours.tensors.get(name);
      expect(own && sameBytes(await readTensor(own), await readTensor(tensor))).toBe(true);
    }
  });

  test("hf-bf16 → i2_s → hf-packed → tq2_0 → i2_s gives the first file again", async () => {
    const first = await convert(golden("hf-bf16"), "i2_s");
    const last = await convert(await convert(await convert(first, "hf-packed"), "tq2_0"), "i2_s");
    expect(sameBytes(last.get(""), first.get(""))).toBe(true);
  });

  test("what is written runs with the same weights, whichever way it went", async () => {
    for (const to of ["tq1_0", "hf-packed", "hf-bf16"] as const) {
      const [before, after] = [await open(tiny), await open(await convert(tiny, to))];
      const found = await compareModels({ files: before, name: "a" }, { files: after, name: "b" });
      expect(found).toEqual({
        nTrits: 3_014_656,
        nScales: 28,
        nRoundedScales: 0,
        nReordered: 0,
        changedTables: [],
      });
    }
  });
});

describe("the tokenizer and the template are carried over", () => {
  test("from a folder into metadata", async () => {
    const { metadata } = await openGguf(
      bytesSource((await convert(golden("hf-packed"), "i2_s")).get("") ?? new Uint8Array()),
    );
    const original = await open(tiny);
    if (original.kind !== "gguf") throw new Error("expected a GGUF file");
    for (const [key, value] of original.gguf.metadata)
      if (key !== "general.name") expect([key, metadata.get(key)]).toEqual([key, value]);
    expect(metadata.get("tokenizer.ggml.pre")?.value).toBe("llama-bpe");
  });

  test("the template of Microsoft's file that no model was trained with is replaced", async () => {
    const original = await open(tiny);
    if (original.kind !== "gguf") throw new Error("expected a GGUF file");
    const wrong = new Map(original.gguf.metadata).set("tokenizer.chat_template", {
      type: "string",
      value: "{% for m in messages %}Human: {{ m.content }} BITNETAssistant: {% endfor %}",
    });
    const tensors = Array.from(
      original.gguf.tensors.values(),
      (tensor): GgufTensorInput => ({
        name: tensor.name,
        shape: tensor.shape,
        type: tensor.type as PackingId,
        data: () => readTensor(tensor),
      }),
    );
    const file = await collect({
      files: [{ name: null, pieces: writeGguf({ metadata: wrong, tensors }) }],
    });
    for (const to of ["tq2_0", "hf-packed"] as const) {
      const written = await convert(file, to);
      const text = Buffer.from(written.get("tokenizer_config.json") ?? written.get("") ?? "").toString(
        "latin1",
      );
      expect(text).not.toContain("BITNETAssistant");
      expect(text).toContain("capitalize");
    }
  });
});

/** A file of a family that does not matter here: a table and one ternary matrix [rows, cols] with a scale per 64 or 128 columns. */
async function groupFile(
  packing: PackingId,
  trits: Int8Array,
  shape: { rows: number; cols: number },
  scale: Scale,
): Promise<Uint8Array> {
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "some-family" }],
  ]);
  const tensors: GgufTensorInput[] = [
    { name: "token_embd.weight", shape: [4, 8], type: "f16", data: () => new Uint8Array(64).fill(7) },
    {
      name: "blk.0.ffn_up.weight",
      shape: [shape.rows, shape.cols],
      type: packing,
      data: () => packings[packing].pack(trits, shape, scale),
    },
  ];
  const collected = await collect({ files: [{ name: null, pieces: writeGguf({ metadata, tensors }) }] });
  return collected.get("") ?? new Uint8Array();
}

describe("scales for groups", () => {
  const shape = { rows: 64, cols: 512 };
  const trits = Int8Array.from(
    { length: 64 * 512 },
    (_, i) => ((Math.imul(i + 5, 0x9e3779b1) >>> 11) % 3) - 1,
  );
  const pairs = (size: number) =>
    Float32Array.from({ length: (64 * 512) / size }, (_, i) => 2 ** -(Math.floor((i * size) / 128) % 7));

  test.each(["q2_0", "q2_0_128"] as const)(
    "%s → pq2_0 → ptq1_0 → pq2_0 gives the same file",
    async (from) => {
      const size = from === "q2_0" ? 64 : 128;
      const first = await convert(
        await groupFile(from, trits, shape, { kind: "group", size, values: pairs(size) }),
        "pq2_0",
      );
      const last = await convert(await convert(first, "ptq1_0"), "pq2_0");
      expect(sameBytes(last.get(""), first.get(""))).toBe(true);
      const { tensors } = await openGguf(bytesSource(first.get("") ?? new Uint8Array()));
      const tensor = tensors.get("blk.0.ffn_up.weight");
      const bytes = tensor && (await readTensor(tensor));
      expect(tensor?.type).toBe("pq2_0");
      expect(bytes && packings.pq2_0.readScale(bytes, shape)).toEqual({
        kind: "group",
        size: 128,
        values: pairs(128),
      });
    },
  );

  test("that differ are refused where one must do, with the numbers; those that are equal are not", async () => {
    const file = await groupFile("pq2_0", trits, shape, { kind: "group", size: 128, values: pairs(128) });
    const error = await errorOf(() => convert(file, "tq2_0"));
    expect(error.code).toBe("FORMAT_UNSUPPORTED");
    expect(error.message).toBe(
      'tensor "blk.0.ffn_up.weight": tq2_0 holds one scale for 256 columns, but here every 128 columns have their own: ' +
        "row 0, columns 0 to 127 have 1, row 0, columns 128 to 255 have 0.5; choose a format that holds such scales: q2_0, pq2_0, ptq1_0",
    );
    expect((await errorOf(() => convert(file, "i2_s"))).message).toContain("one scale for the whole tensor");
    const values = Float32Array.from({ length: 256 }, (_, i) => 2 ** -(Math.floor(i / 2) % 7));
    const equal = await groupFile("pq2_0", trits, shape, { kind: "group", size: 128, values });
    expect((await convert(equal, "tq2_0")).size).toBe(1);
  });

  test("a group of zeros fits beside any other", async () => {
    const withZeros = trits.slice().fill(0, 0, 128);
    const values = new Float32Array(256).fill(0.5);
    values[0] = 0;
    const file = await groupFile("pq2_0", withZeros, shape, { kind: "group", size: 128, values });
    expect((await convert(file, "tq2_0")).size).toBe(1);
    values[0] = 0.25;
    const nonzero = await groupFile("pq2_0", trits, shape, { kind: "group", size: 128, values });
    expect((await errorOf(() => convert(nonzero, "tq2_0"))).code).toBe("FORMAT_UNSUPPORTED");
  });

  test("zeros do not fit Q1_0; a binary tensor does, and comes back", async () => {
    const values = pairs(128);
    const ternary = await groupFile("pq2_0", trits, shape, { kind: "group", size: 128, values });
    expect((await errorOf(() => convert(ternary, "q1_0"))).message).toMatch(/blk\.0\.ffn_up\.weight.*is 0/);
    const binary = trits.map((trit) => (trit < 0 ? -1 : 1));
    const file = await groupFile("pq2_0", binary, shape, { kind: "group", size: 128, values });
    expect(
      sameBytes(
        (await convert(await convert(file, "q1_0"), "pq2_0")).get(""),
        (await convert(file, "pq2_0")).get(""),
      ),
    ).toBe(true);
  });
});

describe("what cannot be", () => {
  test("a tensor of a folder that nothing reads is refused by name, before anything is written", async () => {
    const files = new Map(await convert(tiny, "hf-packed"));
    const weights = await openAny(files);
    const bias = { name: "model.layers.0.self_attn.q_proj.bias", shape: [4], type: "f32" } as const;
    if (weights.kind !== "hf") throw new Error("no folder");
    const tensors = new Map([
      ...weights.tensors,
      [bias.name, { ...bias, source: bytesSource(new Uint8Array(16), "bias"), offset: 0, byteLength: 16 }],
    ]);
    const error = await errorOf(() => planConversion({ ...weights, tensors }, "source", "i2_s"));
    expect(error).toMatchObject({ code: "MODEL_INVALID", details: { tensors: [bias.name], count: 1 } });
  });

  test("columns that do not fill blocks are refused by name", async () => {
    const shape = { rows: 4, cols: 384 };
    const file = await groupFile("pq2_0", new Int8Array(4 * 384), shape, { kind: "tensor", value: 1 });
    expect((await errorOf(() => convert(file, "tq1_0"))).message).toMatch(
      /^tensor "blk\.0\.ffn_up\.weight": tq1_0: .*multiples of 256; formats .* fill: i2_s, q1_0, q2_0, pq2_0, ptq1_0, hf-packed, hf-bf16$/,
    );
  });

  test("scales that bf16 masters cannot give are refused with the nearest that they can", async () => {
    const files = await convert(tiny, "hf-packed");
    const odd = await groupless(0.1);
    expect(files.size).toBeGreaterThan(1);
    expect((await errorOf(() => convert(odd, "hf-bf16"))).message).toMatch(
      /0\.1\d* is not a positive bf16 number/,
    );
  });
});

/** The tiny model with another scale in one tensor. */
async function groupless(scale: number): Promise<Uint8Array> {
  const bytes = Uint8Array.from(readFileSync(tiny));
  const { tensors } = await openGguf(bytesSource(bytes));
  const tensor = tensors.get("blk.0.attn_q.weight");
  if (tensor === undefined) throw new Error("no such tensor");
  new DataView(bytes.buffer).setFloat32(tensor.offset + tensor.byteLength - 32, scale, true);
  return bytes;
}

test.each(["bf16", "q8_0", "q6_k", "q4_0"] as const)(
  "the embedding as %s is near what it was",
  async (embeddings) => {
    const written = await convert(tiny, "i2_s", { embeddings });
    const [before, after] = [await open(tiny), await open(written)];
    const found = await compareModels({ files: before, name: "a" }, { files: after, name: "b" });
    expect(found.changedTables).toEqual(embeddings === "bf16" ? [] : ["token_embd.weight"]);
  },
);

test("a difference in one trit or one scale is found", async () => {
  const bytes = Uint8Array.from(readFileSync(tiny));
  const { tensors } = await openGguf(bytesSource(bytes));
  const tensor = tensors.get("blk.2.ffn_down.weight");
  if (tensor === undefined) throw new Error("no such tensor");
  const compare = async (changed: Uint8Array) =>
    errorOf(async () =>
      compareModels({ files: await open(tiny), name: "a" }, { files: await open(changed), name: "b" }),
    );
  const flipped = bytes.slice();
  const at = tensor.offset + 100;
  flipped[at] =
    (flipped[at] ?? 0) ^ (((flipped[at] ?? 0) & 3) === 0 ? 1 : ((flipped[at] ?? 0) & 3) === 1 ? 1 : 3);
  expect((await compare(flipped)).message).toMatch(
    /blk\.2\.ffn_down\.weight" has -?\d at row 0, column \d+, expected/,
  );
  const scaled = bytes.slice();
  new DataView(scaled.buffer).setFloat32(tensor.offset + tensor.byteLength - 32, 3, true);
  expect((await compare(scaled)).message).toMatch(/has the scale 3, expected/);
});
