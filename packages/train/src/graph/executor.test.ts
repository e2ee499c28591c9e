/**
 * Gradients of whole models against finite differences in f64, and the properties that a training step must have: packed ≡ alone,
 * accumulated ≡ at once, recomputed ≡ kept.
 */
import { describe, expect, it } from "vitest";
import type { Kernels } from "../kernels/kernels.ts";
import { nativeKernels } from "../kernels/native-kernels.ts";
import { referenceKernels } from "../kernels/reference/reference-kernels.ts";
import type { Executor, MicroBatch } from "./executor.ts";
import type { Operation } from "./graph.ts";
import { smallBatch, smallExecutor, smallLora, smallShape } from "./small-model.test.kit.ts";
import { recordTransformer, type TransformerShape } from "./transformer.ts";

const f64 = referenceKernels("f64");
const f32 = referenceKernels("f32");

function gradientsOf(executor: Executor, batches: readonly MicroBatch[], scale = 1): number[][] {
  executor.clearGradients();
  for (const batch of batches) executor.gradient(batch, scale);
  return executor.gradients.map((gradient) => Array.from(gradient));
}

const norm = (values: readonly number[]) => Math.hypot(...values);

/** Native kernels with one and with three threads, where they have products of bf16. */
function brainKernels(): Kernels[] {
  try {
    return [1, 3].map((threads) => nativeKernels({ threads })).filter(({ hasBrains }) => hasBrains);
  } catch {
    return [];
  }
}

const variants: [string, Partial<TransformerShape>][] = [
  ["sub-norms, relu², tied", {}],
  ["Llama: SiLU, no sub-norms, own head", { activation: "silu", hasSubNorms: false, isTied: false }],
  ["1bitLLM: SiLU and sub-norms, every head its own keys", { activation: "silu", nKvHeads: 4 }],
];
/** `npm run check` takes one of them. */
const shapes = process.env.BITNET_QUICK === "1" ? variants.slice(0, 1) : variants;

