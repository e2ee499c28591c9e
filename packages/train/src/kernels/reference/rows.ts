/** Operations on rows and elements, and their gradients. What each gives in f32 stands here; docs/training.md lists the decisions. */
import { BitNetError, roundTiesToEven, threefry } from "@bitnet.ts/core";
import { chainLength, type Floats, type GateFn, type Kernels, type WeightForm } from "../kernels.ts";
import { dot, foldStripes, type Numbers } from "./numbers.ts";

const smallestAbsMax = Math.fround(1e-5);

type RowKernels = Pick<
  Kernels,
  | "embed"
  | "embedGradient"
  | "rmsNorm"
  | "rmsNormGradient"
  | "quantise"
  | "formWeights"
  | "rope"
  | "gate"
  | "gateGradient"
  | "add"
  | "addScaled"
  | "dropout"
>;

/** Pairs of columns that one site may have; two columns share a word of noise, 16 bits each. */
export const dropoutPairs = 2 ** 16;

/** A column is kept when its 16 bits are at least `threshold`. */
export function dropoutNumbers(share: number): { threshold: number; factor: number } {
  return { threshold: Math.round(share * 2 ** 16), factor: 1 / (1 - share) };
}

export function rowKernels(numbers: Numbers): RowKernels {
  const { round, fma } = numbers;
  return {
    embed(table, ids, width, out) {
      ids.forEach((id, row) => {
        out.set(table.subarray(id * width, (id + 1) * width), row * width);
      });
    },
    embedGradient(ids, dOut, width, dTable) {
      ids.forEach((id, row) => {
        for (let i = 0; i < width; i++)
          dTable[id * width + i] = round(get(dTable, id * width + i) + get(dOut, row * width + i));
      });
    },
    rmsNorm(x, weight, eps, out, r) {
      const n = weight.length;
      for (let row = 0; row < r.length; row++) {
        const at = row * n;
        const meanSquare = round(dot(numbers, x, at, x, at, n) / n);
        const inverse = round(1 / round(Math.sqrt(round(meanSquare + round(eps)))));
        r[row] = inverse;
        for (let i = 0; i < n; i++) out[at + i] = round(get(x, at + i) * inverse) * get(weight, i);
      }
    },
    rmsNormGradient({ x, weight, r, dOut, dX, dWeight }) {
      const n = weight.length;
      for (let row = 0; row < r.length; row++) {
        const at = row * n;
        const inverse = get(r, row);
        const chains = numbers.array(16);
        for (let i = 0; i < n; i++) {
          const g = round(get(dOut, at + i) * get(weight, i));
          chains[i & 15] = fma(g, get(x, at + i), get(chains, i & 15));
        }
        const sum = foldStripes(numbers, chains);
        const share = round(round(round(sum * round(inverse * inverse)) * inverse) / n);
        for (let i = 0; i < n; i++) {
          const g = round(get(dOut, at + i) * get(weight, i));
          dX[at + i] = get(dX, at + i) + fma(-get(x, at + i), share, round(g * inverse));
        }
      }
      for (let first = 0; first < r.length; first += chainLength) {
        const end = Math.min(r.length, first + chainLength);
        for (let i = 0; i < n; i++) {
          let chain = 0;
          for (let row = first; row < end; row++)
            chain = fma(round(get(dOut, row * n + i) * get(x, row * n + i)), get(r, row), chain);
          dWeight[i] = get(dWeight, i) + chain;
        }
      }
    },
    quantise(x, width, q, s) {
      for (let row = 0; row < s.length; row++) {
        const at = row * width;
        let absMax = 0;
        for (let i = 0; i < width; i++) {
          const magnitude = Math.abs(get(x, at + i));
          if (!(magnitude < Number.POSITIVE_INFINITY)) throw notFinite("an activation");
          absMax = Math.max(absMax, magnitude);
        }
        const factor = round(127 / Math.max(absMax, smallestAbsMax));
        s[row] = factor;
        for (let i = 0; i < width; i++) {
          const rounded = roundTiesToEven(Math.fround(get(x, at + i) * factor));
          q[at + i] = Math.min(127, Math.max(-128, rounded));
        }
      }
    },
    formWeights: (master, form, out) => formWeights(numbers, master, form, out),
    rope({ x, starts, nHeads, headDim, table, isInverse }) {
      const half = headDim / 2;
      for (let d = 0; d + 1 < starts.length; d++) {
        const first = starts[d] ?? 0;
        for (let row = first; row < (starts[d + 1] ?? 0); row++) {
          for (let head = 0; head < nHeads; head++) {
            const at = (row * nHeads + head) * headDim;
            for (let i = 0; i < half; i++) {
              const cos = get(table, (row - first) * headDim + i);
              const sin = get(table, (row - first) * headDim + half + i) * (isInverse ? -1 : 1);
              const x0 = get(x, at + i);
              const x1 = get(x, at + half + i);
              x[at + i] = fma(x0, cos, -round(x1 * sin));
              x[at + half + i] = fma(x1, cos, round(x0 * sin));
            }
          }
        }
      }
    },
    gate(fn, gate, up, out) {
      for (let i = 0; i < gate.length; i++) out[i] = gateValue(numbers, fn, get(gate, i)) * get(up, i);
    },
    gateGradient({ fn, gate, up, dOut, dGate, dUp }) {
      for (let i = 0; i < gate.length; i++) {
        const d = get(dOut, i);
        const slope = gateSlope(numbers, fn, get(gate, i));
        dGate[i] = get(dGate, i) + round(round(slope * get(up, i)) * d);
        dUp[i] = get(dUp, i) + round(gateValue(numbers, fn, get(gate, i)) * d);
      }
    },
    addScaled(a, b, factor, out) {
      const f = round(factor);
      for (let i = 0; i < a.length; i++) out[i] = get(a, i) + round(get(b, i) * f);
    },
    dropout({ x, width, out, seed, step, site, firstRow, share, adds }) {
      const { threshold, factor } = dropoutNumbers(share);
      for (let i = 0; i < x.length; i++) {
        const column = i % width;
        const row = firstRow + Math.floor(i / width);
        const word = threefry(seed, step, row, site * dropoutPairs + (column >> 1));
        const isKept = (column % 2 === 0 ? word & 0xffff : word >>> 16) >= threshold;
        const value = isKept ? round(get(x, i) * round(factor)) : 0;
        out[i] = adds ? get(out, i) + value : value;
      }
    },
    add(a, b, out) {
      for (let i = 0; i < out.length; i++) out[i] = get(a, i) + get(b, i);
    },
  };
}

