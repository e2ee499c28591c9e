/** The parts of conversion that can be judged alone. */
import { expect, test } from "vitest";
import { bytesSource } from "../base/byte-source.ts";
import { bf16ToF32, f16ToF32, f32ToBf16 } from "../base/float16.ts";
import { readSafetensors } from "../formats/safetensors/read-safetensors.ts";
import { writeSafetensors } from "../formats/safetensors/write-safetensors.ts";
import { readTensor } from "../formats/tensor.ts";
import { reorderRows, rowOrder } from "../model/row-order.ts";
import { denseByteLength, widenRows } from "../packing/dense.ts";
import { encodeDense } from "../packing/dense-encode.ts";
import { ternarise } from "../packing/ternarise.ts";
import { masterWeights } from "./master-weights.ts";

test("rows of a head: neighbours become halves and back", () => {
  expect([...rowOrder(8, 4, "half", "adjacent")]).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  expect([...rowOrder(6, 6, "half", "adjacent")]).toEqual([0, 3, 1, 4, 2, 5]);
  const rows = Int8Array.from({ length: 24 }, (_, i) => i);
  const there = reorderRows(rows, 2, rowOrder(12, 6, "half", "adjacent"));
  expect(there).not.toEqual(rows);
  expect(reorderRows(there, 2, rowOrder(12, 6, "adjacent", "half"))).toEqual(rows);
});

test.each([1, 0.4, 0.01])(
  "bf16 masters ternarise to the trits and the scale they were made of (share of nonzeros %d)",
  (share) => {
    const shape = { rows: 48, cols: 100 };
    const hash = (i: number) => (Math.imul(i + 1, 0x9e3779b1) >>> 9) / 2 ** 23;
    const trits = Int8Array.from({ length: 4800 }, (_, i) =>
      hash(i) < share ? (hash(i + 9999) < 0.5 ? -1 : 1) : 0,
    );
    for (const wanted of [0.0123, 1, 3e-4, 17]) {
      const scale = bf16ToF32(f32ToBf16(wanted));
      const made = ternarise("bf16", masterWeights(trits, scale), shape);
      const out = new Int8Array(4800);
      made.unpackRows(0, 48, out);
      expect(made.scale).toEqual({ kind: "tensor", value: scale });
      expect(out).toEqual(trits);
    }
  },
);

test.each([
  ["q8_0", 1 / 254],
  ["q4_0", 1 / 8],
  ["q6_k", 1 / 60],
] as const)("%s is off by no more than a step", (type, step) => {
  const values = Float32Array.from({ length: 1024 }, (_, i) => Math.sin(i * 1.7) * (1 + (i % 5)));
  const bytes = encodeDense(type, values);
  expect(bytes.length).toBe(denseByteLength(type, 1024));
  const back = new Float32Array(1024);
  widenRows(type, bytes, 1024, 0, 1, back);
  const largest = 5;
  values.forEach((value, i) => {
    expect([i, Math.abs((back[i] ?? 0) - value) <= 1.05 * largest * step]).toEqual([i, true]);
  });
  const zeros = new Float32Array(256).fill(1);
  widenRows(type, encodeDense(type, new Float32Array(256)), 256, 0, 1, zeros);
  expect(zeros.every((value) => value === 0)).toBe(true);
});

test("what a block type holds exactly comes through unchanged", () => {
  const integers = Float32Array.from({ length: 256 }, (_, i) => 0.5 * (((i * 37) % 255) - 127));
  integers.set(
    Float32Array.from({ length: 8 }, () => 63.5 * 1),
    0,
  );
  for (let block = 0; block < 256; block += 32) integers[block] = -63.5; // every block spans the whole range
  const back = new Float32Array(256);
  widenRows("q8_0", encodeDense("q8_0", integers), 256, 0, 1, back);
  expect(back).toEqual(integers);
  const halves = Float32Array.of(f16ToF32(1), f16ToF32(0x3c01), -65504);
  widenRows("f16", encodeDense("f16", halves), 3, 0, 1, back.subarray(0, 3));
  expect(back.subarray(0, 3)).toEqual(halves);
  expect(() => encodeDense("f16", Float32Array.of(65536))).toThrow(/does not fit/);
});

test("a safetensors file comes back as it was written, and data of the wrong length does not pass", async () => {
  const data = Uint8Array.from({ length: 24 }, (_, i) => i);
  const collect = async (bytes: Uint8Array[]) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of writeSafetensors([
      { name: "a.weight", dtype: "F32", shape: [2, 3], data: () => bytes },
      { name: "né", dtype: "U8", shape: [2, 2], data: () => [Uint8Array.of(9, 8, 7, 6)] },
    ]))
      chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  const file = await collect([data.subarray(0, 10), data.subarray(10)]);
  const tensors = await readSafetensors(bytesSource(file));
  const a = tensors.get("a.weight");
  expect(a).toMatchObject({ type: "f32", shape: [2, 3] });
  expect((a?.offset ?? 1) % 8).toBe(0);
  expect(a && Uint8Array.from(await readTensor(a))).toEqual(data);
  expect(tensors.get("né")).toMatchObject({ type: "hf_u8", shape: [8, 2] });
  await expect(collect([data.subarray(1)])).rejects.toThrow(/takes 24 bytes, its data gave 23/);
});
