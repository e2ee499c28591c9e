/**
 * Inputs and answers of single kernels, as one binary file, for backends whose kernels are not written in TypeScript: what
 * docs/numerics.md decides, computed with the reference's own functions where it has them. Knows nothing of C++.
 *
 * File: "BNKV", then cases. A case is a name, its parameters (f64) and its arrays, inputs before answers; each of the three
 * is a 32-bit count followed by the data, and everything is padded to 8 bytes. An empty name ends the file.
 */
import { roundTiesToEven } from "../../base/elementary.ts";
import { f32ToF16, f32ToF16Saturating } from "../../base/float16.ts";
import { fma } from "../../base/fma.ts";
import { gumbel } from "../../base/noise.ts";
import { unpackComputeRow } from "../../packing/compute-layout.ts";
import { denseByteLength, widenRows } from "../../packing/dense.ts";
import type { DenseType } from "../../packing/packing.ts";
import { absMaxBits, dot, gatedActivation, rope } from "../reference/rows.ts";
import { attentionCases, expCase, laneCases, laneSoftmaxCases } from "./attention-vectors.ts";
import { Draw } from "./case.ts";
import { denseBytes, type KernelCase, type Vector } from "./kernel-case.ts";

const f32 = Math.fround;
const lengths = [1, 3, 7, 16, 37, 250] as const;
/** In the order of the numbers that the kernels give them. */
const denseTypes: readonly DenseType[] = ["f32", "f16", "bf16", "q8_0", "q6_k", "q4_0", "trits", "q4_k"];
const gateFns = ["relu2", "silu", "gelu"] as const;
const pairings = ["half", "adjacent"] as const;

/** The whole file. */
export function kernelVectors(): Uint8Array {
  const chunks: Uint8Array[] = [new TextEncoder().encode("BNKV\0\0\0\0")];
  for (const { kernel, params, arrays } of kernelCases()) {
    chunks.push(...block(new TextEncoder().encode(kernel)), ...block(Float64Array.from(params)));
    chunks.push(uint32(arrays.length));
    for (const array of arrays) chunks.push(...block(array));
  }
  chunks.push(uint32(0));
  const file = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    file.set(chunk, at);
    at += chunk.length;
  }
  return file;
}

