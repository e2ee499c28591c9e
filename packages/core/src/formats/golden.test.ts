/** The five golden checkpoints are one model: whatever the file format, its weights must come out the same. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bf16ToF32, f16ToF32, f32ToF16 } from "../base/float16.ts";
import { toComputeLayout } from "../packing/compute-layout.ts";
import { widenRows } from "../packing/dense.ts";
import type { Scale } from "../packing/packing.ts";
import { packings } from "../packing/registry.ts";
import { ternarise } from "../packing/ternarise.ts";
import { tritHistogram } from "../packing/trit-histogram.ts";
import { openPath } from "./model-files.node.ts";
import { type ModelFiles, openModelFiles } from "./model-files.ts";
import { isPackingId, matrixShape, readTensor, type TensorInfo } from "./tensor.ts";

const pathOf = (path: string) => fileURLToPath(new URL(`../../../../${path}`, import.meta.url));
const paths = {
  i2s: "test/golden/tiny.gguf",
  tq1: "test/golden/tiny-tq1_0.gguf",
  tq2: "test/golden/tiny-tq2_0.gguf",
  packed: "test/golden/hf-packed",
  masters: "test/golden/hf-bf16",
};
const opened = new Map<string, ModelFiles>();

beforeAll(async () => {
  for (const [name, path] of Object.entries(paths)) {
    opened.set(name, await openModelFiles(await openPath(pathOf(path))));
  }
});
afterAll(async () => {
  for (const model of opened.values()) await model.close();
});

function tensorOf(model: keyof typeof paths, name: string): TensorInfo {
  const files = opened.get(model);
  const tensors = files?.kind === "gguf" ? files.gguf.tensors : files?.tensors;
  const found = tensors?.get(name);
  if (found === undefined) throw new Error(`${model} has no ${name}`);
  return found;
}

const hfNames: Record<string, string> = {
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

async function unpacked(
  tensor: TensorInfo,
): Promise<{ trits: Int8Array; scale: Scale | null; bytes: Uint8Array }> {
  if (!isPackingId(tensor.type)) throw new Error(`${tensor.name} is not ternary`);
  const bytes = await readTensor(tensor);
  const shape = matrixShape(tensor.shape);
  const trits = new Int8Array(shape.rows * shape.cols);
  packings[tensor.type].unpackRows(bytes, shape, 0, shape.rows, trits);
  return { trits, scale: packings[tensor.type].readScale(bytes, shape), bytes };
}

const sameTrits = (a: Int8Array, b: Int8Array) =>
  a.length === b.length && a.every((trit, i) => trit === b[i]);

const cases = [0, 1, 2, 3].flatMap((layer) =>
  Object.entries(hfNames).map(([gguf, hf]) => ({ layer, gguf, hf })),
);

describe.each(cases)("layer $layer $gguf", ({ layer, gguf, hf }) => {
  const ggufName = `blk.${layer}.${gguf}.weight`;
  const hfName = `model.layers.${layer}.${hf}.weight`;

  test("same trits, scales and compute layout everywhere", async () => {
    const i2sTensor = tensorOf("i2s", ggufName);
    const shape = matrixShape(i2sTensor.shape);
    const i2s = await unpacked(i2sTensor);
    const scale = i2s.scale?.kind === "tensor" ? i2s.scale.value : Number.NaN;
    expect(new Set(i2s.trits)).toEqual(new Set([-1, 0, 1]));

    for (const model of ["tq1", "tq2"] as const) {
      const tensor = tensorOf(model, ggufName);
      expect(tensor.shape).toEqual(i2sTensor.shape);
      const other = await unpacked(tensor);
      expect(sameTrits(other.trits, i2s.trits), `${model} trits`).toBe(true);
      expect(other.scale).toEqual({ kind: "tensor", value: f16ToF32(f32ToF16(scale)) });
      if (!isPackingId(tensor.type)) throw new Error("unreachable");
      const compute = toComputeLayout(tensor.type, other.bytes, shape);
      expect(Buffer.compare(compute, i2s.bytes.subarray(0, -32)), `${model} compute layout`).toBe(0);
    }

    const packedTensor = tensorOf("packed", hfName);
    expect(packedTensor.shape).toEqual(i2sTensor.shape);
    const packed = await unpacked(packedTensor);
    expect(sameTrits(packed.trits, i2s.trits), "packed trits").toBe(true);
    const compute = toComputeLayout("hf_u8", packed.bytes, shape);
    expect(Buffer.compare(compute, i2s.bytes.subarray(0, -32)), "packed compute layout").toBe(0);

    const storedScale = await readTensor(tensorOf("packed", `${hfName}_scale`));
    const weightScale = bf16ToF32((storedScale[0] ?? 0) | ((storedScale[1] ?? 0) << 8));
    expect(weightScale).toBe(scale);

    const masters = tensorOf("masters", hfName);
    expect(masters.type).toBe("bf16");
    const ternarised = ternarise("bf16", await readTensor(masters), shape);
    const trits = new Int8Array(i2s.trits.length);
    ternarised.unpackRows(0, shape.rows, trits);
    expect(sameTrits(trits, i2s.trits), "ternarised trits").toBe(true);
    expect(ternarised.scale).toEqual({ kind: "tensor", value: weightScale });

    const counts = tritHistogram("i2_s", i2s.bytes, shape);
    expect(counts.minus + counts.zero + counts.plus).toBe(trits.length);
    expect(counts).toMatchObject({ plus: trits.filter((trit) => trit === 1).length, invalid: 0 });
  });
});

test("embeddings and norms widen to the same values from every file", async () => {
  const pairs = [
    ["token_embd.weight", "model.embed_tokens.weight"],
    ["output_norm.weight", "model.norm.weight"],
    ["blk.2.attn_sub_norm.weight", "model.layers.2.self_attn.attn_sub_norm.weight"],
    ["blk.3.ffn_sub_norm.weight", "model.layers.3.mlp.ffn_sub_norm.weight"],
  ] as const;
  for (const [ggufName, hfName] of pairs) {
    const [a, b] = await Promise.all([
      widened(tensorOf("i2s", ggufName)),
      widened(tensorOf("packed", hfName)),
    ]);
    // The GGUF embedding is f16, which keeps the 8 significant bits of bf16 but not values under 2⁻²⁴.
    const expected = tensorOf("i2s", ggufName).type === "f16" ? b.map((x) => f16ToF32(f32ToF16(x))) : b;
    expect(a.findIndex((x, i) => x !== expected[i])).toBe(-1);
    expect(a.length).toBe(b.length);
  }
});

async function widened(tensor: TensorInfo): Promise<Float32Array> {
  const { rows, cols } = matrixShape(tensor.shape);
  const out = new Float32Array(rows * cols);
  if (tensor.type !== "f32" && tensor.type !== "f16" && tensor.type !== "bf16") throw new Error("not dense");
  widenRows(tensor.type, await readTensor(tensor), cols, 0, rows, out);
  return out;
}
