/**
 * Hundreds of damaged models, the same ones every time, through the public API: metadata, tensor infos, weights, JSON files. Each ends
 * in a BitNetError, or loads and generates, or fails with NUMERIC_FAILURE while generating; never in another error, in a crash of the
 * native backend, or late. A crash takes the process with it and leaves the mutant behind in the folder for temporary files.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { byteStringsFrom, type GgufValue } from "@bitnet.ts/core";
import { nativeAllocations } from "@bitnet.ts/native";
import { BitNet, BitNetError } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GgufChoices, ggufBytes } from "./checkpoint-gguf.ts";
import { hfFiles } from "./checkpoint-hf.ts";
import { type CheckpointShape, randomCheckpoint } from "./random-checkpoint.ts";
import { seededIntegers } from "./seeded.ts";
import { usableIsas } from "./tiny-model.ts";

const shape: CheckpointShape = {
  family: "bitnet-b1.58",
  ...{ hidden: 64, ffn: 96, layers: 1, heads: 2, kvHeads: 1, headDim: 32, vocab: 270, tokens: 265 },
  ...{ context: 64, theta: 10000, eps: 1e-5, isTied: false, embeddingBits: 8 },
};
const checkpoint = randomCheckpoint(shape, 17);
const slowestMs = 10_000;
const hasNative = usableIsas().length > 0;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-load-fuzz-"));
});
afterAll(() => rm(folder, { recursive: true }));

type Files = ReadonlyMap<string, Uint8Array>;

interface Tally {
  generated: number;
  refused: number;
  numeric: number;
  /** Messages of refusals without their numbers and names: how many different checks were reached. */
  messages: Set<string>;
}

/** What became of one damaged model. */
async function tryFiles(files: Files, index: number, tally: Tally): Promise<void> {
  const place = join(folder, String(index));
  await mkdir(place);
  for (const [name, bytes] of files) await writeFile(join(place, name), bytes);
  const start = performance.now();
  try {
    const backend = hasNative && index % 4 !== 0 ? "native" : "reference";
    const model = await BitNet.load(place, { backend, threads: 2 });
    try {
      const tokens = model.tokenizer.encode("ab", { bos: model.tokenizer.addBos });
      const { ids } = await model.generate(tokens, { maxTokens: 2, seed: 1, ignoreEos: true }).result;
      expect(ids.length).toBeLessThanOrEqual(2);
      tally.generated++;
    } finally {
      await model.dispose();
    }
  } catch (error) {
    if (!(error instanceof BitNetError)) throw error;
    expect(error.code).not.toBe("INTERNAL");
    expect(error.message.length).toBeLessThan(2000);
    if (error.code === "NUMERIC_FAILURE") tally.numeric++;
    else tally.refused++;
    tally.messages.add(`${error.code} ${error.message.replaceAll(/"[^"]*"|[\d.]+|\/\S*/g, "#")}`);
  }
  expect(performance.now() - start).toBeLessThan(slowestMs);
  await rm(place, { recursive: true });
}

type Random = () => number;
type Mutant = (random: Random) => Promise<Files> | Files;

async function fuzz(mutant: Mutant, seed: number, count: number): Promise<Tally> {
  const tally: Tally = { generated: 0, refused: 0, numeric: 0, messages: new Set() };
  const random = seededIntegers(seed);
  for (let i = 0; i < count; i++) {
    try {
      await tryFiles(await mutant(random), i, tally);
    } catch (error) {
      throw new Error(`mutant ${i} of seed ${seed} ended in ${String(error)}`, { cause: error });
    }
  }
  return tally;
}

/** @param list Not empty. */
function pick<T>(list: readonly T[], random: Random): T {
  return list[random() % list.length] as T;
}

const attackNumbers = [
  0n,
  1n,
  2n,
  3n,
  63n,
  65n,
  128n,
  4096n,
  2n ** 20n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
].concat([2n ** 32n, 2n ** 40n, 2n ** 53n, 2n ** 62n, 2n ** 63n, 2n ** 64n - 1n]);