function uint32(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** Byte count, then the bytes padded to 8. */
function block(array: Vector | Float64Array): Uint8Array[] {
  const bytes = new Uint8Array(Math.ceil(array.byteLength / 8) * 8);
  bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  return [uint32(array.byteLength), bytes];
}

function kernelCases(): KernelCase[] {
  const draw = new Draw(20);
  return [
    ...ternaryCases(draw),
    ...screenCases(draw),
    ...lengths.flatMap((n) => [
      ...scaleCases(draw, n),
      ...rowCases(draw, n),
      ...gateCases(draw, n),
      ...denseCases(draw, n),
      residualCase(draw, n),
      boundsCase(draw, n),
      ...attentionCases(draw, n),
      ...laneCases(draw, n),
      perturbCase(draw, n),
    ]),
    ...laneSoftmaxCases(draw),
    expCase(draw),
    ...widenCases(draw),
  ];
}

// ---- ternary ----

function ternaryCases(draw: Draw): KernelCase[] {
  const shapes = [
    [1, 1, 128],
    [5, 2, 256],
    [33, 3, 384],
    [70, 9, 640],
    [40, 20, 1280],
    [96, 32, 384],
    [50, 40, 256],
    [70, 35, 1408],
    [37, 150, 640],
  ] as const;
  const random = shapes.map(([nRows, nX, cols]) =>
    ternaryCase(draw.bytes((nRows * cols) / 4), new Int8Array(draw.bytes(nX * cols).buffer), nX, cols),
  );
  // The largest sums: code 3 against −128 and 127.
  const extremes = [-128, 127].map((q) =>
    ternaryCase(new Uint8Array(9 * 640).fill(0xff), new Int8Array(5 * 2560).fill(q), 5, 2560),
  );
  return [...random, ...extremes];
}

function ternaryCase(weights: Uint8Array, x: Int8Array, nX: number, cols: number): KernelCase {
  const nRows = (weights.length * 4) / cols;
  const sums = Int32Array.from({ length: nX }, (_, i) =>
    x.subarray(i * cols, (i + 1) * cols).reduce((sum, q) => sum + q, 0),
  );
  const acc = new Int32Array(nX * nRows);
  const trits = new Int8Array(cols);
  for (let r = 0; r < nRows; r++) {
    unpackComputeRow(weights, (r * cols) / 4, cols, trits);
    for (let i = 0; i < nX; i++) {
      acc[i * nRows + r] = trits.reduce((sum, w, k) => sum + w * (x[i * cols + k] ?? 0), 0);
    }
  }
  return { kernel: "ternaryMatmul", params: [nRows, nX, cols], arrays: [weights, x, sums, acc] };
}

// ---- the screened head ----

function screenCases(draw: Draw): KernelCase[] {
  const shapes = [
    [1, 1, 64],
    [5, 2, 128],
    [9, 3, 192],
    [70, 9, 640],
    [66, 20, 320],
    [34, 40, 128],
    [49, 35, 1088],
    [33, 140, 64],
  ] as const;
  const signed = (length: number) => new Int8Array(draw.bytes(length).buffer).subarray(0, length);
  const random = shapes.map(([nRows, nX, cols]) =>
    screenCase(signed(nRows * cols), signed(nX * cols), nX, cols),
  );
  // The largest sums, and the largest pairs of products where a kernel adds those in 16 bits.
  const extremes = [-128, 127].flatMap((x) =>
    [-127, 127].map((row) =>
      screenCase(new Int8Array(5 * 2560).fill(row), new Int8Array(3 * 2560).fill(x), 3, 2560),
    ),
  );
  return [...random, ...extremes];
}

/** Rows hold no −128. */
function screenCase(values: Int8Array, x: Int8Array, nX: number, cols: number): KernelCase {
  const rows = values.map((value) => Math.max(value, -127));
  const nRows = rows.length / cols;
  const sums = Int32Array.from({ length: nX }, (_, i) =>
    x.subarray(i * cols, (i + 1) * cols).reduce((sum, q) => sum + q, 0),
  );
  const acc = Int32Array.from({ length: nX * nRows }, (_, at) => {
    const i = Math.floor(at / nRows);
    const row = rows.subarray((at % nRows) * cols, ((at % nRows) + 1) * cols);
    return row.reduce((sum, value, k) => sum + value * (x[i * cols + k] ?? 0), 0);
  });
  return { kernel: "screenDots", params: [nRows, nX, cols], arrays: [rows, x, sums, acc] };
}

function boundsCase(draw: Draw, n: number): KernelCase {
  const factors = [8, 0.013, 3.5, 0.0002, 1.75].map(f32);
  const [unit = 0, step = 0, byLoss = 0, byNorm = 0, byScale = 0] = factors;
  const [scales, losses, norms] = [draw.floats(n), draw.floats(n), draw.floats(n)];
  const sums = (size: number) => Int32Array.from({ length: n }, () => Math.round(size * draw.even()));
  const high = sums(2 ** 25);
  const low = sums(2 ** 25);
  const [slack, tiny] = [2 ** -20, 2 ** -126];
  const upper = scales.map((scale, r) => {
    const [h, l] = [f32(high[r] ?? 0), f32(low[r] ?? 0)];
    const digit = f32(scale * step);
    const estimate = f32(digit * fma(256, h, l));
    const size = f32(digit * fma(256, Math.abs(h), Math.abs(l)));
    const error = fma(losses[r] ?? 0, byLoss, fma(norms[r] ?? 0, byNorm, f32(scale * byScale)));
    const bound = f32(f32(estimate + error) + fma(f32(size + error), slack, tiny));
    return fma(bound, unit, tiny);
  });
  return {
    kernel: "screenBounds",
    params: [n, ...factors],
    arrays: [scales, losses, norms, high, low, upper],
  };
}

function residualCase(draw: Draw, n: number): KernelCase {
  const weights = draw.floats(n, 4);
  const s = f32(0.03 + Math.abs(draw.even()) / 100);
  const q = Int8Array.from(weights, (w) => Math.min(127, Math.max(-127, Math.round(w / s))));
  const errors = weights.map((w, i) => fma(-s, q[i] ?? 0, w));
  return {
    kernel: "residualSquares",
    params: [n, s],
    arrays: [weights, q, Float32Array.of(dot(errors, 0, errors, 0, n))],
  };
}

function scaleCases(draw: Draw, n: number): KernelCase[] {
  // Sums past 2²⁴, which f32 has to round.
  const acc = Int32Array.from({ length: n }, () => draw.bits() >> draw.below(20));
  const scale = draw.floats(3 * n);
  const t = f32(draw.even());
  const s = f32(1 + Math.abs(draw.even()));
  const sum = draw.floats(n, 100);
  const values = Float32Array.from(acc);
  return [
    { kernel: "scaleTensor", params: [n, t], arrays: [acc, values.map((v) => v * t)] },
    {
      kernel: "scaleRow",
      params: [n, s],
      arrays: [acc, scale, values.map((v, i) => v * f32((scale[i] ?? 0) / s))],
    },
    {
      kernel: "foldGroup",
      params: [n, 3],
      arrays: [acc, scale, sum, values.map((v, i) => fma(v, scale[3 * i] ?? 0, sum[i] ?? 0))],
    },
    { kernel: "multiply", params: [n, t], arrays: [sum, sum.map((v) => v * t)] },
  ];
}

// ---- rows of f32 ----

function rowCases(draw: Draw, n: number): KernelCase[] {
  const x = draw.floats(n);
  const y = draw.floats(n, 30);
  const r = f32(Math.abs(draw.even()) + 0.1);
  const normalised = x.map((v, i) => f32(v * r) * (y[i] ?? 0));
  const halves = Float32Array.from({ length: n }, () => draw.even() * 2 ** (draw.below(46) - 28));
  return [
    { kernel: "sumSquares", params: [n], arrays: [x, Float32Array.of(dot(x, 0, x, 0, n))] },
    { kernel: "absMaxBits", params: [n], arrays: [x, Uint32Array.of(absMaxBits(x))] },
    {
      kernel: "normalise",
      params: [n, r],
      arrays: [x, y, normalised, Uint32Array.of(absMaxBits(normalised))],
    },
    { kernel: "add", params: [n], arrays: [x, y, x.map((v, i) => v + (y[i] ?? 0))] },
    { kernel: "divide", params: [n, r], arrays: [x, x.map((v) => v / r)] },
    { kernel: "narrow", params: [n], arrays: [halves, Uint16Array.from(halves, f32ToF16Saturating)] },
    { kernel: "maximum", params: [n], arrays: [x, Float32Array.of(Math.max(...x) + 0)] },
    // y in (−30, 30): ties for s = 1, values past both ends for s = 7.3.
    quantiseCase(
      y.map(Math.trunc).map((v) => v + 0.5),
      1,
    ),
    quantiseCase(y, f32(7.3)),
    ...pairings.map((pairing) => ropeCase(draw, n, pairing)),
  ];
}

function quantiseCase(y: Float32Array, s: number): KernelCase {
  const n = y.length;
  const q = new Int8Array(Math.ceil(n / 128) * 128);
  for (let i = 0; i < n; i++) {
    q[i] = Math.min(127, Math.max(-128, roundTiesToEven(f32((y[i] ?? 0) * s))));
  }
  const sum = q.reduce((total, v) => total + v, 0);
  return { kernel: "quantise", params: [n, q.length, s], arrays: [y, q, Int32Array.of(sum)] };
}

function ropeCase(draw: Draw, nPairs: number, pairing: (typeof pairings)[number]): KernelCase {
  const x = draw.floats(2 * nPairs);
  const table = draw.floats(2 * nPairs);
  const rotated = x.slice();
  rope(rotated, 0, table, 2 * nPairs, pairing);
  return { kernel: "rope", params: [2 * nPairs, pairings.indexOf(pairing)], arrays: [x, table, rotated] };
}

function gateCases(draw: Draw, n: number): KernelCase[] {
  const gate = draw.floats(n, 12);
  // Both ends of exp.
  if (n > 3) gate.set([-100, 100, -87.3, 88.37]);
  const up = draw.floats(n);
  return gateFns.map((fn, index) => {
    const out = new Float32Array(n);
    gatedActivation(fn, gate, up, out);
    return { kernel: "gate", params: [n, index], arrays: [gate, up, out] };
  });
}

// ---- dense weights ----

function denseCases(draw: Draw, n: number): KernelCase[] {
  const nRows = 7;
  return denseTypes.slice(0, 3).flatMap((type, index) => {
    const bytes = denseBytes(draw, type, nRows * n);
    const wide = new Float32Array(nRows * n);
    widenRows(type, bytes, n, 0, nRows, wide);
    const x = draw.floats(n);
    const dots = Float32Array.from({ length: nRows }, (_, r) => dot(wide, r * n, x, 0, n));
    return [
      { kernel: "widen", params: [nRows * n, index], arrays: [bytes, wide] },
      { kernel: "denseDots", params: [n, index, nRows], arrays: [bytes, x, dots] },
    ];
  });
}

function widenCases(draw: Draw): KernelCase[] {
  return denseTypes.slice(3).flatMap((type) =>
    [256, 768].map((n) => {
      const blockBytes = denseByteLength(type, type === "trits" ? 128 : type.endsWith("_k") ? 256 : 32);
      const bytes = draw.bytes(denseByteLength(type, n));
      const setHalves = (from: number) => {
        for (let at = from; at < bytes.length; at += blockBytes) {
          const d = f32ToF16(draw.even());
          bytes[at] = d & 255;
          bytes[at + 1] = d >> 8;
        }
      };
      setHalves(type === "q6_k" ? 208 : 0);
      if (type === "q4_k") setHalves(2);
      const wide = new Float32Array(n);
      widenRows(type, bytes, n, 0, 1, wide);
      return { kernel: "widen", params: [n, denseTypes.indexOf(type)], arrays: [bytes, wide] };
    }),
  );
}

// ---- sampling ----

function perturbCase(draw: Draw, n: number): KernelCase {
  const logits = draw.floats(n, 20);
  const temperature = f32(0.7);
  const point = { seed: draw.bits(), choice: draw.below(8), index: draw.below(5000) };
  const firstId = 128_000;
  const out = logits.map((logit, i) => f32(logit / temperature) + gumbel(point, firstId + i));
  return {
    kernel: "perturb",
    params: [n, firstId, temperature, point.seed, point.choice, point.index],
    arrays: [logits, out],
  };
}
