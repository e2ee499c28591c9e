import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { bytesSource } from "../../base/byte-source.ts";
import { byteStringsFrom } from "../../base/byte-strings.ts";
import type { DenseType, PackingId } from "../../packing/packing.ts";
import { errorOf } from "../raw-bytes.test.fixture.ts";
import { readTensor } from "../tensor.ts";
import { openGguf } from "./open-gguf.ts";
import type { GgufValue } from "./values.ts";
import { type GgufInput, type GgufTensorInput, writeGguf } from "./write-gguf.ts";

async function fileOf(input: GgufInput): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeGguf(input)) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

const f32Tensor = (name: string, n = 8): GgufTensorInput => ({
  name,
  shape: [n],
  type: "f32",
  data: () => new Uint8Array(4 * n),
});

test.each(["test/golden/tiny.gguf", "test/golden/tiny-tq1_0.gguf", "test/golden/tiny-tq2_0.gguf"])(
  "rewriting %s gives the same bytes",
  async (path) => {
    const original = readFileSync(new URL(`../../../../../${path}`, import.meta.url));
    const { metadata, tensors } = await openGguf(bytesSource(original, path));
    const copy = await fileOf({
      metadata,
      tensors: [...tensors.values()].map((tensor) => ({
        name: tensor.name,
        shape: tensor.shape,
        type: tensor.type as DenseType | PackingId,
        data: () => readTensor(tensor),
      })),
    });
    expect(copy.equals(original)).toBe(true);
  },
);

test("every type of metadata and tensor survives a round trip", async () => {
  const metadata = new Map<string, GgufValue>([
    ["u8", { type: "u8", value: 255 }],
    ["i8", { type: "i8", value: -128 }],
    ["u16", { type: "u16", value: 65535 }],
    ["i16", { type: "i16", value: -32768 }],
    ["u32", { type: "u32", value: 2 ** 32 - 1 }],
    ["i32", { type: "i32", value: -(2 ** 31) }],
    ["u64", { type: "u64", value: 2n ** 64n - 1n }],
    ["i64", { type: "i64", value: -(2n ** 63n) }],
    ["f32", { type: "f32", value: -0 }],
    ["f64", { type: "f64", value: Number.POSITIVE_INFINITY }],
    ["bool", { type: "bool", value: false }],
    ["string", { type: "string", value: "\ufeffthe \u{1d11e} key" }],
    ["general.alignment", { type: "u32", value: 128 }],
    ["strings", { type: "array", of: "string", value: byteStringsFrom(["", "one", "\u{1f600}"]) }],
    ["bools", { type: "array", of: "bool", value: Uint8Array.of(1, 0, 1) }],
    ["f32s", { type: "array", of: "f32", value: Float32Array.from({ length: 9000 }, (_, i) => i / 7) }],
    ["i64s", { type: "array", of: "i64", value: BigInt64Array.of(-1n, 1n) }],
  ]);
  const types = [
    "f32",
    "f16",
    "bf16",
    "q8_0",
    "q6_k",
    "q4_0",
    "i2_s",
    "tq1_0",
    "tq2_0",
    "iq1_bn",
    "iq2_bn",
    "q1_0",
    "q2_0",
    "pq2_0",
    "ptq1_0",
  ] as const;
  const sizes = { f32: 4096, f16: 2048, bf16: 2048, q8_0: 1088, q6_k: 840, q4_0: 576 };
  const ternary = {
    i2_s: 288,
    tq1_0: 216,
    tq2_0: 264,
    iq1_bn: 4 * 54,
    iq2_bn: 4 * 68,
    q1_0: 144,
    q2_0: 288,

    pq2_0: 272,
    ptq1_0: 224,
  };
  const byteLength = { ...sizes, ...ternary };
  const dataOf = (type: (typeof types)[number]) =>
    Uint8Array.from({ length: byteLength[type] }, (_, i) => Math.imul(i + type.length, 0x9e3779b1) >>> 20);
  const file = await fileOf({
    metadata,
    tensors: types.map((type) => ({ name: `t.${type}`, shape: [4, 256], type, data: [dataOf(type)] })),
  });
  const gguf = await openGguf(bytesSource(file));
  expect(new Map(gguf.metadata)).toEqual(metadata);
  for (const type of types) {
    const tensor = gguf.tensors.get(`t.${type}`);
    expect(tensor).toMatchObject({ type, shape: [4, 256], byteLength: byteLength[type] });
    expect((tensor?.offset ?? 1) % 128).toBe(0);
    expect(tensor && Uint8Array.from(await readTensor(tensor))).toEqual(dataOf(type));
  }
});