function gateValue({ round, exp }: Numbers, fn: GateFn, g: number): number {
  if (fn === "silu") return round(g / round(1 + exp(-g)));
  const positive = g > 0 ? g : 0;
  return round(positive * positive);
}

/** silu′ = σ(g) + silu(g)·(1 − σ(g)) */
function gateSlope({ round, exp, fma }: Numbers, fn: GateFn, g: number): number {
  if (fn === "relu2") return 2 * (g > 0 ? g : 0);
  const sigmoid = round(1 / round(1 + exp(-g)));
  return fma(round(g * sigmoid), round(1 - sigmoid), sigmoid);
}

/**
 * b1.58: T = clamp(rne(W · (1 / max(m, 1e-5))), −1, 1), m = mean |W|. b1: sign(W − mean W), where 0 counts as −1, m = mean |W|. Sums run
 * in f64 in four chains over runs of 2¹⁸ weights, as `ternarise` of core sums.
 */
function formWeights({ round }: Numbers, master: Floats, form: WeightForm, out: Floats): number {
  if (form === "float") {
    out.set(master);
    return 1;
  }
  const scale = round(sumInChains(master, true) / master.length);
  if (!(scale < Number.POSITIVE_INFINITY)) throw notFinite("a weight");
  if (form === "b1") {
    const mean = round(sumInChains(master, false) / master.length);
    for (let i = 0; i < master.length; i++) out[i] = get(master, i) > mean ? 1 : -1;
    return scale;
  }
  const inverse = round(1 / Math.max(scale, smallestAbsMax));
  for (let i = 0; i < master.length; i++) {
    const x = round(get(master, i) * inverse);
    out[i] = Number(x > 0.5) - Number(x < -0.5);
  }
  return scale;
}

function sumInChains(values: Floats, isAbsolute: boolean): number {
  let total = 0;
  for (let first = 0; first < values.length; first += 2 ** 18) {
    const end = Math.min(values.length, first + 2 ** 18);
    const chains = [0, 0, 0, 0];
    for (let i = first; i < end; i++) {
      const x = get(values, i);
      chains[i & 3] = (chains[i & 3] ?? 0) + (isAbsolute ? Math.abs(x) : x);
    }
    const [a = 0, b = 0, c = 0, d = 0] = chains;
    total += a + b + (c + d);
  }
  return total;
}

function notFinite(what: string): BitNetError {
  return new BitNetError(
    "NUMERIC_FAILURE",
    `training: ${what} became NaN or infinite; a lower learning rate may help`,
  );
}

function get(values: Floats, i: number): number {
  return values[i] as number;
}
