/**
 * Causal attention inside each document, grouped queries, and its gradient, which computes the probabilities anew from the stored
 * maxima and sums. The forward pass is the engine's (docs/numerics.md: score, softmax, values), document by document.
 */
import {
  type AttentionBackward,
  type AttentionForward,
  chainLength,
  type Floats,
  type Kernels,
} from "../kernels.ts";
import { dot, foldStripes, type Numbers } from "./numbers.ts";

export function attentionKernels(numbers: Numbers): Pick<Kernels, "attention" | "attentionGradient"> {
  return {
    attention: (p) => forEachHead(p, (head) => forward(numbers, p, head)),
    attentionGradient: (p) => forEachHead(p, (head) => backward(numbers, p, head)),
  };
}

/** Rows of one document and one head. */
interface HeadRows {
  first: number;
  end: number;
  head: number;
  kvHead: number;
  scale: number;
}

function forEachHead(p: AttentionForward, visit: (head: HeadRows) => void): void {
  const scale = Math.fround(1 / Math.sqrt(p.headDim));
  for (let d = 0; d + 1 < p.starts.length; d++)
    for (let head = 0; head < p.nHeads; head++) {
      const kvHead = Math.floor(head / (p.nHeads / p.nKvHeads));
      visit({ first: p.starts[d] ?? 0, end: p.starts[d + 1] ?? 0, head, kvHead, scale });
    }
}

function forward(numbers: Numbers, p: AttentionForward, { first, end, head, kvHead, scale }: HeadRows): void {
  const { q, k, v, out, stats, nHeads, nKvHeads, headDim } = p;
  const { round, fma, exp } = numbers;
  const keyAt = (row: number) => (row * nKvHeads + kvHead) * headDim;
  for (let row = first; row < end; row++) {
    const at = (row * nHeads + head) * headDim;
    const n = row - first + 1;
    const scores = numbers.array(n);
    let highest = Number.NEGATIVE_INFINITY;
    for (let j = 0; j < n; j++) {
      scores[j] = dot(numbers, q, at, k, keyAt(first + j), headDim);
      highest = Math.max(highest, get(scores, j));
    }
    const m = round(highest * scale);
    const chains = numbers.array(16);
    for (let j = 0; j < n; j++) {
      scores[j] = exp(fma(get(scores, j), scale, -m));
      chains[j & 15] = get(chains, j & 15) + get(scores, j);
    }
    const sum = foldStripes(numbers, chains);
    stats[2 * (row * nHeads + head)] = m;
    stats[2 * (row * nHeads + head) + 1] = sum;
    for (let i = 0; i < headDim; i++) {
      let total = 0;
      for (let from = 0; from < n; from += chainLength) {
        let chain = 0;
        for (let j = from; j < Math.min(n, from + chainLength); j++)
          chain = fma(get(scores, j), get(v, keyAt(first + j) + i), chain);
        total = round(total + chain);
      }
      out[at + i] = total / sum;
    }
  }
}

/** With P the probabilities: dV = Pᵀ·dO, dS = P ∘ (dO·Vᵀ − D), D = dO · O, dQ = scale · dS·K, dK = scale · dSᵀ·Q. */
function backward(
  numbers: Numbers,
  p: AttentionBackward,
  { first, end, head, kvHead, scale }: HeadRows,
): void {
  const { q, k, v, out, dOut, dQ, dK, dV, stats, nHeads, nKvHeads, headDim } = p;
  const { round, fma, exp } = numbers;
  for (let row = first; row < end; row++) {
    const at = (row * nHeads + head) * headDim;
    const m = get(stats, 2 * (row * nHeads + head));
    const inverse = round(1 / get(stats, 2 * (row * nHeads + head) + 1));
    const mean = dot(numbers, dOut, at, out, at, headDim);
    const chains = numbers.array(headDim);
    for (let j = first; j <= row; j++) {
      const keyAt = (j * nKvHeads + kvHead) * headDim;
      const score = dot(numbers, q, at, k, keyAt, headDim);
      const probability = round(exp(fma(score, scale, -m)) * inverse);
      let slope = 0;
      for (let i = 0; i < headDim; i++) slope = fma(get(dOut, at + i), get(v, keyAt + i), slope);
      const d = round(round(probability * round(slope - mean)) * scale);
      for (let i = 0; i < headDim; i++) {
        chains[i] = fma(d, get(k, keyAt + i), get(chains, i));
        dK[keyAt + i] = fma(d, get(q, at + i), get(dK, keyAt + i));
        dV[keyAt + i] = fma(probability, get(dOut, at + i), get(dV, keyAt + i));
      }
    }
    for (let i = 0; i < headDim; i++) dQ[at + i] = get(dQ, at + i) + get(chains, i);
  }
}

function get(values: Floats, i: number): number {
  return values[i] as number;
}