const attackValues: readonly (GgufValue | undefined)[] = [
  undefined,
  ...[0, 1, 2, 3, 7, 31, 33, 64, 4096, 2 ** 20, 2 ** 31, 2 ** 32 - 1].map(
    (value) => ({ type: "u32", value }) as const,
  ),
  ...[0n, 2n, 2n ** 40n, 2n ** 63n, 2n ** 64n - 1n].map((value) => ({ type: "u64", value }) as const),
  ...[-1, -(2 ** 31)].map((value) => ({ type: "i32", value }) as const),
  ...[0, -1, 1e-38, 0.999, 1.5, 3e38, Number.NaN, Number.POSITIVE_INFINITY].map(
    (value) => ({ type: "f32", value }) as const,
  ),
  { type: "f64", value: 5e-324 },
  { type: "bool", value: true },
  ...[
    "",
    "none",
    "yarn",
    "linear",
    "llama-bpe",
    "bitnet-25",
    "{{ bos_token }}",
    "{% for %}",
    "x".repeat(70_000),
  ].map((value) => ({ type: "string", value }) as const),
  { type: "array", of: "string", value: byteStringsFrom([]) },
  { type: "array", of: "string", value: byteStringsFrom(["a", "b b", "\u0000"]) },
  { type: "array", of: "u32", value: Uint32Array.of(2, 1) },
  { type: "array", of: "i32", value: new Int32Array(shape.tokens).fill(3) },
  { type: "array", of: "u64", value: BigUint64Array.of(5n) },
  { type: "array", of: "bool", value: Uint8Array.of(1) },
];

const arch = "bitnet-b1.58";
const metadataKeys = [
  ...["context_length", "embedding_length", "block_count", "feed_forward_length", "vocab_size"],
  ...["attention.head_count", "attention.head_count_kv", "attention.key_length", "rope.dimension_count"],
  ...["attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor"],
]
  .map((key) => `${arch}.${key}`)
  .concat(["general.architecture", "general.name", "tokenizer.chat_template"])
  .concat(
    [
      "model",
      "pre",
      "tokens",
      "token_type",
      "merges",
      "bos_token_id",
      "eos_token_id",
      "eot_token_id",
      "add_bos_token",
    ].map((key) => `tokenizer.ggml.${key}`),
  );

const ggufStores: readonly GgufChoices[] = [
  { ternary: { kind: "packed", packing: "i2_s" } },
  { ternary: { kind: "packed", packing: "iq2_bn" }, embedding: "q8_0", norm: "f16" },
  { ternary: { kind: "masters", type: "f16" }, embedding: "bf16" },
];

const oneFile = (bytes: Uint8Array): Files => new Map([["model.gguf", bytes]]);

// Both outcomes and many different checks must occur, or the mutants test little.
describe("GGUF", () => {
  it("other metadata", async () => {
    const mutant: Mutant = async (random) => {
      const metadata: Record<string, GgufValue | undefined> = {};
      for (let n = random() % 2; n >= 0; n--)
        metadata[pick(metadataKeys, random)] = pick(attackValues, random);
      return oneFile(await ggufBytes(checkpoint, { ...pick(ggufStores, random), metadata }));
    };
    const tally = await fuzz(mutant, 1, 180);
    expect(tally.generated).toBeGreaterThan(8);
    expect(tally.messages.size).toBeGreaterThan(60);
  });

  it("other tensor infos", async () => {
    const files = await Promise.all(ggufStores.map((choices) => ggufBytes(checkpoint, choices)));
    const tally = await fuzz((random) => oneFile(withOtherInfo(pick(files, random), random)), 2, 120);
    expect(tally.generated).toBeGreaterThan(1);
    expect(tally.messages.size).toBeGreaterThan(15);
  });

  it("other weights", async () => {
    const files = await Promise.all(ggufStores.map((choices) => ggufBytes(checkpoint, choices)));
    const tally = await fuzz((random) => oneFile(withOtherData(pick(files, random), random)), 3, 60);
    expect(tally.generated).toBeGreaterThan(10);
    expect(tally.numeric).toBeGreaterThan(10);
  });
});

const tensorNames = ["token_embd", "output", "output_norm"].concat(
  ["attn_norm", "attn_q", "attn_v", "attn_output", "attn_sub_norm", "ffn_gate", "ffn_down"].map(
    (name) => `blk.0.${name}`,
  ),
);
const typeIds = [0, 1, 2, 3, 8, 14, 30, 34, 35, 36, 38, 39, 42, 134, 135, 200, 2 ** 32 - 1];

/** A tensor's entry: its name, the number of dimensions, the dimensions, type and offset. */
function withOtherInfo(file: Uint8Array, random: Random): Uint8Array {
  const copy = Buffer.from(file);
  const name = `${pick(tensorNames, random)}.weight`;
  const at = copy.indexOf(name, 0, "latin1") + name.length;
  const nDimensions = copy.readUInt32LE(at);
  const typeAt = at + 4 + 8 * nDimensions;
  switch (random() % 5) {
    case 0:
      copy.writeBigUInt64LE(pick(attackNumbers, random), at + 4 + 8 * (random() % nDimensions));
      break;
    case 1:
      copy.writeUInt32LE(pick(typeIds, random), typeAt);
      break;
    case 2:
      copy.writeBigUInt64LE(pick(attackNumbers, random), typeAt + 4);
      break;
    case 3:
      copy.writeBigUInt64LE(32n * BigInt(random() % (copy.length >> 5)), typeAt + 4);
      break;
    default:
      copy[at - 1 - (random() % name.length)] = random() & 127;
  }
  return copy;
}