describe("gradients", () => {
  it.each(shapes)("equal finite differences in full precision: %s", (_, variant) => {
    const executor = smallExecutor(f64, { ...variant, form: "float" });
    const batch = smallBatch([7, 1, 5]);
    const { weight } = executor.loss(batch);
    const gradients = gradientsOf(executor, [batch], 1 / weight);
    executor.parameters.forEach((weights, id) => {
      for (let i = 0; i < weights.length; i += Math.max(1, Math.floor(weights.length / 23))) {
        const before = weights[i] ?? 0;
        const lossAt = (x: number) => {
          weights[i] = x;
          return executor.loss(batch).sum / weight;
        };
        const h = 1e-5;
        const slope = (lossAt(before + h) - lossAt(before - h)) / (2 * h);
        weights[i] = before;
        const name = `${executor.graph.parameters[id]?.name}[${i}]`;
        expect(Math.abs(slope - (gradients[id]?.[i] ?? 0)), name).toBeLessThan(1e-8 + 1e-6 * Math.abs(slope));
      }
    });
  });

  it("are checked for every operation: here, of side paths and, through quantisers, in straight-through.slow.test.ts", () => {
    const all: Record<Operation["kind"], true> = {
      ...{ embed: true, rmsNorm: true, quantise: true, linear: true, rope: true, attention: true },
      ...{ gate: true, add: true, lora: true, head: true },
    };
    const graphs = [
      ...variants.map(([, variant]) => recordTransformer({ ...smallShape, ...variant, form: "float" })),
      recordTransformer({ ...smallShape, form: "float" }, smallLora),
      recordTransformer(smallShape),
    ];
    const checked = graphs.flatMap(({ operations }) => operations.map(({ kind }) => kind));
    expect(new Set(checked)).toEqual(new Set(Object.keys(all)));
  });

  it("packed documents give the loss and gradient of each alone", () => {
    const executor = smallExecutor(f32);
    const packed = smallBatch([7, 1, 5]);
    const alone = [0, 1, 2].map((d) => {
      const [first, end] = [packed.starts[d] ?? 0, packed.starts[d + 1] ?? 0];
      const { ids, labels, weights } = packed;
      const cut = <T extends { subarray(a: number, b: number): T }>(array: T) => array.subarray(first, end);
      return {
        ids: cut(ids),
        labels: cut(labels),
        weights: cut(weights),
        starts: Int32Array.of(0, end - first),
      };
    });
    executor.loss(packed);
    const losses = Array.from(executor.losses.subarray(0, 13));
    const each = alone.flatMap((batch) => {
      executor.loss(batch);
      return Array.from(executor.losses.subarray(0, batch.ids.length));
    });
    expect(each).toEqual(losses);
    const together = gradientsOf(executor, [packed]);
    const apart = gradientsOf(executor, alone);
    together.forEach((gradient, id) => {
      const largest = Math.max(...gradient.map(Math.abs));
      gradient.forEach((g, i) => {
        expect(Math.abs(g - (apart[id]?.[i] ?? 0))).toBeLessThanOrEqual(1e-6 * largest);
      });
    });
  });

  it("a document does not see its neighbours", () => {
    const executor = smallExecutor(f32);
    const batch = smallBatch([7, 6]);
    executor.loss(batch);
    const before = Array.from(executor.losses.subarray(7, 13));
    for (let row = 0; row < 7; row++) batch.ids[row] = 3;
    executor.loss(batch);
    expect(Array.from(executor.losses.subarray(7, 13))).toEqual(before);
  });

  it.each(["b1.58", "b1", "float"] as const)("recomputed values give the same bits: %s", (form) => {
    const batch = smallBatch([7, 1, 5]);
    const kept = smallExecutor(f32, { form, nLayers: 3 });
    const recomputed = smallExecutor(f32, { form, nLayers: 3 }, { recomputes: true });
    expect(gradientsOf(recomputed, [batch, batch])).toEqual(gradientsOf(kept, [batch, batch]));
  });

  it.each([false, true])("a batch split where chains end gives the same bits; tied: %s", (isTied) => {
    const executor = smallExecutor(f32, { contextLength: 64, nLayers: 1, isTied }, { maxRows: 320 });
    const whole = smallBatch([64, 64, 64, 64, 50]);
    const cut = (first: number, end: number, starts: number[]) => ({
      ids: whole.ids.subarray(first, end),
      labels: whole.labels.subarray(first, end),
      weights: whole.weights.subarray(first, end),
      starts: Int32Array.from(starts),
    });
    const parts = [cut(0, 256, [0, 64, 128, 192, 256]), cut(256, 306, [0, 50])];
    const [table = [], ...others] = gradientsOf(executor, parts);
    const [wholeTable = [], ...wholeOthers] = gradientsOf(executor, [whole]);
    expect(others).toEqual(wholeOthers);
    if (!isTied) return expect(table).toEqual(wholeTable);
    // Head and look-up add to one tensor in turns, so that the order differs.
    const largest = Math.max(...wholeTable.map(Math.abs));
    table.forEach((g, i) => {
      expect(Math.abs(g - (wholeTable[i] ?? 0))).toBeLessThanOrEqual(1e-6 * largest);
    });
  });

  it("rows without weight change neither loss nor gradient", () => {
    const executor = smallExecutor(f32);
    const batch = smallBatch([7]);
    const before = gradientsOf(executor, [batch]);
    batch.labels[6] = -1; // its weight is 0
    expect(gradientsOf(executor, [batch])).toEqual(before);
    batch.weights.fill(0);
    expect(executor.loss(batch)).toEqual({ sum: 0, weight: 0 });
    expect(
      gradientsOf(executor, [batch])
        .flat()
        .every((g) => g === 0),
    ).toBe(true);
  });

  it("a model without weights is uniform", () => {
    const executor = smallExecutor(f32);
    for (const weights of executor.parameters) weights.fill(0);
    executor.formWeights();
    const { sum, weight } = executor.loss(smallBatch([9]));
    expect(sum / weight).toBeCloseTo(Math.log(19), 5);
  });

  it("refuses documents beyond the context and tokens beyond the vocabulary", () => {
    const executor = smallExecutor(f32);
    expect(() => executor.loss(smallBatch([17]))).toThrow(/does not fit/);
    const batch = smallBatch([4]);
    batch.ids[2] = 19;
    expect(() => executor.loss(batch)).toThrow(/0…18/);
  });
});

