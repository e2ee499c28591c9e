/** The reference against golden answers and against plain f64 mathematics. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Draw } from "../conformance/case.ts";
import { attend, KvLayer } from "./attention.ts";
import { answerHead, logSumExp } from "./head.ts";
import { dot, gatedActivation, quantise, rmsNorm, rope } from "./rows.ts";

interface Golden {
  activation_quant: { x: number[][]; q: number[][]; scale: number[] };
}
const goldenPath = new URL("../../../../../test/golden/golden.json", import.meta.url);
const golden: Golden = JSON.parse(readFileSync(goldenPath, "utf8"));

describe("reference rows", () => {
  it("quantises activations as the independent implementation does", () => {
    golden.activation_quant.x.forEach((x, i) => {
      const q = new Int8Array(x.length);
      const scale = quantise(Float32Array.from(x), q);
      expect(Array.from(q)).toEqual(golden.activation_quant.q[i]);
      expect(scale).toBe(Math.fround(golden.activation_quant.scale[i] ?? Number.NaN));
    });
  });

  it("rounds ties to even", () => {
    const x = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -126.5);
    const q = new Int8Array(x.length);
    expect(quantise(x, q)).toBe(1);
    expect(Array.from(q)).toEqual([127, 0, 2, 2, 0, -2, -2, -126]);
  });

  it("refuses rows that are not finite", () => {
    expect(quantise(Float32Array.of(1, Number.NaN), new Int8Array(2))).toBeNull();
    expect(quantise(Float32Array.of(Number.NEGATIVE_INFINITY), new Int8Array(1))).toBeNull();
  });

  it("sums in 16 stripes, not from left to right", () => {
    // Left to right, 1 is absorbed by 2²⁴ each time; in stripes element 16 meets the 1 of element 0 first.
    const a = new Float32Array(17).fill(0);
    a[0] = 1;
    a[1] = 2 ** 24;
    a[16] = 1;
    expect(dot(a, 0, new Float32Array(17).fill(1), 0, 17)).toBe(2 ** 24 + 2);
    expect(Object.is(dot(Float32Array.of(-0), 0, Float32Array.of(1), 0, 1), 0)).toBe(true);
  });

  it("norms as mathematics does", () => {
    const draw = new Draw(1);
    const x = draw.floats(333);
    const weight = draw.floats(333);
    const out = new Float32Array(333);
    rmsNorm(x, weight, 1e-5, out);
    const r = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / 333 + 1e-5);
    out.forEach((value, i) => {
      expect(value).toBeCloseTo((x[i] ?? 0) * r * (weight[i] ?? 0), 4);
    });
  });

  it("rotates pairs by the angle, in both pairings", () => {
    const angle = 0.3;
    const table = Float32Array.of(Math.cos(angle), 1, Math.sin(angle), 0);
    const half = Float32Array.of(1, 5, 2, 6);
    rope(half, 0, table, 4, "half");
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    expect(Array.from(half)).toEqual([c - 2 * s, 5, 2 * c + s, 6].map((v) => expect.closeTo(v, 6)));
    const adjacent = Float32Array.of(1, 2, 5, 6);
    rope(adjacent, 0, table, 4, "adjacent");
    expect(Array.from(adjacent)).toEqual([c - 2 * s, 2 * c + s, 5, 6].map((v) => expect.closeTo(v, 6)));
  });

  it.each([
    ["relu2", (g: number) => Math.max(g, 0) ** 2],
    ["silu", (g: number) => g / (1 + Math.exp(-g))],
    ["gelu", (g: number) => 0.5 * g * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3)))],
  ] as const)("gates with %s", (fn, exact) => {
    const gate = Float32Array.from({ length: 401 }, (_, i) => (i - 200) / 20);
    const out = new Float32Array(401);
    gatedActivation(fn, gate, new Float32Array(401).fill(2), out);
    out.forEach((value, i) => {
      expect(value).toBeCloseTo(2 * exact(gate[i] ?? 0), 4);
    });
  });
});

describe("reference attention", () => {
  it("is softmax(q · Kᵀ · scale) · V over the row's own past, through scattered pages", () => {
    const draw = new Draw(2);
    const [nHeads, nKvHeads, headDim, nKeys, scale] = [4, 2, 8, 300, 0.35];
    const layer = new KvLayer({ nKvHeads, headDim }, "f32");
    const table = Int32Array.from({ length: 12 }, (_, i) => (i * 5 + 3) % 12);
    const keys = Array.from({ length: nKeys + 10 }, () => draw.floats(nKvHeads * headDim));
    const values = keys.map(() => draw.floats(nKvHeads * headDim));
    keys.forEach((key, j) => {
      layer.write(table, j, key, values[j] ?? key);
    });
    const q = draw.floats(nHeads * headDim);
    const out = new Float32Array(nHeads * headDim);
    attend(layer, { q, out, table, position: nKeys - 1, nHeads, scale, window: 0 });
    for (let head = 0; head < nHeads; head++) {
      const kvHead = head >> 1;
      const at = (row: Float32Array | undefined, d: number) => row?.[kvHead * headDim + d] ?? Number.NaN;
      const weights = keys.slice(0, nKeys).map((key) => {
        let score = 0;
        for (let d = 0; d < headDim; d++) score += (q[head * headDim + d] ?? 0) * at(key, d);
        return Math.exp(score * scale);
      });
      const total = weights.reduce((sum, w) => sum + w, 0);
      for (let d = 0; d < headDim; d++) {
        const exact = weights.reduce((sum, w, j) => sum + w * at(values[j], d), 0) / total;
        expect(out[head * headDim + d]).toBeCloseTo(exact, 4);
      }
    }
  });
});

describe("reference head", () => {
  const logits = Float32Array.of(1, 3, 3, -2, 0.5);
  const answer = (want: Parameters<typeof answerHead>[0]["want"], rest = {}) =>
    answerHead({ row: 0, want, ...rest }, logits);

  it("ranks by logit, then by id, and lists only what is asked", () => {
    expect(Array.from(answer({ kind: "top", k: 3 }).ids)).toEqual([1, 2, 0]);
    expect(Array.from(answer({ kind: "above", margin: 2 }).ids)).toEqual([1, 2, 0]);
    const masked = answer(
      { kind: "top", k: 9 },
      { allow: Uint32Array.of(0b11001), apart: Int32Array.of(4, 1) },
    );
    expect(Array.from(masked.ids)).toEqual([0, 3]);
    expect(Array.from(masked.apartLogits)).toEqual([0.5, 3]);
  });

  it("computes the log of the sum of exponentials", () => {
    const exact = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    expect(logSumExp(logits)).toBeCloseTo(exact, 6);
    expect(answer({ kind: "top", k: 1 }, { logSumExp: true }).logSumExp).toBe(logSumExp(logits));
  });

  it("draws winners with the probabilities of softmax(logits / temperature)", () => {
    const counts = [0, 0, 0, 0, 0];
    for (let index = 0; index < 20_000; index++) {
      const { ids } = answer({ kind: "winner", temperature: 2, seed: 11, choice: 0, index });
      counts[ids[0] ?? 0] = (counts[ids[0] ?? 0] ?? 0) + 1;
    }
    const weights = Array.from(logits, (logit) => Math.exp(logit / 2));
    const total = weights.reduce((sum, w) => sum + w, 0);
    counts.forEach((count, id) => {
      expect(count / 20_000).toBeCloseTo((weights[id] ?? 0) / total, 1);
    });
  });
});
