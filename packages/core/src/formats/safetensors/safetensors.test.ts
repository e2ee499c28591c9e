import { describe, expect, test } from "vitest";
import { type ByteSource, bytesSource } from "../../base/byte-source.ts";
import { errorOf, rawSafetensors, u64, watched } from "../raw-bytes.test.fixture.ts";
import { readTensor } from "../tensor.ts";
import { openSafetensors } from "./open-safetensors.ts";
import { readSafetensors } from "./read-safetensors.ts";

const read = (header: string, dataBytes: number) =>
  readSafetensors(bytesSource(rawSafetensors(header, dataBytes), "m"));
const failure = (header: string, dataBytes: number) => errorOf(() => read(header, dataBytes));
const tensor = (dtype: string, shape: number[], begin: number, end: number) =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

describe("one file", () => {
  test("types, shapes, ranges; nothing but the header is read", async () => {
    const header = `{"__metadata__":{"format":"pt"},
      "a":${tensor("F32", [2, 3], 0, 24)}, "b":${tensor("BF16", [4], 24, 32)}, "c":${tensor("F16", [], 32, 34)},
      "w":${tensor("U8", [2, 5], 34, 44)}, "u":${tensor("U8", [4], 44, 48)}, "i":${tensor("I8", [2, 2], 48, 52)},
      "none":${tensor("F32", [0, 7], 52, 52)}}   `;
    const file = rawSafetensors(header, 60);
    const start = file.length - 60;
    file.fill(7, start);
    const { source, counts } = watched(bytesSource(file));
    const tensors = await readSafetensors(source);
    expect(counts.bytes).toBeLessThan(start + 100);
    expect([...tensors.values()]).toEqual([
      { name: "a", shape: [2, 3], type: "f32", source, offset: start, byteLength: 24 },
      { name: "b", shape: [4], type: "bf16", source, offset: start + 24, byteLength: 8 },
      { name: "c", shape: [], type: "f16", source, offset: start + 32, byteLength: 2 },
      { name: "w", shape: [8, 5], type: "hf_u8", source, offset: start + 34, byteLength: 10 },
      { name: "u", shape: [4], type: "u8", source, offset: start + 44, byteLength: 4 },
      { name: "i", shape: [2, 2], type: "i8", source, offset: start + 48, byteLength: 4 },
      { name: "none", shape: [0, 7], type: "f32", source, offset: start + 52, byteLength: 0 },
    ]);
    const w = tensors.get("w");
    expect(w && (await readTensor(w))).toEqual(new Uint8Array(10).fill(7));
  });

  test.each([
    ["I64", 16, /"t" is of I64, which is not read here: not a type of ternary models/],
    ["U32", 8, /"t" is of U32, which is not read here: MLX packs weights in it; take the model's GGUF file/],
    ["F4", 1, /"t" is of F4/],
    ["Q3", 5, /"t" is of Q3.*unknown safetensors type/],
  ])("%s is listed, and refused when asked for", async (dtype, bytes, message) => {
    const found = (await read(`{"t":${tensor(dtype, [2], 0, bytes)}}`, bytes)).get("t");
    expect(found).toMatchObject({ type: { unknown: dtype }, byteLength: bytes });
    const error = await errorOf(() => found && readTensor(found));
    expect(error.code).toBe("FORMAT_UNSUPPORTED");
    expect(error.message).toMatch(message);
  });

  const good = tensor("F32", [2], 0, 8);
  const attacks: Record<string, [string, number, string, RegExp]> = {
    "a name twice": [`{"t":${good},"t":${good}}`, 8, "FORMAT_INVALID", /the key "t" comes twice/],
    "a field twice": [
      '{"t":{"dtype":"F32","dtype":"U8"}}',
      8,
      "FORMAT_INVALID",
      /the key "dtype" comes twice/,
    ],
    "a range that contradicts the shape": [
      `{"t":${tensor("F32", [3], 0, 8)}}`,
      8,
      "FORMAT_INVALID",
      /holds 8 bytes, but \[3\] of F32 takes 12/,
    ],
    "a range past the end": [
      `{"t":${good}}`,
      5,
      "FORMAT_TRUNCATED",
      /tensor "t" needs 8 bytes, but the file ends 3 bytes early; the download may be incomplete/,
    ],
    "a range backwards": [
      `{"t":${tensor("F32", [2], 8, 0)}}`,
      8,
      "FORMAT_INVALID",
      /ends at 0, before it starts at 8/,
    ],
    "ranges that overlap": [
      `{"a":${good},"b":${tensor("F32", [2], 4, 12)}}`,
      12,
      "FORMAT_INVALID",
      /"a" and "b" overlap/,
    ],
    "one range for two": [`{"a":${good},"b":${good}}`, 8, "FORMAT_INVALID", /overlap/],
    "a shape that wraps": [
      `{"t":${tensor("F32", [2 ** 33, 2 ** 33], 0, 8)}}`,
      8,
      "FORMAT_INVALID",
      /impossible shape/,
    ],
    "a negative dimension": [
      `{"t":${tensor("F32", [-2], 0, 8)}}`,
      8,
      "FORMAT_INVALID",
      /whole number.*found -2/,
    ],
    "a fraction": [`{"t":${tensor("F32", [2], 0.5, 8)}}`, 8, "FORMAT_INVALID", /found 0.5/],
    "an offset beyond doubles": [
      '{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}}',
      8,
      "FORMAT_INVALID",
      /whole number/,
    ],
    "nine dimensions": [
      `{"t":${tensor("F32", Array(9).fill(1), 0, 4)}}`,
      8,
      "FORMAT_INVALID",
      /at most 8 numbers/,
    ],
    "three offsets": [
      '{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}}',
      9,
      "FORMAT_INVALID",
      /at most 2/,
    ],
    "a missing field": [
      '{"t":{"dtype":"F32","shape":[2]}}',
      8,
      "FORMAT_INVALID",
      /"t" lacks its dtype, shape/,
    ],
    "a dtype that is a number": ['{"t":{"dtype":1}}', 8, "FORMAT_INVALID", /expected a string/],
    "a tensor that is no object": ['{"t":[]}', 8, "FORMAT_INVALID", /expected "\{"/],
    "metadata that is no text": ['{"__metadata__":{"a":1}}', 8, "FORMAT_INVALID", /expected a string/],
    "text behind the header": [`{"t":${good}}x`, 8, "FORMAT_INVALID", /expected the end/],
    "deep nesting": [`{"t":{"x":${"[".repeat(500)}`, 8, "FORMAT_INVALID", /more than 128 deep/],
  };
  test.each(Object.entries(attacks))("%s", async (_, [header, dataBytes, code, message]) => {
    const error = await failure(header, dataBytes);
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
  });

  test("header lengths: short, long, absurd; files of another kind", async () => {
    const file = rawSafetensors(`{"t":${good}}`, 8);
    const withLength = (length: number | bigint) => {
      const copy = file.slice();
      copy.set(u64(length));
      return errorOf(() => readSafetensors(bytesSource(copy, "m")));
    };
    expect((await withLength(1)).message).toMatch(/expected a safetensors file/);
    expect((await withLength(20)).code).toBe("FORMAT_INVALID");
    expect((await withLength(file.length)).code).toBe("FORMAT_TRUNCATED");
    expect((await withLength(100_000_001)).code).toBe("FORMAT_INVALID");
    expect((await withLength(-1)).code).toBe("FORMAT_INVALID");
    const page = new TextEncoder().encode("<html><body>Not found</body></html>");
    expect((await errorOf(() => readSafetensors(bytesSource(page, "m")))).message).toMatch(
      /found a web page/,
    );
    for (let length = 0; length < file.length; length++) {
      await errorOf(() => readSafetensors(bytesSource(file.slice(0, length), "m")));
    }
  });
});

/** Fires when it has been looked at so often: between two of the names that are read. */
function firesAfter(looks: number): AbortSignal {
  let n = 0;
  const { signal } = new AbortController();
  return Object.defineProperty(signal, "aborted", { get: () => ++n > looks });
}

test("reading a long header obeys the signal", async () => {
  const names = Array.from({ length: 40 }, (_, i) => `t${i}`);
  const header = `{${names.map((name) => `"${name}":${tensor("F32", [0], 0, 0)}`).join()}}`;
  const source = bytesSource(rawSafetensors(header, 0), "m");
  expect((await readSafetensors(source, firesAfter(1000))).size).toBe(40);
  expect((await errorOf(() => readSafetensors(source, firesAfter(20)))).code).toBe("ABORTED");
});

describe("folders", () => {
  const shard = (name: string) => rawSafetensors(`{"${name}":${tensor("F32", [2], 0, 8)}}`, 8);
  const index = (map: object) =>
    new TextEncoder().encode(JSON.stringify({ metadata: { total_size: 1 }, weight_map: map }));

  function folder(files: Record<string, Uint8Array>) {
    const sources = new Map(
      Object.entries(files).map(([name, bytes]) => [name, watched(bytesSource(bytes, name))]),
    );
    const open = async (name: string): Promise<ByteSource | null> => sources.get(name)?.source ?? null;
    return { open, closed: () => [...sources.values()].map(({ counts }) => counts.closed) };
  }

  test("a single file", async () => {
    const { open, closed } = folder({ "model.safetensors": shard("a") });
    const { tensors, close } = await openSafetensors(open);
    expect([...tensors.keys()]).toEqual(["a"]);
    await close();
    expect(closed()).toEqual([1]);
  });

  test("a single file beside an index is the whole model", async () => {
    const { open, closed } = folder({
      "model.safetensors": shard("a"),
      "model.safetensors.index.json": index({ b: "gone.safetensors" }),
    });
    const { tensors, close } = await openSafetensors(open);
    expect([...tensors.keys()]).toEqual(["a"]);
    await close();
    expect(closed()).toEqual([1, 0]);
  });

  test("reading a long index obeys the signal", async () => {
    const map = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`t${i}`, "1.safetensors"]));
    const { open, closed } = folder({ "model.safetensors.index.json": index(map) });
    expect((await errorOf(() => openSafetensors(open, firesAfter(20)))).code).toBe("ABORTED");
    expect(closed()).toEqual([1]);
  });

  test("shards by index", async () => {
    const { open, closed } = folder({
      "model.safetensors.index.json": index({ a: "1.safetensors", b: "2.safetensors" }),
      "1.safetensors": shard("a"),
      "2.safetensors": shard("b"),
    });
    const { tensors, close } = await openSafetensors(open);
    expect([...tensors.keys()]).toEqual(["a", "b"]);
    expect(tensors.get("b")?.source.name).toBe("2.safetensors");
    await close();
    expect(closed()).toEqual([1, 1, 1]);
  });

  test("shards without an index, by their names", async () => {
    const names = ["config.json", "model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"];
    const files = folder({
      "model-00001-of-00002.safetensors": shard("a"),
      "model-00002-of-00002.safetensors": shard("b"),
    });
    const { tensors, close } = await openSafetensors(files.open, undefined, names);
    expect([...tensors.keys()]).toEqual(["a", "b"]);
    await close();
    expect(files.closed()).toEqual([1, 1]);
    const twice = folder({
      "model-00001-of-00002.safetensors": shard("a"),
      "model-00002-of-00002.safetensors": shard("a"),
    });
    const error = await errorOf(() => openSafetensors(twice.open, undefined, names));
    expect(error.message).toMatch(/tensor "a" is in another shard/);
    expect(twice.closed()).toEqual([1, 1]);
    const partial = await errorOf(() => openSafetensors(files.open, undefined, names.slice(0, 2)));
    expect(partial.code).toBe("FILE_NOT_FOUND");
  });

  test("of an index that leaves some out are all there", async () => {
    const { open } = folder({
      "model.safetensors.index.json": index({ a: "1.safetensors" }),
      "1.safetensors": rawSafetensors(
        `{"a":${tensor("F32", [2], 0, 8)},"b":${tensor("F32", [1], 8, 12)}}`,
        12,
      ),
    });
    const { tensors, close } = await openSafetensors(open);
    expect([...tensors.keys()]).toEqual(["a", "b"]);
    await close();
  });

  test.each([
    ["no weights at all", {}, "FILE_NOT_FOUND", /expected model.safetensors or model.safetensors.index.json/],
    ["a missing shard", { b: "2.safetensors" }, "FILE_NOT_FOUND", /lists "2.safetensors", which is missing/],
    [
      "a tensor missing from its shard",
      { a: "1.safetensors", b: "1.safetensors" },
      "FORMAT_INVALID",
      /"b" is listed in/,
    ],
    [
      "a tensor that is nowhere",
      { x: "1.safetensors" },
      "FORMAT_INVALID",
      /"x" is listed in .*found nowhere/,
    ],
    ["a shard outside the folder", { a: "../1.safetensors" }, "FORMAT_INVALID", /file in the same folder/],
    ["an absolute shard", { a: "/etc/passwd" }, "FORMAT_INVALID", /same folder/],
    ["a Windows path", { a: "C:\\x" }, "FORMAT_INVALID", /same folder/],
    ["a shard that is a number", { a: 1 }, "FORMAT_INVALID", /expected a string/],
  ] as const)("%s", async (_, map, code, message) => {
    const files = { "1.safetensors": shard("a") };
    const hasIndex = Object.keys(map).length > 0;
    const { open, closed } = folder(
      hasIndex ? { "model.safetensors.index.json": index(map), ...files } : files,
    );
    const error = await errorOf(() => openSafetensors(open));
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
    if (code === "FORMAT_INVALID" && hasIndex) expect(closed()[0]).toBe(1);
  });

  test("an index with a key twice, or without tensors", async () => {
    const of = (text: string) =>
      folder({ "model.safetensors.index.json": new TextEncoder().encode(text) }).open;
    const twice = await errorOf(() => openSafetensors(of('{"weight_map":{"a":"1","a":"2"}}')));
    expect(twice.message).toMatch(/the key "a" comes twice/);
    expect((await errorOf(() => openSafetensors(of('{"weight_map":{}}')))).message).toMatch(
      /lists no tensors/,
    );
    expect((await errorOf(() => openSafetensors(of("[]")))).code).toBe("FORMAT_INVALID");
  });
});