describe("gradients in bf16", () => {
  const kernels = [f32, ...brainKernels()];
  const gradientsIn = (executor: Executor, precision: "f32" | "bf16", batches: readonly MicroBatch[]) => {
    executor.setBackward(precision);
    return gradientsOf(executor, batches);
  };

  it("lie near those in f32, and the loss is the same", () => {
    for (const each of kernels) {
      const executor = smallExecutor(each, { nLayers: 3 });
      const batch = smallBatch([7, 1, 5, 12]);
      const exact = gradientsIn(executor, "f32", [batch]);
      const losses = Array.from(executor.losses);
      const rounded = gradientsIn(executor, "bf16", [batch]);
      expect(Array.from(executor.losses)).toEqual(losses);
      exact.forEach((gradient, id) => {
        const error = norm(gradient.map((g, i) => g - (rounded[id]?.[i] ?? 0)));
        expect(error / norm(gradient), executor.graph.parameters[id]?.name).toBeLessThan(0.01);
      });
      expect(rounded).not.toEqual(exact);
    }
  });

  it("get the same bits recomputed and in micro-batches that are cut where chains end", () => {
    const shape = { contextLength: 64, nLayers: 2, isTied: false };
    const whole = smallBatch([64, 64, 64, 64, 50]);
    const cut = (first: number, end: number, starts: number[]) => ({
      ids: whole.ids.subarray(first, end),
      labels: whole.labels.subarray(first, end),
      weights: whole.weights.subarray(first, end),
      starts: Int32Array.from(starts),
    });
    for (const each of kernels) {
      const once = gradientsIn(smallExecutor(each, shape, { maxRows: 320 }), "bf16", [whole]);
      const recomputed = smallExecutor(each, shape, { maxRows: 320, recomputes: true });
      expect(gradientsIn(recomputed, "bf16", [whole])).toEqual(once);
      const parts = [cut(0, 256, [0, 64, 128, 192, 256]), cut(256, 306, [0, 50])];
      expect(gradientsIn(smallExecutor(each, shape, { maxRows: 320 }), "bf16", parts)).toEqual(once);
    }
  });

  it("are refused where kernels have none", () => {
    const executor = smallExecutor({ ...f32, name: "plain", hasBrains: false });
    expect(() => executor.setBackward("bf16")).toThrow(/want AVX512-BF16.*plain has none/);
    executor.setBackward("f32");
  });
});

describe("side paths", () => {
  const key = { seed: 5, step: 3, firstRow: 0 };
  const trained = (executor: Executor) =>
    executor.graph.parameters.flatMap(({ isFrozen }, id) => (isFrozen ? [] : [id]));
  const run = (executor: Executor, batches: readonly MicroBatch[], firstRows: readonly number[]) => {
    executor.clearGradients();
    batches.forEach((batch, i) => {
      executor.gradient(batch, 1, { ...key, firstRow: firstRows[i] ?? 0 });
    });
    return trained(executor).map((id) => Array.from(executor.gradients[id] ?? []));
  };

  it.each(shapes)("have the gradients of finite differences, the same mask kept: %s", (_, variant) => {
    const executor = smallExecutor(f64, { ...variant, form: "float" }, {}, smallLora);
    const batch = smallBatch([7, 1, 5]);
    const gradients = run(executor, [batch], [0]);
    expect(gradients).toHaveLength(2 * 2 * 7);
    trained(executor).forEach((id, at) => {
      const weights = executor.parameters[id] ?? new Float64Array();
      for (let i = 0; i < weights.length; i += Math.max(1, Math.floor(weights.length / 3))) {
        const before = weights[i] ?? 0;
        const lossAt = (x: number) => {
          weights[i] = x;
          return executor.gradient(batch, 0, key).sum;
        };
        const h = 1e-5;
        const slope = (lossAt(before + h) - lossAt(before - h)) / (2 * h);
        weights[i] = before;
        const name = `${executor.graph.parameters[id]?.name}[${i}]`;
        expect(Math.abs(slope - (gradients[at]?.[i] ?? 0)), name).toBeLessThan(1e-7 + 1e-6 * Math.abs(slope));
      }
    });
  });

  it("change nothing while B is 0, and leave the base as it is", () => {
    const plain = smallExecutor(f32);
    const executor = smallExecutor(f32, {}, {}, smallLora);
    plain.graph.parameters.forEach(({ name }, id) => {
      const other = executor.graph.parameters.findIndex((parameter) => parameter.name === name);
      const { weights, scale } = plain.formed(id);
      executor.parameters[other]?.set(weights);
      executor.setFrozenScale(other, scale);
    });
    executor.graph.parameters.forEach(({ name }, id) => {
      if (name.endsWith("lora_b")) executor.parameters[id]?.fill(0);
    });
    const batch = smallBatch([7, 6]);
    expect(executor.loss(batch)).toEqual(plain.loss(batch));
    expect(executor.losses).toEqual(plain.losses);
  });

  it("get the same bits recomputed, and wherever a step is cut into micro-batches", () => {
    const options = { maxRows: 320 };
    const shape = { contextLength: 64, nLayers: 2 };
    const executor = smallExecutor(f32, shape, options, smallLora);
    const recomputed = smallExecutor(f32, shape, { ...options, recomputes: true }, smallLora);
    const whole = smallBatch([64, 64, 64, 64, 50]);
    const cut = (first: number, end: number, starts: number[]) => ({
      ids: whole.ids.subarray(first, end),
      labels: whole.labels.subarray(first, end),
      weights: whole.weights.subarray(first, end),
      starts: Int32Array.from(starts),
    });
    const parts = [cut(0, 256, [0, 64, 128, 192, 256]), cut(256, 306, [0, 50])];
    const once = run(executor, [whole], [0]);
    expect(run(executor, parts, [0, 256])).toEqual(once);
    expect(run(recomputed, [whole], [0])).toEqual(once);
    expect(run(executor, parts, [0, 0])).not.toEqual(once); // the mask of a row follows its number in the step
  });

  it("drop a share of their inputs in training only", () => {
    const x = new Float32Array(40_000).fill(1);
    const out = new Float32Array(x.length);
    f32.dropout({ x, width: 100, out, ...key, site: 0, share: 0.1 });
    const dropped = out.filter((value) => value === 0).length / out.length;
    expect(Math.abs(dropped - 0.1)).toBeLessThan(0.01);
    expect(out.every((value) => value === 0 || value === Math.fround(1 / 0.9))).toBe(true);
    const executor = smallExecutor(f32, {}, {}, smallLora);
    const batch = smallBatch([9]);
    const alone = executor.loss(batch).sum;
    expect(executor.gradient(batch, 1, key).sum).not.toBe(alone);
    expect(executor.loss(batch).sum).toBe(alone);
  });

  it("refuse what is no adapter", () => {
    expect(() => smallExecutor(f32, {}, {}, { ...smallLora, rank: 0, dropout: 1 })).toThrow(
      /rank is 0.*dropout is 1/,
    );
  });
});

