/** The native kernels give the bits of the reference: every operation, every instruction set that runs here, any number of threads. */
import { ropeTable } from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { noise } from "../graph/small-model.test.kit.ts";
import type { Floats, Kernels } from "./kernels.ts";
import { nativeKernels } from "./native-kernels.ts";
import { referenceKernels } from "./reference/reference-kernels.ts";

function available(): string[] {
  return ["avx512bf16", "avx512vnni", "avx512", "avx2", "neon", "scalar"].filter((isa) => {
    try {
      nativeKernels({ isa });
      return true;
    } catch {
      return false;
    }
  });
}

const reference = referenceKernels("f32");
const isas = available();

function random(n: number, seed: number, size = 1): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => size * noise(seed, i));
}

/** What a case leaves in its buffers. */
type Case = (kernels: Kernels) => Floats[];

const cases: [string, Case][] = [];
const add = (name: string, run: Case) => cases.push([name, run]);

for (const [m, n, k] of [
  [1, 1, 1],
  [13, 33, 7],
  [30, 20, 257],
  [12, 32, 256],
  [5, 70, 600],
  [200, 17, 40],
] as const)
  for (const transA of [false, true])
    for (const transB of [false, true])
      for (const adds of [false, true])
        add(`product ${m}×${n}×${k} ${transA} ${transB} ${adds}`, (kernels) => {
          const out = random(m * n, 3);
          const s = random(m, 4).map((x) => 2 + x);
          const inner = transA ? { innerDivisors: random(k, 5).map((x) => 2 + x) } : {};
          const operands = { a: random(m * k, 1), b: random(n * k, 2), out, m, n, k };
          kernels.product({ ...operands, transA, transB, adds, factor: 0.37, rowDivisors: s, ...inner });
          return [out];
        });

for (const [m, n, k] of [
  [1, 1, 1],
  [13, 33, 7],
  [12, 32, 64],
  [30, 20, 257],
  [200, 70, 770],
] as const)
  for (const values of [3, 2])
    add(`product of bytes and ${values === 3 ? "trits" : "signs"} ${m}×${n}×${k}`, (kernels) => {
      const out = new Float32Array(m * n);
      // Every seventh row as large as can be, so that sums are.
      const a = random(m * k, 1).map((x, i) => (Math.floor(i / k) % 7 === 0 ? -128 : Math.round(127 * x)));
      const b = random(n * k, 2).map((x) => (values === 2 ? (x < 0 ? -1 : 1) : Math.round(1.4 * x)));
      const s = random(m, 4).map((x) => 2 + x);
      kernels.product({ a, b, out, m, n, k, transB: true, factor: 0.37, rowDivisors: s, isTernary: true });
      return [out];
    });

for (const [m, n, k] of [
  [1, 1, 1],
  [7, 5, 31],
  [4, 4, 16],
  [33, 18, 70],
] as const)
  add(`striped product ${m}×${n}×${k}`, (kernels) => {
    const out = new Float32Array(m * n);
    kernels.stripedProduct({ a: random(m * k, 1), b: random(n * k, 2), out, m, n, k });
    return [out];
  });

for (const [rows, width] of [
  [1, 1],
  [3, 15],
  [5, 16],
  [300, 33],
  [513, 48],
] as const) {
  add(`norm ${rows}×${width}`, (kernels) => {
    const [x, weight, dOut] = [random(rows * width, 1), random(width, 2), random(rows * width, 3)];
    const [out, r] = [new Float32Array(rows * width), new Float32Array(rows)];
    kernels.rmsNorm(x, weight, 1e-5, out, r);
    const [dX, dWeight] = [random(rows * width, 4), random(width, 5)];
    kernels.rmsNormGradient({ x, weight, r, dOut, dX, dWeight });
    return [out, r, dX, dWeight];
  });
  add(`quantise ${rows}×${width}`, (kernels) => {
    const x = random(rows * width, 1, 3);
    x.fill(0, 0, Math.min(width, x.length)); // a row of zeros
    const s = new Float32Array(rows);
    kernels.quantise(x, width, x, s); // in place, as the executor does
    return [x, s];
  });
  for (const fn of ["relu2", "silu"] as const)
    add(`${fn} ${rows}×${width}`, (kernels) => {
      const n = rows * width;
      const [gate, up, dOut, out] = [random(n, 1, 9), random(n, 2), random(n, 3), new Float32Array(n)];
      kernels.gate(fn, gate, up, out);
      const [dGate, dUp] = [random(n, 4), random(n, 5)];
      kernels.gateGradient({ fn, gate, up, dOut, dGate, dUp });
      return [out, dGate, dUp];
    });
}

