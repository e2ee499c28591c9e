/** Inputs and answers of the kernels of attention; a part of kernel-vectors.ts. */
import { expF32 } from "../../base/elementary.ts";
import { fma } from "../../base/fma.ts";
import { widenRows } from "../../packing/dense.ts";
import type { KvType } from "../backend.ts";
import { dot, foldStripes } from "../reference/rows.ts";
import type { Draw } from "./case.ts";
import { denseBytes, type KernelCase } from "./kernel-case.ts";

const f32 = Math.fround;
/** In the order of the numbers that the kernels give them. */
const kvTypes: readonly KvType[] = ["f32", "f16"];

/** What becomes of the sums that there are: they go on, they begin anew, or what begins anew is added to them. */
const valueSums = ["continued", "first", "total"] as const;

/** Queries on both sides of the tiles in which kernels take them. */
export function attentionCases(draw: Draw, headDim: number): KernelCase[] {
  const nKeys = 11;
  return kvTypes.flatMap((type, index) => {
    const bytes = denseBytes(draw, type, nKeys * headDim);
    const keys = new Float32Array(nKeys * headDim);
    widenRows(type, bytes, headDim, 0, nKeys, keys);
    return [1, 3, 10].flatMap((nQ) => {
      // Rows lie further apart than they are long; what is between them stays as it is.
      const gap = nQ === 1 ? 0 : 5;
      const wide = headDim + gap;
      const narrow = nKeys + gap;
      const q = draw.floats(nQ * wide);
      const p = draw.floats(nQ * narrow);
      const scores = draw.floats(nQ * narrow);
      const sums = draw.floats(nQ * wide);
      const params = [headDim, index, nKeys, nQ, gap];
      return [
        { kernel: "scores", params, arrays: [q, bytes, scores, scored(q, keys, headDim, gap, scores)] },
        ...[0, 1].flatMap((byLane) =>
          valueSums.map((kind, index) => {
            const weights = byLane === 0 ? p : byKey(p, nQ, nKeys, gap);
            const answer = accumulated(p, keys, headDim, gap, sums, kind);
            return {
              kernel: "accumulateValues",
              params: [...params, byLane, index],
              arrays: [weights, bytes, sums, answer],
            };
          }),
        ),
      ];
    });
  });
}

/** The weights [nQ, nKeys] as [nKeys, nQ]. */
function byKey(p: Float32Array, nQ: number, nKeys: number, gap: number): Float32Array {
  return Float32Array.from(
    { length: nKeys * nQ },
    (_, at) => p[(at % nQ) * (nKeys + gap) + Math.floor(at / nQ)] ?? 0,
  );
}

/** Queries in lanes: numbers of them that fill every register tile, and keys on both sides of it. */
export function laneCases(draw: Draw, headDim: number): KernelCase[] {
  const cases: KernelCase[] = [];
  for (const nQ of [16, 30, 112]) {
    const nKeys = nQ === 30 ? 19 : 11;
    const stride = Math.ceil(nQ / 16) * 16;
    const q = draw.floats(nQ * headDim);
    const keys = draw.floats(nKeys * headDim);
    const scores = Float32Array.from({ length: nKeys * stride }, (_, at) => {
      const query = at % stride;
      return query < nQ ? dot(q, query * headDim, keys, Math.floor(at / stride) * headDim, headDim) : 0;
    });
    cases.push({ kernel: "laneScores", params: [headDim, nKeys, nQ], arrays: [q, keys, scores] });
  }
  return cases;
}

export function laneSoftmaxCases(draw: Draw): KernelCase[] {
  const scale = f32(0.0884);
  const sizes: [number, number][] = [
    [1, 90],
    [5, 90],
    [16, 90],
    [50, 90],
    // What rounding takes from the highest score is more than an exponent may have.
    [17, 1e12],
  ];
  return sizes.map(([nKeys, size]) => {
    const stride = 80;
    const scores = draw.floats(nKeys * stride, size);
    // Masked: the last key for some lanes.
    if (nKeys > 1) scores.fill(-Infinity, (nKeys - 1) * stride, (nKeys - 1) * stride + 7);
    const p = new Float32Array(scores.length);
    const denominators = new Float32Array(stride);
    for (let i = 0; i < stride; i++) {
      const lane = Float32Array.from({ length: nKeys }, (_, j) => scores[j * stride + i] ?? 0);
      const m = f32(Math.max(...lane) * scale);
      const exps = lane.map((x) => (x === -Infinity ? 0 : expF32(fma(x, scale, -m))));
      exps.forEach((x, j) => {
        p[j * stride + i] = x;
      });
      const chains = new Float32Array(16);
      exps.forEach((x, j) => {
        chains[j & 15] = (chains[j & 15] ?? 0) + x;
      });
      denominators[i] = foldStripes(chains);
    }
    return { kernel: "laneSoftmax", params: [stride, nKeys, scale], arrays: [scores, p, denominators] };
  });
}

function scored(q: Float32Array, keys: Float32Array, headDim: number, gap: number, before: Float32Array) {
  const nKeys = keys.length / headDim;
  return before.map((kept, at) => {
    const query = Math.floor(at / (nKeys + gap));
    const key = at % (nKeys + gap);
    return key < nKeys ? dot(q, query * (headDim + gap), keys, key * headDim, headDim) : kept;
  });
}

function accumulated(
  p: Float32Array,
  values: Float32Array,
  headDim: number,
  gap: number,
  before: Float32Array,
  kind: (typeof valueSums)[number],
) {
  const nKeys = values.length / headDim;
  return before.map((old, at) => {
    const query = Math.floor(at / (headDim + gap));
    const d = at % (headDim + gap);
    if (d >= headDim) return old;
    const weights = p.subarray(query * (nKeys + gap), query * (nKeys + gap) + nKeys);
    const first = kind === "continued" ? old : 0;
    const sum = weights.reduce((sum, w, j) => fma(w, values[j * headDim + d] ?? 0, sum), first);
    return kind === "total" ? f32(old + sum) : sum;
  });
}

export function expCase(draw: Draw): KernelCase {
  const n = 1003;
  const m = 2.5;
  const scale = f32(0.7);
  const x = Float32Array.from({ length: n }, (_, i) => m - 0.09 * i * Math.abs(draw.even()));
  const stripes = Float32Array.from({ length: 16 }, () => Math.abs(draw.even()));
  const p = x.map((v) => expF32(fma(v, scale, -m)));
  const sums = stripes.slice();
  p.forEach((v, j) => {
    sums[j & 15] = (sums[j & 15] ?? 0) + v;
  });
  return { kernel: "expStripes", params: [n, scale, m], arrays: [x, stripes, p, sums] };
}