describe("straight-through estimation", () => {
  it.each(["b1.58", "b1"] as const)(
    "%s: weights and activations get the gradients of their quantised values",
    (form) => {
      // One linear operation by hand: dX = dY·Q(W), dW = dYᵀ·Q(x), with the scales taken as constants.
      const [rows, inputs, outputs] = [3, 5, 4];
      const at = (seed: number) => (_: unknown, i: number) => Math.sin(seed * 7.3 + i * 1.7);
      const x = Float64Array.from({ length: rows * inputs }, at(1));
      const w = Float64Array.from({ length: outputs * inputs }, at(2));
      const dY = Float64Array.from({ length: rows * outputs }, at(3));
      const [q, s, t] = [f64.allocate(x.length), f64.allocate(rows), f64.allocate(w.length)];
      f64.quantise(x, inputs, q, s);
      const m = f64.formWeights(w, form, t);
      const [dX, dW] = [f64.allocate(x.length), f64.allocate(w.length)];
      f64.product({ a: dY, b: t, out: dX, m: rows, n: inputs, k: outputs, factor: m, adds: true });
      f64.product({
        a: dY,
        b: q,
        out: dW,
        m: outputs,
        n: inputs,
        k: rows,
        transA: true,
        adds: true,
        innerDivisors: s,
      });
      for (let r = 0; r < rows; r++)
        for (let i = 0; i < inputs; i++) {
          let sum = 0;
          for (let o = 0; o < outputs; o++) sum += (dY[r * outputs + o] ?? 0) * (t[o * inputs + i] ?? 0) * m;
          expect(dX[r * inputs + i]).toBeCloseTo(sum, 12);
        }
      for (let o = 0; o < outputs; o++)
        for (let i = 0; i < inputs; i++) {
          let sum = 0;
          for (let r = 0; r < rows; r++)
            sum += ((dY[r * outputs + o] ?? 0) * (q[r * inputs + i] ?? 0)) / (s[r] ?? 1);
          expect(dW[o * inputs + i]).toBeCloseTo(sum, 12);
        }
      const values = new Set(t);
      expect([...values].every((v) => (form === "b1" ? [-1, 1] : [-1, 0, 1]).includes(v))).toBe(true);
      expect(m).toBeCloseTo(w.reduce((total, v) => total + Math.abs(v), 0) / w.length, 12);
    },
  );
});
