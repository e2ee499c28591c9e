/**
 * Thousands of damaged model files, the same ones every time. Each must end in a BitNetError, or open as a model whose
 * tensors lie inside the file and can be read. Whatever else happens (a TypeError, a hang, a read outside, memory out of
 * proportion to the file) is a defect.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type ByteSource, bytesSource } from "../base/byte-source.ts";
import { stringAt } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import { toComputeLayout } from "../packing/compute-layout.ts";
import { widenRows } from "../packing/dense.ts";
import type { StoredDenseType } from "../packing/packing.ts";
import { packings } from "../packing/registry.ts";
import { tritHistogram } from "../packing/trit-histogram.ts";
import { openGguf } from "./gguf/open-gguf.ts";
import { metadataStrings } from "./gguf/values.ts";
import { entry, f32, info, rawGguf, rawSafetensors, text, u32, u64 } from "./raw-bytes.test.fixture.ts";
import { openSafetensors } from "./safetensors/open-safetensors.ts";
import { readSafetensors } from "./safetensors/read-safetensors.ts";
import { isPackingId, matrixShape, readTensor, type TensorInfo } from "./tensor.ts";

/** mulberry32: a small generator of the test's own, so that its mutants never change. */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const attackNumbers = [
  0n,
  1n,
  2n,
  31n,
  33n,
  255n,
  65_536n,
  2n ** 24n,
  2n ** 26n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 40n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 61n,
  2n ** 62n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 32n,
  2n ** 64n - 1n,
];

type Mutation = (file: Uint8Array, random: (below: number) => number) => Uint8Array;

const mutations: readonly Mutation[] = [
  function flipBytes(file, random) {
    const copy = file.slice();
    for (let n = random(8); n >= 0; n--) copy[random(copy.length)] = random(256);
    return copy;
  },
  function flipBit(file, random) {
    const copy = file.slice();
    const at = random(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << random(8));
    return copy;
  },
  function truncate(file, random) {
    return file.slice(0, random(file.length));
  },
  function copyWithin(file, random) {
    const from = random(file.length);
    return file.slice().copyWithin(random(file.length), from, from + random(64));
  },
  function removeRange(file, random) {
    const at = random(file.length);
    return concat(file.subarray(0, at), file.subarray(at + 1 + random(32)));
  },
  function insertRange(file, random) {
    const at = random(file.length);
    const from = random(file.length);
    return concat(file.subarray(0, at), file.subarray(from, from + 1 + random(32)), file.subarray(at));
  },
  function attackNumber(file, random) {
    const copy = file.slice();
    writeNumber(copy, random(copy.length - 8), attackNumbers[random(attackNumbers.length)] ?? 0n);
    return copy;
  },
];

