import { describe, expect, test } from "vitest";
import { bytesSource } from "../../base/byte-source.ts";
import { stringAt } from "../../base/byte-strings.ts";
import { entry, errorOf, f32, info, rawGguf, text, u32, u64, watched } from "../raw-bytes.test.fixture.ts";
import { readTensor } from "../tensor.ts";
import { openGguf } from "./open-gguf.ts";
import {
  metadataBoolean,
  metadataNumber,
  metadataNumbers,
  metadataString,
  metadataStrings,
} from "./values.ts";

const open = (bytes: Uint8Array, options = {}) => openGguf(bytesSource(bytes), options);
const failure = (bytes: Uint8Array, options = {}) => errorOf(() => open(bytes, options));

describe("metadata", () => {
  const everyType = [
    entry("u8", 0, [200]),
    entry("i8", 1, [200]),
    entry("u16", 2, [1, 2]),
    entry("i16", 3, [255, 255]),
    entry("u32", 4, u32(4_000_000_000)),
    entry("i32", 5, u32(-5)),
    entry("f32", 6, f32(0.5)),
    entry("bool", 7, [1]),
    entry("string", 8, text("naïve \u{1f600}")),
    entry("u64", 10, u64(2n ** 63n)),
    entry("i64", 11, u64(-7n)),
    entry("f64", 12, [...new Uint8Array(Float64Array.of(0.1).buffer)]),
    entry("strings", 9, [...u32(8), ...u64(3), ...text("a"), ...text(""), ...text("ß")]),
    entry("i32s", 9, [...u32(5), ...u64(2), ...u32(-1), ...u32(7)]),
    entry("u64s", 9, [...u32(10), ...u64(1), ...u64(9)]),
    entry("bools", 9, [...u32(7), ...u64(2), 0, 1]),
    entry("none", 9, [...u32(6), ...u64(0)]),
  ];

  test.each([2, 3])("of every type, version %i", async (version) => {
    const { metadata, version: found } = await open(rawGguf({ version, metadata: everyType }));
    expect(found).toBe(version);
    expect([...metadata.keys()].length).toBe(everyType.length);
    expect(metadata.get("u8")).toEqual({ type: "u8", value: 200 });
    expect(metadata.get("i8")).toEqual({ type: "i8", value: -56 });
    expect(metadata.get("u16")).toEqual({ type: "u16", value: 513 });
    expect(metadata.get("i16")).toEqual({ type: "i16", value: -1 });
    expect(metadata.get("u32")).toEqual({ type: "u32", value: 4_000_000_000 });
    expect(metadata.get("i32")).toEqual({ type: "i32", value: -5 });
    expect(metadata.get("f32")).toEqual({ type: "f32", value: 0.5 });
    expect(metadata.get("u64")).toEqual({ type: "u64", value: 2n ** 63n });
    expect(metadata.get("f64")).toEqual({ type: "f64", value: 0.1 });
    expect(metadata.get("bools")).toEqual({ type: "array", of: "bool", value: Uint8Array.of(0, 1) });
    expect(metadata.get("u64s")).toEqual({ type: "array", of: "u64", value: BigUint64Array.of(9n) });
    expect(metadata.get("none")).toEqual({ type: "array", of: "f32", value: new Float32Array(0) });
  });

  test("typed look-ups give the value, undefined, or an error that names the key", async () => {
    const { metadata } = await open(rawGguf({ metadata: everyType }));
    expect(metadataNumber(metadata, "i64")).toBe(-7);
    expect(metadataNumber(metadata, "f32")).toBe(0.5);
    expect(metadataString(metadata, "string")).toBe("naïve \u{1f600}");
    expect(metadataBoolean(metadata, "bool")).toBe(true);
    expect(metadataNumbers(metadata, "i32s")).toEqual(Int32Array.of(-1, 7));
    const strings = metadataStrings(metadata, "strings");
    expect([0, 1, 2].map((i) => strings && stringAt(strings, i))).toEqual(["a", "", "ß"]);
    for (const lookUp of [
      metadataNumber,
      metadataString,
      metadataBoolean,
      metadataStrings,
      metadataNumbers,
    ]) {
      expect(lookUp(metadata, "absent")).toBeUndefined();
    }
    expect((await errorOf(() => metadataNumber(metadata, "u64"))).message).toMatch(/"u64".*within ±2\^53/);
    expect((await errorOf(() => metadataStrings(metadata, "i32s"))).message).toBe(
      'gguf: metadata "i32s": expected an array of strings, found an array of i32',
    );
    expect((await errorOf(() => metadataNumbers(metadata, "strings"))).code).toBe("FORMAT_INVALID");
    expect((await errorOf(() => metadataString(metadata, "u8"))).code).toBe("FORMAT_INVALID");
    expect((await errorOf(() => metadataBoolean(metadata, "u8"))).code).toBe("FORMAT_INVALID");
    expect((await errorOf(() => metadataNumber(metadata, "string"))).code).toBe("FORMAT_INVALID");
  });

  test("arrays longer than a window", async () => {
    const n = 100_000;
    const words = Array.from({ length: n }, (_, i) => `word ${i}`);
    const array = [...u32(8), ...u64(n)];
    for (const word of words) array.push(...text(word));
    const ids = [...u32(5), ...u64(n)];
    for (let i = 0; i < n; i++) ids.push(...u32(-i));
    const file = rawGguf({ metadata: [entry("words", 9, array), entry("ids", 9, ids)] });
    const { source, counts } = watched(bytesSource(file));
    const { metadata } = await openGguf(source);
    const found = metadataStrings(metadata, "words");
    expect(found?.count).toBe(n);
    expect(words.findIndex((word, i) => found && stringAt(found, i) !== word)).toBe(-1);
    expect(metadataNumbers(metadata, "ids")?.findIndex((id, i) => id !== -i)).toBe(-1);
    expect(counts.reads).toBeLessThan(12);
    expect(counts.bytes).toBeLessThan(1.2 * file.length);
  });
});