/** Infinities, NaN and noise anywhere behind the header, of which the last info is that of the head. */
function withOtherData(file: Uint8Array, random: Random): Uint8Array {
  const copy = Buffer.from(file);
  const start = copy.lastIndexOf("output.weight", undefined, "latin1") + 64;
  for (let n = random() % 12; n >= 0; n--) {
    const at = start + (random() % (copy.length - start - 4));
    if (n % 4 === 0) copy.writeUInt32LE(pick([0x7f800000, 0xffc00000, 0x7c007c00, 0x7f807f80], random), at);
    else copy[at] = random();
  }
  return copy;
}

const attackJson: readonly unknown[] = [
  ...[
    undefined,
    null,
    true,
    false,
    0,
    1,
    2,
    3,
    -1,
    0.5,
    64,
    65,
    1e308,
    2 ** 53,
    "",
    "x",
    "64",
    "F32",
    "BF16",
  ],
  ...["U8", [], {}, [1], [64, 64], [0, 0], { a: 1 }, "<|eot_id|>", "none", "autobitlinear", ["<|eot_id|>"]],
];

/** Replaces, removes or adds one member somewhere inside. */
function withOtherMember(value: unknown, random: Random): unknown {
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  if (keys.length === 0 || random() % 8 === 0) return pick(attackJson, random);
  const key = pick(keys, random);
  const entries = Object.entries(value as object).map(([name, member]) =>
    name === key
      ? ([name, random() % 2 ? withOtherMember(member, random) : pick(attackJson, random)] as const)
      : ([name, member] as const),
  );
  return Array.isArray(value) ? entries.map(([, member]) => member) : Object.fromEntries(entries);
}

function withOtherJson(bytes: Uint8Array, random: Random): Uint8Array {
  const json = JSON.stringify(withOtherMember(JSON.parse(Buffer.from(bytes).toString()), random));
  return Buffer.from(json ?? "");
}

/** The header of a safetensors file, its length in front. */
function withOtherHeader(file: Uint8Array, random: Random): Uint8Array {
  const length = Number(Buffer.from(file).readBigUInt64LE());
  const header = withOtherJson(file.subarray(8, 8 + length), random);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([prefix, header, file.subarray(8 + length)]);
}

describe("Hugging Face folders", () => {
  const kinds = [
    hfFiles(checkpoint, { ternary: "multiplies", floats: "bf16" }),
    hfFiles(checkpoint, { ternary: "divides", floats: "f32", shards: 2 }),
    hfFiles(checkpoint, { ternary: "masters", floats: "f16" }),
  ];

  it("other JSON files", async () => {
    const mutant: Mutant = (random) => {
      const files = new Map(pick(kinds, random));
      const names = [...files.keys()].filter((name) => name.endsWith(".json"));
      const name = random() % 2 ? "config.json" : pick(names, random);
      files.set(name, withOtherJson(files.get(name) ?? new Uint8Array(), random));
      return files;
    };
    const tally = await fuzz(mutant, 4, 120);
    expect(tally.generated).toBeGreaterThan(12);
    expect(tally.messages.size).toBeGreaterThan(40);
  });

  it("other tensor headers", async () => {
    const mutant: Mutant = (random) => {
      const files = new Map(pick(kinds, random));
      const name = pick(
        [...files.keys()].filter((each) => each.endsWith(".safetensors")),
        random,
      );
      files.set(name, withOtherHeader(files.get(name) ?? new Uint8Array(), random));
      return files;
    };
    const tally = await fuzz(mutant, 5, 80);
    expect(tally.messages.size).toBeGreaterThan(25);
  });

  it("missing files, and bytes that are flipped or cut off", async () => {
    const mutant: Mutant = (random) => {
      const files = new Map(pick(kinds, random));
      const name = pick([...files.keys()], random);
      const bytes = Buffer.from(files.get(name) ?? []);
      const way = random() % 3;
      for (let n = 0; way === 0 && n < 3; n++) bytes[random() % Math.min(bytes.length, 3000)] = random();
      if (way === 2) files.delete(name);
      else files.set(name, way === 0 ? bytes : bytes.subarray(0, random() % bytes.length));
      return files;
    };
    const tally = await fuzz(mutant, 6, 60);
    expect(tally.generated).toBeGreaterThan(3);
    expect(tally.messages.size).toBeGreaterThan(8);
  });
});

it.skipIf(!hasNative)("leaves no native memory behind", () => {
  expect(nativeAllocations().bytes).toBe(0);
});
