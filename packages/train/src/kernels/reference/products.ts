/** Matrix products, the loss over logits, and the optimiser's step. */
import { chainLength, type Floats, type Kernels } from "../kernels.ts";
import { dot, foldStripes, type Numbers } from "./numbers.ts";

type ProductKernels = Pick<Kernels, "product" | "stripedProduct" | "crossEntropy" | "sumSquares" | "adamw">;

export function productKernels(numbers: Numbers): ProductKernels {
  const { round, fma, exp, log } = numbers;
  return {
    product({ a, b, out, m, n, k, transA, transB, factor = 1, rowDivisors, innerDivisors, adds, isBrain }) {
      const operand = isBrain ? brain : (x: number) => x;
      const inner = Array.from({ length: k }, (_, p) => round(1 / (innerDivisors?.[p] ?? 1)));
      for (let i = 0; i < m; i++) {
        const rowFactor = round(round(factor) / (rowDivisors?.[i] ?? 1));
        for (let j = 0; j < n; j++) {
          let total = 0;
          for (let first = 0; first < k; first += chainLength) {
            let chain = 0;
            for (let p = first; p < Math.min(k, first + chainLength); p++) {
              const x = get(a, transA ? p * m + i : i * k + p);
              const y = get(b, transB ? j * k + p : p * n + j);
              const shared = innerDivisors ? round(x * (inner[p] ?? 1)) : x;
              chain = fma(operand(shared), operand(y), chain);
            }
            if (adds) out[i * n + j] = get(out, i * n + j) + round(chain * rowFactor);
            else total = round(total + chain);
          }
          if (!adds) out[i * n + j] = total * rowFactor;
        }
      }
    },
    stripedProduct({ a, b, out, m, n, k }) {
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) out[i * n + j] = dot(numbers, a, i * k, b, j * k, k);
    },
    crossEntropy({ logits, rows, vocab, labels, weights, losses, scale }) {
      for (let row = 0; row < rows; row++) {
        const l = logits.subarray(row * vocab, (row + 1) * vocab);
        const weight = get(weights, row);
        losses[row] = 0;
        if (weight === 0) {
          if (scale !== undefined) l.fill(0);
          continue;
        }
        let highest = Number.NEGATIVE_INFINITY;
        for (const x of l) highest = Math.max(highest, x);
        const chains = numbers.array(16);
        for (let i = 0; i < vocab; i++)
          chains[i & 15] = get(chains, i & 15) + exp(round(get(l, i) - highest));
        const sum = foldStripes(numbers, chains);
        const label = labels[row] ?? 0;
        losses[row] = -round(get(l, label) - round(highest + log(sum)));
        if (scale === undefined) continue;
        const g = round(weight * round(scale));
        const share = round(round(1 / sum) * g);
        for (let i = 0; i < vocab; i++) l[i] = exp(round(get(l, i) - highest)) * share;
        l[label] = get(l, label) - g;
      }
    },
    sumSquares(x) {
      const chains = new Float64Array(8);
      for (let i = 0; i < x.length; i++) chains[i & 7] = get(chains, i & 7) + get(x, i) * get(x, i);
      for (let half = 4; half >= 1; half /= 2)
        for (let j = 0; j < half; j++) chains[j] = get(chains, j) + get(chains, j + half);
      return get(chains, 0);
    },
    adamw({ weights, gradient, m, v, rate, beta1, beta2, eps, weightDecay, gradientFactor, step }) {
      const b1 = round(beta1);
      const b2 = round(beta2);
      const [c1, c2] = [round(1 - b1), round(1 - b2)];
      const unbias1 = round(1 / (1 - powInt(beta1, step)));
      const unbias2 = round(1 / (1 - powInt(beta2, step)));
      const [lr, decay, clip, small] = [round(rate), round(weightDecay), round(gradientFactor), round(eps)];
      for (let i = 0; i < weights.length; i++) {
        const g = round(get(gradient, i) * clip);
        const m1 = fma(c1, g, round(b1 * get(m, i)));
        const v1 = fma(c2, round(g * g), round(b2 * get(v, i)));
        m[i] = m1;
        v[i] = v1;
        const spread = round(round(Math.sqrt(round(v1 * unbias2))) + small);
        const update = round(round(m1 * unbias1) / spread);
        weights[i] = get(weights, i) - round(lr * fma(decay, get(weights, i), update));
      }
    },
  };
}

/** By multiplication, so that no engine's own `pow` has a say. */
export function powInt(x: number, n: number): number {
  let result = 1;
  for (let i = 0; i < n && result !== 0; i++) result *= x;
  return result;
}

function get(values: Floats, i: number): number {
  return values[i] as number;
}

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);

/** The nearest bf16; of two, the even one. */
function brain(x: number): number {
  word[0] = x;
  const found = bits[0] ?? 0;
  bits[0] = (found + 0x7fff + ((found >>> 16) & 1)) & 0xffff0000;
  return word[0];
}