describe("tensors", () => {
  const two = {
    metadata: [entry("k", 8, text("v"))],
    tensors: [info("w", [128, 2], 36, 96), info("norm", [20], 0, 0)],
    dataBytes: 192,
  };

  test("have row-major shapes, types and ranges, in file order; headers are all that is read", async () => {
    const file = rawGguf(two);
    const { source, counts } = watched(bytesSource(file));
    const { tensors } = await openGguf(source);
    const dataStart = file.length - 192;
    expect([...tensors.values()]).toEqual([
      { name: "w", shape: [2, 128], type: "i2_s", source, offset: dataStart + 96, byteLength: 96 },
      { name: "norm", shape: [20], type: "f32", source, offset: dataStart, byteLength: 80 },
    ]);
    const readBefore = counts.reads;
    const [w] = tensors.values();
    expect(w && (await readTensor(w))).toEqual(file.subarray(dataStart + 96));
    expect(counts.reads).toBe(readBefore + 1);
  });

  test.each([
    ["128/32", "i2_s"],
    ["64/16", "i2_s_64"],
  ] as const)("I2_S as %s is %s", async (i2sLayout, type) => {
    const { tensors } = await open(rawGguf(two), { i2sLayout });
    expect(tensors.get("w")?.type).toBe(type);
  });

  test.each([
    ["q2_0", 64, 18],
    ["q2_0_128", 128, 34],
  ] as const)("number 42 is %s where blocks of %d fill the room", async (type, weights, blockBytes) => {
    const dims = [1024, 4];
    const dataBytes = (4096 / weights) * blockBytes;
    const file = rawGguf({
      tensors: [info("t", dims, 42, 0), info("a", [8], 0, dataBytes)],
      dataBytes: dataBytes + 32,
    });
    expect((await open(file)).tensors.get("t")).toMatchObject({ type, byteLength: dataBytes });
  });

  test("I2_S rows4 needs rows in fours; other shapes are listed as not readable", async () => {
    const { tensors } = await open(rawGguf(two), { i2sLayout: "rows4" });
    const w = tensors.get("w");
    expect(w?.type).toMatchObject({ unknown: 36 });
    expect((await errorOf(() => w && readTensor(w))).message).toMatch(
      /tensor "w" is of type 36.*groups of 4 rows/,
    );
  });

  test.each([
    ["Q3_K", 11, [256], 110, /Q3_K/],
    ["TL1", 38, [128], 64, /TL1 is a tiled lookup layout/],
    ["TL2", 39, [128], 64, /TL2 is a tiled lookup layout/],
    ["MXFP4", 39, [128], 68, /MXFP4/],
    ["TL2 by its other number", 42, [1024], 256, /TL2 is a tiled/],
    ["a number from the future", 4711, [64], 50, /unknown GGUF tensor type/],
    ["TQ2_0 of broken rows", 35, [128, 2], 66, /columns in multiples of 256/],
    ["Q6_K of broken rows", 14, [128, 2], 210, /do not fill blocks/],
  ] as const)(
    "%s is listed, and refused with the reason when it is asked for",
    async (_, id, dims, dataBytes, reason) => {
      const file = rawGguf({
        tensors: [info("a", [1], 0, 0), info("t", dims, id, 32)],
        dataBytes: 32 + dataBytes,
      });
      const tensor = (await open(file)).tensors.get("t");
      expect(tensor?.type).toMatchObject({ unknown: id });
      expect(tensor?.byteLength).toBe(dataBytes);
      const error = await errorOf(() => tensor && readTensor(tensor));
      expect(error.code).toBe("FORMAT_UNSUPPORTED");
      expect(error.message).toMatch(reason);
    },
  );

  test("a truncated file names the tensor, what it needs and what is missing", async () => {
    const file = rawGguf({ tensors: [info("blk.3.ffn_up.weight", [2560, 6912], 36, 0)], dataBytes: 64 });
    const needed = (2560 * 6912) / 4 + 32;
    const { code, message } = await failure(file.subarray(0, -1));
    expect(code).toBe("FORMAT_TRUNCATED");
    expect(message).toBe(
      `gguf: tensor "blk.3.ffn_up.weight" needs 4,423,712 bytes, but the file ends ${(needed - 63).toLocaleString("en-US")} bytes early; the download may be incomplete`,
    );
  });

  test("the general.alignment of the file counts", async () => {
    const alignment = entry("general.alignment", 4, u32(64));
    const file = { metadata: [alignment], tensors: [info("a", [16], 0, 64)], dataBytes: 128, alignment: 64 };
    const { tensors } = await open(rawGguf(file));
    expect((tensors.get("a")?.offset ?? 1) % 64).toBe(0);
    const error = await failure(rawGguf({ ...file, tensors: [info("a", [16], 0, 32)] }));
    expect(error.message).toMatch(/tensor "a" starts at 32, expected a multiple of 64/);
  });
});