function concat(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function writeNumber(bytes: Uint8Array, at: number, value: bigint): void {
  new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(at, value, true);
}

/** A source that lets nobody read outside it, and that limits how much is read in all. */
function guarded(bytes: Uint8Array, name = "mutant"): ByteSource {
  let left = 8 * bytes.length + 4096;
  const source = bytesSource(bytes, name);
  return {
    ...source,
    read(offset, length) {
      left -= length;
      if (left < 0) throw new Error(`read far more than the ${bytes.length} bytes of the file`);
      return source.read(offset, length);
    },
  };
}

async function readEverything(tensor: TensorInfo): Promise<void> {
  const { offset, byteLength, source } = tensor;
  const inside = offset >= 0 && byteLength >= 0 && Number.isSafeInteger(offset + byteLength);
  if (!inside || offset + byteLength > source.size) {
    throw new Error(`tensor "${tensor.name}" lies at ${offset} + ${byteLength}, outside ${source.size}`);
  }
  if (typeof tensor.type !== "string") return;
  const bytes = await readTensor(tensor);
  if (bytes.length !== byteLength)
    throw new Error(`tensor "${tensor.name}" gave ${bytes.length} of ${byteLength} bytes`);
  const shape = matrixShape(tensor.shape);
  if (isPackingId(tensor.type)) {
    packings[tensor.type].readScale(bytes, shape);
    const counts = tritHistogram(tensor.type, bytes, shape);
    const n = counts.minus + counts.zero + counts.plus + counts.invalid;
    if (n !== shape.rows * shape.cols) throw new Error(`tensor "${tensor.name}" has ${n} weights`);
    toComputeLayout(tensor.type, bytes, shape, () => {});
  } else if (tensor.type !== "u8" && tensor.type !== "i8" && byteLength > 0) {
    const out = new Float32Array(shape.rows * shape.cols);
    widenRows(tensor.type satisfies StoredDenseType, bytes, shape.cols, 0, shape.rows, out);
  }
}

interface Tally {
  opened: number;
  refused: number;
  /** Distinct messages, numbers left out: how many different checks the mutants reached. */
  messages: Set<string>;
}

async function tryMutant(tally: Tally, label: string, open: () => Promise<void>): Promise<void> {
  try {
    await open();
    tally.opened++;
  } catch (error) {
    if (!(error instanceof BitNetError))
      throw new Error(`mutant ${label} ended in ${String(error)}`, { cause: error });
    const isExpected = error.code.startsWith("FORMAT_") || error.code === "FILE_NOT_FOUND";
    if (!isExpected) throw new Error(`mutant ${label} ended in ${error.code}: ${error.message}`);
    tally.refused++;
    tally.messages.add(error.message.replace(/"[^"]*"|\d+|[^ -~]/g, "#"));
  }
}

/** The largest typed array that was made since the tests began, in bytes; memory that is never written counts too. */
let largestAllocation = 0;

function watchAllocations(
  name: "Uint8Array" | "Int8Array" | "Uint32Array" | "Int32Array" | "Float32Array",
): void {
  const original = globalThis[name];
  vi.stubGlobal(
    name,
    new Proxy(original, {
      construct(target, args) {
        const [length] = args as [unknown];
        if (typeof length === "number") {
          largestAllocation = Math.max(largestAllocation, length * target.BYTES_PER_ELEMENT);
        }
        return Reflect.construct(target, args);
      },
    }),
  );
}

beforeAll(() => {
  for (const name of ["Uint8Array", "Int8Array", "Uint32Array", "Int32Array", "Float32Array"] as const) {
    watchAllocations(name);
  }
});
afterAll(() => {
  vi.unstubAllGlobals();
  // The largest table of ours (all f16 values) takes 256 KiB, the files themselves under 2.
  expect(largestAllocation).toBeGreaterThan(1000);
  expect(largestAllocation).toBeLessThanOrEqual(2 ** 18);
});

const newTally = (): Tally => ({ opened: 0, refused: 0, messages: new Set() });

async function fuzz(
  file: Uint8Array,
  seed: number,
  count: number,
  open: (bytes: Uint8Array) => Promise<void>,
) {
  const tally = newTally();
  const random = seeded(seed);
  for (let i = 0; i < count; i++) {
    let mutant = file;
    for (let rounds = random(3); rounds >= 0; rounds--) {
      const mutate = mutations[random(mutations.length)];
      if (mutate !== undefined && mutant.length > 8) mutant = mutate(mutant, random);
    }
    await tryMutant(tally, `${i} of seed ${seed}`, () => open(mutant));
  }
  return tally;
}

async function openAndReadGguf(bytes: Uint8Array): Promise<void> {
  const gguf = await openGguf(guarded(bytes));
  for (const tensor of gguf.tensors.values()) await readEverything(tensor);
  const tokens =
    gguf.metadata.get("tokens")?.type === "array" ? metadataStrings(gguf.metadata, "tokens") : undefined;
  if (tokens !== undefined) for (let i = 0; i < tokens.count; i++) stringAt(tokens, i);
}

const plainHeader = {
  metadata: [
    entry("general.architecture", 8, text("bitnet")),
    entry("general.alignment", 4, u32(32)),
    entry("eps", 6, f32(1e-5)),
    entry("flag", 7, [1]),
    entry("big", 10, u64(77)),
    entry("tokens", 9, [...u32(8), ...u64(4), ...text("a"), ...text("bc"), ...text(""), ...text("\u00e9")]),
    entry("types", 9, [...u32(5), ...u64(4), ...u32(1), ...u32(2), ...u32(3), ...u32(-4)]),
    entry("bools", 9, [...u32(7), ...u64(2), 0, 1]),
  ],
  tensors: [
    info("i2_s", [128, 2], 36, 0),
    info("tq1", [256], 34, 96),
    info("tq2", [256], 35, 160),
    info("iq1", [64, 2], 134, 256),
    info("iq2", [64, 2], 135, 288),
    info("f32", [3, 2], 0, 352),
    info("f16", [5], 1, 384),
    info("q8", [32], 8, 416),
    info("q6", [256], 14, 480),
    info("q4", [32], 2, 704),
    info("tl1", [128], 38, 736),
    info("shared", [128], 42, 768),
    info("last", [8], 0, 864),
  ],
  dataBytes: 896,
};
const ggufFile = rawGguf(plainHeader);
const ggufHeaderBytes = ggufFile.length - plainHeader.dataBytes;

const tensorJson = (dtype: string, shape: number[], begin: number, end: number) =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
const safetensorsFile = rawSafetensors(
  `{"__metadata__":{"format":"pt"},"a":${tensorJson("F32", [2, 3], 0, 24)},"w":${tensorJson("U8", [2, 8], 24, 40)},` +
    `"n\\u00e9":${tensorJson("BF16", [4], 40, 48)},"h":${tensorJson("F16", [1, 4], 48, 56)},"i":${tensorJson("I64", [1], 56, 64)}}`,
  64,
);

async function openAndReadSafetensors(bytes: Uint8Array): Promise<void> {
  for (const tensor of (await readSafetensors(guarded(bytes))).values()) await readEverything(tensor);
}

describe("GGUF", () => {
  test("the file itself opens", async () => {
    await openAndReadGguf(ggufFile);
  });

  test("30,000 random mutants", async () => {
    const tally = await fuzz(ggufFile, 1, 30_000, openAndReadGguf);
    // Both outcomes and many different checks must occur, or the mutants test little.
    expect(tally.opened).toBeGreaterThan(1000);
    expect(tally.refused).toBeGreaterThan(4000);
    expect(tally.messages.size).toBeGreaterThan(60);
  });

  test("every attack number at every byte of the header", async () => {
    const tally = newTally();
    for (let at = 0; at + 8 <= ggufHeaderBytes; at += 2) {
      for (const value of attackNumbers) {
        const mutant = ggufFile.slice();
        writeNumber(mutant, at, value);
        await tryMutant(tally, `${value} at ${at}`, () => openAndReadGguf(mutant));
      }
    }
    expect(tally.opened + tally.refused).toBeGreaterThan(8000);
  });

  test("cut off at every byte", async () => {
    const tally = newTally();
    for (let length = 0; length < ggufFile.length; length++) {
      await tryMutant(tally, `cut at ${length}`, () => openAndReadGguf(ggufFile.slice(0, length)));
    }
    expect(tally).toMatchObject({ opened: 0, refused: ggufFile.length });
  });
});

describe("safetensors", () => {
  test("the file itself opens", async () => {
    await openAndReadSafetensors(safetensorsFile);
  });

  test("20,000 random mutants", async () => {
    const tally = await fuzz(safetensorsFile, 2, 20_000, openAndReadSafetensors);
    expect(tally.opened).toBeGreaterThan(100);
    expect(tally.refused).toBeGreaterThan(2000);
    expect(tally.messages.size).toBeGreaterThan(60);
  });

  test("attack numbers as header length, and in place of every number in the header", async () => {
    const tally = newTally();
    const header = new TextDecoder().decode(safetensorsFile.subarray(8, -64));
    for (const value of attackNumbers) {
      const mutant = safetensorsFile.slice();
      writeNumber(mutant, 0, value);
      await tryMutant(tally, `length ${value}`, () => openAndReadSafetensors(mutant));
      for (const { index } of header.matchAll(/\d+/g)) {
        const changed = header.slice(0, index) + header.slice(index).replace(/^\d+/, String(value));
        await tryMutant(tally, `${value} at ${index}`, () =>
          openAndReadSafetensors(rawSafetensors(changed, 64)),
        );
      }
    }
    expect(tally.refused).toBeGreaterThan(200);
  });

  test("cut off at every byte", async () => {
    const tally = newTally();
    for (let length = 0; length < safetensorsFile.length; length++) {
      await tryMutant(tally, `cut at ${length}`, () =>
        openAndReadSafetensors(safetensorsFile.slice(0, length)),
      );
    }
    expect(tally).toMatchObject({ opened: 0, refused: safetensorsFile.length });
  });
});

describe("index and shards", () => {
  const shard = (name: string) => rawSafetensors(`{"${name}":${tensorJson("F32", [2], 0, 8)}}`, 8);
  const index = new TextEncoder().encode(
    '{"metadata":{"total_size":16},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}',
  );
  const openFolder = async (files: Record<string, Uint8Array>) => {
    const opener = async (name: string) =>
      Object.hasOwn(files, name) ? guarded(files[name] ?? index, name) : null;
    for (const tensor of (await openSafetensors(opener)).tensors.values()) await readEverything(tensor);
  };
  const folder = {
    "model.safetensors.index.json": index,
    "1.safetensors": shard("a"),
    "2.safetensors": shard("b"),
  };

  test("the folder itself opens", async () => {
    await openFolder(folder);
  });

  test.each(Object.keys(folder) as (keyof typeof folder)[])("5,000 random mutants of %s", async (name) => {
    const tally = await fuzz(folder[name], 3, 5000, (mutant) => openFolder({ ...folder, [name]: mutant }));
    expect(tally.refused).toBeGreaterThan(1000);
    expect(tally.messages.size).toBeGreaterThan(20);
  });
});