test("variants of I2_S share a type number and come back as the reader is told", async () => {
  for (const [type, i2sLayout] of [
    ["i2_s_64", "64/16"],
    ["i2_s_rows4", "rows4"],
  ] as const) {
    const tensor = { name: "w", shape: [4, 128], type, data: () => new Uint8Array(160) };
    const file = await fileOf({ metadata: new Map(), tensors: [tensor] });
    expect((await openGguf(bytesSource(file), { i2sLayout })).tensors.get("w")?.type).toBe(type);
  }
});

test("data is asked for in its turn, in pieces, and never held", async () => {
  const events: string[] = [];
  const pieces = async function* (name: string) {
    for (let i = 0; i < 4; i++) {
      events.push(`${name}${i}`);
      yield new Uint8Array(2 ** 20);
    }
  };
  const shape = [2 ** 20];
  const input: GgufInput = {
    metadata: new Map(),
    tensors: [
      { name: "a", shape, type: "f32", data: pieces("a") },
      { name: "b", shape, type: "f32", data: pieces("b") },
    ],
  };
  for await (const chunk of writeGguf(input)) {
    expect(chunk.length).toBeLessThanOrEqual(2 ** 20);
    if (chunk.length === 2 ** 20) events.push("taken");
  }
  expect(events.join(" ")).toBe("a0 taken a1 taken a2 taken a3 taken b0 taken b1 taken b2 taken b3 taken");
});

describe("refuses", () => {
  const wrong: Record<string, [Partial<GgufInput>, RegExp]> = {
    "an empty name": [{ tensors: [f32Tensor("")] }, /takes 0 bytes/],
    "a name of 64 bytes": [{ tensors: [f32Tensor("ä".repeat(32))] }, /takes 64 bytes, expected 1 to 63/],
    "a name with half a character": [{ tensors: [f32Tensor("a\ud800")] }, /tensor name/],
    "a name twice": [{ tensors: [f32Tensor("a"), f32Tensor("a")] }, /same name/],
    "no dimensions": [{ tensors: [{ ...f32Tensor("a"), shape: [] }] }, /one to four positive dimensions/],
    "five dimensions": [{ tensors: [{ ...f32Tensor("a"), shape: [1, 1, 1, 1, 1] }] }, /one to four/],
    "a dimension of zero": [{ tensors: [{ ...f32Tensor("a"), shape: [0] }] }, /one to four positive/],
    "a type that GGUF lacks": [{ tensors: [{ ...f32Tensor("a"), type: "hf_u8" }] }, /no type for hf_u8/],
    "a shape that the type cannot hold": [
      { tensors: [{ ...f32Tensor("a"), type: "tq1_0" }] },
      /multiples of 256/,
    ],
    "a number out of range": [
      { metadata: new Map([["k", { type: "u8", value: 256 }]]) },
      /256 does not fit u8/,
    ],
    "a fraction": [{ metadata: new Map([["k", { type: "i32", value: 1.5 }]]) }, /1.5 does not fit i32/],
    "a bigint out of range": [
      { metadata: new Map([["k", { type: "u64", value: -1n }]]) },
      /-1 does not fit u64/,
    ],
    "an empty key": [
      { metadata: new Map([["", { type: "u8", value: 1 }]]) },
      /the key of metadata "" is empty/,
    ],
    "an array of another type": [
      { metadata: new Map([["k", { type: "array", of: "u8", value: new Float32Array(1) }]]) },
      /expected Uint8Array for u8, found Float32Array/,
    ],
    "bools of 2": [
      { metadata: new Map([["k", { type: "array", of: "bool", value: Uint8Array.of(2) }]]) },
      /bools of 0 or 1/,
    ],
    "an alignment of 48": [
      { metadata: new Map([["general.alignment", { type: "u32", value: 48 }]]) },
      /general.alignment is 48/,
    ],
    "an alignment of another type": [
      { metadata: new Map([["general.alignment", { type: "u64", value: 32n }]]) },
      /general.alignment is 32 \(u64\)/,
    ],
  };

  test.each(Object.entries(wrong))("%s, before the first byte", async (_, [input, message]) => {
    const error = await errorOf(() => writeGguf({ metadata: new Map(), tensors: [], ...input }));
    expect(error.message).toMatch(message);
    expect(["INVALID_ARGUMENT", "FORMAT_UNSUPPORTED"]).toContain(error.code);
  });

  test.each([
    ["short", 31, /takes 32 bytes, its data gave 31/],
    ["long", 33, /takes 32 bytes, its data gave more/],
  ])("data that is too %s", async (_, length, message) => {
    const tensor = { ...f32Tensor("a"), data: [new Uint8Array(20), new Uint8Array(length - 20)] };
    const error = await errorOf(() => fileOf({ metadata: new Map(), tensors: [tensor] }));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toMatch(message);
  });
});