describe("files of another kind", () => {
  const bytesOf = (content: string) => new TextEncoder().encode(content);

  test.each([
    [
      "an HTML page",
      bytesOf("<!DOCTYPE html><html><head>"),
      /expected a GGUF file, found a web page \("<!DOCTYPE html/,
    ],
    ["text", bytesOf("hello\nworld"), /found text \("hello"\)/],
    [
      "a Git LFS pointer",
      bytesOf("version https://git-lfs.github.com/spec/v1\noid"),
      /found a Git LFS pointer/,
    ],
    ["nothing", new Uint8Array(0), /found an empty file/],
    ["three bytes of GGUF", bytesOf("GGU"), /found text \("GGU"\)/],
    ["binary", Uint8Array.of(1, 2, 3, 255), /found bytes 01 02 03 ff/],
    ["a safetensors file", Uint8Array.of(100, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x22), /found a safetensors file/],
  ])("%s", async (_, bytes, message) => {
    const error = await failure(bytes);
    expect(error.code).toBe("FORMAT_INVALID");
    expect(error.message).toMatch(message);
  });

  test("big-endian files, version 1, versions to come", async () => {
    expect((await failure(rawGguf({ version: 0x03000000 }))).message).toMatch(/big-endian/);
    expect((await failure(rawGguf({ version: 1 }))).message).toMatch(/version 1, expected 2 or 3/);
    expect((await failure(rawGguf({ version: 4 }))).code).toBe("FORMAT_UNSUPPORTED");
  });
});

describe("split models", () => {
  const part = (no: number, count: number, tensor: string, extra: readonly (readonly number[])[] = []) =>
    rawGguf({
      metadata: [entry("split.no", 2, [no, 0]), entry("split.count", 2, [count, 0]), ...extra],
      tensors: [info(tensor, [8], 0, 0)],
      dataBytes: 32,
    });
  const total = (n: number) => entry("split.tensors.count", 5, u32(n));
  const names = ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"];

  function folder(parts: Record<string, Uint8Array>, path = "") {
    const sources = new Map(
      Object.entries(parts).map(([name, bytes]) => [name, watched(bytesSource(bytes, path + name))] as const),
    );
    const openSibling = async (name: string) => sources.get(name)?.source ?? null;
    const start = (name: string) =>
      openGguf(sources.get(name)?.source ?? bytesSource(new Uint8Array(0)), { openSibling });
    return { sources, start };
  }

  const good = {
    [names[0] as string]: part(0, 3, "a", [total(3)]),
    [names[1] as string]: part(1, 3, "b"),
    [names[2] as string]: part(2, 3, "c"),
  };

  test("any part opens all, and closing closes all", async () => {
    for (const name of names) {
      const { start, sources } = folder(good, "/some/where/");
      const gguf = await start(name);
      expect([...gguf.tensors.keys()]).toEqual(["a", "b", "c"]);
      expect(metadataNumber(gguf.metadata, "split.no")).toBe(0);
      await gguf.close();
      expect([...sources.values()].map(({ counts }) => counts.closed)).toEqual([1, 1, 1]);
    }
  });

  test.each([
    [
      "a missing part",
      { [names[2] as string]: undefined },
      "FILE_NOT_FOUND",
      /"m-00003-of-00003.gguf".*missing/,
    ],
    [
      "a wrong number",
      { [names[1] as string]: part(2, 3, "b") },
      "FORMAT_INVALID",
      /part 2 of 3, expected 1 of 3/,
    ],
    ["a wrong count", { [names[1] as string]: part(1, 4, "b") }, "FORMAT_INVALID", /part 1 of 4/],
    [
      "a tensor in two parts",
      { [names[1] as string]: part(1, 3, "a") },
      "FORMAT_INVALID",
      /"a" is in two parts/,
    ],
    [
      "a wrong total",
      { [names[0] as string]: part(0, 3, "a", [total(4)]) },
      "FORMAT_INVALID",
      /hold 3 tensors, but split.tensors.count is 4/,
    ],
    [
      "a broken part",
      { [names[2] as string]: new Uint8Array(9) },
      "FORMAT_INVALID",
      /m-00003-of-00003.gguf: expected/,
    ],
  ])("%s is refused, and what was opened is closed", async (_, change, code, message) => {
    const parts = Object.fromEntries(
      Object.entries({ ...good, ...change }).filter(([, bytes]) => bytes !== undefined),
    );
    const { start, sources } = folder(parts as Record<string, Uint8Array>);
    const error = await errorOf(() => start(names[0] as string));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(sources.get(names[1] as string)?.counts.closed).toBe(1);
    expect(sources.get(names[0] as string)?.counts.closed).toBe(0);
  });

  test("a part under another name, or alone, is refused", async () => {
    const [first = new Uint8Array()] = Object.values(good);
    const renamed = errorOf(() =>
      openGguf(bytesSource(first, "model.gguf"), { openSibling: async () => null }),
    );
    expect((await renamed).message).toMatch(/"model.gguf" is part 1 of 3.*-00001-of-00003.gguf/);
    const alone = await errorOf(() => openGguf(bytesSource(first, names[0])));
    expect(alone.code).toBe("FORMAT_UNSUPPORTED");
    expect(alone.message).toMatch(/part 1 of 3 of a split model/);
  });
});