for (const [rows, width] of [
  [1, 1],
  [3, 31],
  [70, 48],
  [5, 700],
] as const) {
  add(`dropout ${rows}×${width}`, (kernels) => {
    const x = random(rows * width, 1);
    const [out, added] = [new Float32Array(x.length), random(x.length, 2)];
    const key = { seed: 0xdeadbeef, step: 7, site: 3, firstRow: 1000, share: 0.3 };
    kernels.dropout({ x, width, out, ...key });
    kernels.dropout({ x, width, out: added, ...key, adds: true });
    return [out, added];
  });
  add(`scaled sum ${rows}×${width}`, (kernels) => {
    const a = random(rows * width, 1);
    kernels.addScaled(a, random(rows * width, 2), 0.7, a);
    return [a];
  });
}

for (const form of ["b1.58", "b1"] as const)
  for (const n of [1, 6, 2 ** 18 + 35])
    add(`weights ${form} ${n}`, (kernels) => {
      const out = new Float32Array(n);
      return [out, Float32Array.of(kernels.formWeights(random(n, 1, 0.05), form, out))];
    });

for (const [headDim, nHeads, nKvHeads, lengths] of [
  [6, 4, 2, [5, 1, 2]],
  [32, 2, 1, [19, 270]],
  [48, 3, 3, [33, 16]],
  [16, 1, 1, [4]],
] as const) {
  const starts = Int32Array.from([0, ...lengths]);
  for (let d = 1; d < starts.length; d++) starts[d] = (starts[d] ?? 0) + (starts[d - 1] ?? 0);
  const rows = starts.at(-1) ?? 0;
  add(`attention ${headDim} ${nHeads}/${nKvHeads} ${lengths}`, (kernels) => {
    const [queries, keys] = [rows * nHeads * headDim, rows * nKvHeads * headDim];
    const shape = { starts, nHeads, nKvHeads, headDim };
    const inputs = { q: random(queries, 1, 2), k: random(keys, 2, 2), v: random(keys, 3) };
    const [out, stats] = [new Float32Array(queries), new Float32Array(2 * rows * nHeads)];
    kernels.attention({ ...shape, ...inputs, out, stats });
    const gradients = {
      dOut: random(queries, 4),
      dQ: random(queries, 5),
      dK: random(keys, 6),
      dV: random(keys, 7),
    };
    kernels.attentionGradient({ ...shape, ...inputs, out, stats, ...gradients });
    return [out, stats, gradients.dQ, gradients.dK, gradients.dV];
  });
  add(`rope ${headDim} ${nHeads} ${lengths}`, (kernels) => {
    const x = random(rows * nHeads * headDim, 1);
    const table = ropeTable({ contextLength: 300, headDim, theta: 1e4, scaling: null });
    kernels.rope({ x, starts, nHeads, headDim, table, isInverse: false });
    const forward = x.slice();
    kernels.rope({ x, starts, nHeads, headDim, table, isInverse: true });
    return [forward, x];
  });
}

for (const vocab of [1, 19, 64, 130])
  add(`cross-entropy ${vocab}`, (kernels) => {
    const rows = 9;
    const logits = random(rows * vocab, 1, 20);
    const labels = Int32Array.from({ length: rows }, (_, row) => (row * 7) % vocab);
    const weights = Float32Array.from({ length: rows }, (_, row) => (row % 4) / 2);
    const [plain, losses] = [new Float32Array(rows), new Float32Array(rows)];
    kernels.crossEntropy({ logits: logits.slice(), rows, vocab, labels, weights, losses: plain });
    kernels.crossEntropy({ logits, rows, vocab, labels, weights, losses, scale: 1 / 7 });
    expect(losses).toEqual(plain);
    return [losses, logits];
  });

add("embedding", (kernels) => {
  const ids = Int32Array.from({ length: 50 }, (_, i) => (i * i) % 7);
  const [table, out] = [random(7 * 20, 1), new Float32Array(50 * 20)];
  kernels.embed(table, ids, 20, out);
  const dTable = random(7 * 20, 2);
  kernels.embedGradient(ids, random(50 * 20, 3), 20, dTable);
  return [out, dTable];
});

