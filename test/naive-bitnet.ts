/**
 * Ternary models written down from their definitions in f64, plainly and slowly. BitNet b1.58: x += o(norm(attention(norm(x)))); x += down(norm(
 * relu(gate)² · up)). Llama: x += o(attention(norm(x))); x += down(silu(gate) · up). Int8 activations per token. Shares no code with the forward
 * passes that it judges.
 */
import { type Checkpoint, denseValue, type LayerWeights, type TernaryMatrix } from "./random-checkpoint.ts";

type Vector = number[];

/** Logits after each of `tokens`. */
export function naiveLogits(checkpoint: Checkpoint, tokens: readonly number[]): Vector[] {
  const { shape, embedding, layers, outputNorm, head } = checkpoint;
  const table = head ?? embedding;
  const keys: Vector[][] = layers.map(() => []); // [layer][position][kvHeads · headDim]
  const values: Vector[][] = layers.map(() => []);
  return tokens.map((token, position) => {
    const x = range(shape.hidden).map((i) => denseValue(embedding, token * shape.hidden + i));
    layers.forEach((layer, l) => {
      const past = { keys: keys[l] ?? [], values: values[l] ?? [] };
      addTo(x, attentionBlock(checkpoint, layer, x, position, past));
      addTo(x, feedForward(checkpoint, layer, x));
    });
    const y = rmsNorm(x, outputNorm, shape.eps);
    return range(shape.vocab).map((id) => sum(y.map((v, i) => v * denseValue(table, id * shape.hidden + i))));
  });
}

function attentionBlock(
  { shape }: Checkpoint,
  layer: LayerWeights,
  x: Vector,
  position: number,
  past: { keys: Vector[]; values: Vector[] },
): Vector {
  const { heads, kvHeads, headDim, theta, eps } = shape;
  const input = rmsNorm(x, layer.attnNorm, eps);
  const q = bitLinear(layer.q, input);
  const k = bitLinear(layer.k, input);
  for (let h = 0; h < heads; h++) rotate(q, h * headDim, headDim, position, theta);
  for (let h = 0; h < kvHeads; h++) rotate(k, h * headDim, headDim, position, theta);
  past.keys.push(k);
  past.values.push(bitLinear(layer.v, input));
  const mixed: Vector = [];
  for (let h = 0; h < heads; h++) {
    const query = q.slice(h * headDim, (h + 1) * headDim);
    const at = Math.floor(h / (heads / kvHeads)) * headDim;
    const scores = past.keys.map(
      (key) => sum(query.map((v, i) => v * (key[at + i] ?? 0))) / Math.sqrt(headDim),
    );
    const highest = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - highest));
    const total = sum(weights);
    for (let d = 0; d < headDim; d++)
      mixed.push(sum(past.values.map((value, j) => (weights[j] ?? 0) * (value[at + d] ?? 0))) / total);
  }
  return bitLinear(layer.o, layer.attnSubNorm ? rmsNorm(mixed, layer.attnSubNorm, eps) : mixed);
}

function feedForward({ shape }: Checkpoint, layer: LayerWeights, x: Vector): Vector {
  const input = rmsNorm(x, layer.ffnNorm, shape.eps);
  const up = bitLinear(layer.up, input);
  const activated = (g: number) => (shape.family === "llama" ? g / (1 + Math.exp(-g)) : Math.max(g, 0) ** 2);
  const gated = bitLinear(layer.gate, input).map((g, i) => activated(g) * (up[i] ?? 0));
  return bitLinear(layer.down, layer.ffnSubNorm ? rmsNorm(gated, layer.ffnSubNorm, shape.eps) : gated);
}

/** Element i of a head turns with element i + headDim / 2. */
function rotate(x: Vector, at: number, headDim: number, position: number, theta: number): void {
  for (let i = 0; i < headDim / 2; i++) {
    const angle = position / theta ** ((2 * i) / headDim);
    const [a, b] = [x[at + i] ?? 0, x[at + i + headDim / 2] ?? 0];
    x[at + i] = a * Math.cos(angle) - b * Math.sin(angle);
    x[at + i + headDim / 2] = b * Math.cos(angle) + a * Math.sin(angle);
  }
}

function rmsNorm(x: Vector, weight: Float64Array, eps: number): Vector {
  const r = 1 / Math.sqrt(sum(x.map((v) => v * v)) / x.length + eps);
  return x.map((v, i) => v * r * (weight[i] ?? 0));
}

/** W · x with x rounded to 127 steps of its largest element. */
function bitLinear({ rows, cols, trits, scale }: TernaryMatrix, x: Vector): Vector {
  const steps = 127 / Math.max(...x.map(Math.abs), 1e-5);
  const rounded = x.map((v) => Math.min(127, Math.max(-128, roundHalfToEven(v * steps))));
  return range(rows).map((r) => {
    let total = 0;
    for (let c = 0; c < cols; c++) total += (trits[r * cols + c] ?? 0) * (rounded[c] ?? 0);
    return (total * scale) / steps;
  });
}

function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

function addTo(x: Vector, y: Vector): void {
  y.forEach((v, i) => {
    x[i] = (x[i] ?? 0) + v;
  });
}

function sum(values: Vector): number {
  return values.reduce((total, v) => total + v, 0);
}

function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}