for (const n of [1, 15, 1000, 70_000])
  add(`optimiser ${n}`, (kernels) => {
    const [weights, gradient] = [random(n, 1), random(n, 2)];
    const [m, v] = [random(n, 3), random(n, 4).map(Math.abs)];
    const constants = {
      rate: 2.5e-3,
      beta1: 0.9,
      beta2: 0.95,
      eps: 1e-8,
      weightDecay: 0.1,
      gradientFactor: 0.7,
    };
    kernels.adamw({ weights, gradient, m, v, ...constants, step: 3 });
    const sum = new Float32Array(n);
    kernels.add(weights, gradient, sum);
    return [weights, m, v, sum, Float64Array.of(kernels.sumSquares(gradient))];
  });

/** Index and values of the first difference; null when there is none. −0 equals 0. */
function firstDifference(found: Floats, expected: Floats): string | null {
  for (let i = 0; i < expected.length; i++)
    if (found[i] !== expected[i]) return `[${i}] of ${expected.length}: ${found[i]}, expected ${expected[i]}`;
  return null;
}

describe.skipIf(isas.length === 0)("native training kernels", () => {
  it("are chosen by name, and unknown names are refused", () => {
    expect(nativeKernels().name).toBe(`native ${isas[0]}`);
    expect(() => nativeKernels({ isa: "sse9" })).toThrow(/sse9/);
  });

  it.each(cases)("%s", (_, run) => {
    const expected = run(reference);
    for (const isa of isas)
      for (const threads of [1, 3]) {
        const found = run(nativeKernels({ isa, threads }));
        const differences = expected.map((buffer, b) => firstDifference(found[b] as Floats, buffer));
        expect({ isa, threads, differences }).toEqual({
          isa,
          threads,
          differences: expected.map(() => null),
        });
      }
  });

  const brainy = isas.filter((isa) => nativeKernels({ isa }).hasBrains);
  it.skipIf(brainy.length === 0)(
    "multiply bf16 as the reference does, but for the order of a sum, for any threads",
    () => {
      for (const isa of brainy)
        for (const [m, n, k] of [
          [1, 1, 1],
          [13, 33, 7],
          [30, 20, 257],
          [12, 32, 256],
          [200, 70, 611],
        ] as const)
          for (const transA of [false, true])
            for (const adds of [false, true]) {
              const inner = transA ? { innerDivisors: random(k, 5).map((x) => 2 + x) } : {};
              const operands = { a: random(m * k, 1), b: random(n * k, 2), m, n, k, transA, adds, ...inner };
              const productOf = (kernels: Kernels, isBrain: boolean) => {
                const out = random(m * n, 3);
                kernels.product({ ...operands, out, factor: 0.37, isBrain });
                return out;
              };
              const found = productOf(nativeKernels({ isa, threads: 1 }), true);
              expect(productOf(nativeKernels({ isa, threads: 3 }), true)).toEqual(found);
              const expected = productOf(reference, true);
              const exact = productOf(reference, false);
              const errorFrom = (values: Float32Array) =>
                Math.max(...found.map((x, i) => Math.abs(x - (values[i] ?? 0))));
              // Far nearer to rounded operands than to whole ones.
              const what = `${isa} ${m}×${n}×${k} ${transA} ${adds}`;
              expect(errorFrom(expected), what).toBeLessThan(2e-7 * k + 1e-7);
              if (k > 5) expect(errorFrom(exact), what).toBeGreaterThan(1e-4);
            }
    },
  );

  it("refuse bf16 where there is none, and what it is not made for", () => {
    const x = new Float32Array(4);
    const product = { a: x, b: x, out: new Float32Array(4), m: 2, n: 2, k: 2, isBrain: true };
    for (const isa of isas.filter((each) => !brainy.includes(each)))
      expect(() => nativeKernels({ isa }).product(product)).toThrow(/INTERNAL|wrong sizes/);
    for (const isa of brainy)
      expect(() => nativeKernels({ isa }).product({ ...product, transB: true })).toThrow(/wrong sizes/);
  });

  it("refuse activations and weights that are not finite", () => {
    for (const kernels of [reference, nativeKernels()])
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const x = Float32Array.of(1, bad);
        expect(() => kernels.quantise(x, 2, x.slice(), new Float32Array(1))).toThrow(/NaN or infinite/);
        expect(() => kernels.formWeights(x, "b1.58", x.slice())).toThrow(/NaN or infinite/);
      }
  });

  it("refuse buffers of other sizes", () => {
    const short = new Float32Array(3);
    expect(() => nativeKernels().add(short, short, new Float32Array(4))).toThrow(/wrong sizes/);
  });
});
