/**
 * Ternary models written down from their definitions in f64, plainly and slowly. BitNet b1.58: x += o(norm(attention(norm(x)))); x += down(norm(
 * relu(gate)² · up)). Llama and Qwen: x += o(attention(norm(x))); x += down(silu(gate) · up), Qwen2 with biases, Qwen3 with norms of the heads. Gemma 3:
 * x += norm(o(attention(norm(x)))); x += norm(down(gelu(gate) · up)), with windows. MiniCPM: Llama with factors. Int8 activations per token. Shares no
 * code with the forward passes that it judges.
 */
import {
  type Checkpoint,
  type CheckpointShape,
  denseValue,
  type LayerWeights,
  type Projection,
  type TernaryMatrix,
} from "./random-checkpoint.ts";

type Vector = number[];

/** Logits after each of `tokens`. */
export function naiveLogits(checkpoint: Checkpoint, tokens: readonly number[]): Vector[] {
  const { shape, embedding, head } = checkpoint;
  const { logits } = factorsOf(shape);
  const table = head ?? embedding;
  return naiveStates(checkpoint, tokens).map((y) =>
    range(shape.vocab).map(
      (id) => logits * sum(y.map((v, i) => v * denseValue(table, id * shape.hidden + i))),
    ),
  );
}

/** What the logits after each of `tokens` are made of: the stream, normalised. */
export function naiveStates(checkpoint: Checkpoint, tokens: readonly number[]): Vector[] {
  const { shape, embedding, layers, outputNorm } = checkpoint;
  const { embedding: embeddingFactor, residual } = factorsOf(shape);
  const keys: Vector[][] = layers.map(() => []); // [layer][position][kvHeads · headDim]
  const values: Vector[][] = layers.map(() => []);
  return tokens.map((token, position) => {
    const x = range(shape.hidden).map(
      (i) => denseValue(embedding, token * shape.hidden + i) * embeddingFactor,
    );
    layers.forEach((layer, l) => {
      const past = { keys: keys[l] ?? [], values: values[l] ?? [] };
      addTo(x, attentionBlock(checkpoint, l, x, position, past), residual);
      addTo(x, feedForward(checkpoint, layer, x), residual);
    });
    return rmsNorm(x, outputNorm, shape.eps);
  });
}

function factorsOf({ family, hidden, factors }: CheckpointShape): {
  embedding: number;
  residual: number;
  logits: number;
} {
  if (family === "gemma3") return { embedding: Math.sqrt(hidden), residual: 1, logits: 1 };
  return factors ?? { embedding: 1, residual: 1, logits: 1 };
}

function attentionBlock(
  { shape, layers }: Checkpoint,
  l: number,
  x: Vector,
  position: number,
  past: { keys: Vector[]; values: Vector[] },
): Vector {
  const layer = layers[l] as LayerWeights;
  const { heads, kvHeads, headDim, eps, window } = shape;
  const isLocal = window !== undefined && (l + 1) % window.pattern !== 0;
  const { yarn: _stretch, rotation: _rule, ...plain } = shape;
  const local = { ...plain, theta: window?.theta ?? shape.theta }; // local layers see no long contexts
  const input = rmsNorm(x, layer.attnNorm, eps);
  const q = project(shape, layer, "q", input);
  const k = project(shape, layer, "k", input);
  const v = project(shape, layer, "v", input);
  if (layer.biases) {
    addTo(q, [...layer.biases.q]);
    addTo(k, [...layer.biases.k]);
    addTo(v, [...layer.biases.v]);
  }
  const turn = (vector: Vector, nHeads: number, norm: Float64Array | undefined) => {
    for (let h = 0; h < nHeads; h++) {
      const head = vector.slice(h * headDim, (h + 1) * headDim);
      vector.splice(h * headDim, headDim, ...(norm ? rmsNorm(head, norm, eps) : head));
      rotate(vector, h * headDim, position, isLocal ? local : shape);
    }
  };
  turn(q, heads, layer.headNorms?.q);
  turn(k, kvHeads, layer.headNorms?.k);
  past.keys.push(k);
  past.values.push(v);
  const first = isLocal ? Math.max(0, position - window.size + 1) : 0;
  const mixed: Vector = [];
  for (let h = 0; h < heads; h++) {
    const query = q.slice(h * headDim, (h + 1) * headDim);
    const at = Math.floor(h / (heads / kvHeads)) * headDim;
    const scores = past.keys
      .slice(first)
      .map((key) => sum(query.map((value, i) => value * (key[at + i] ?? 0))) / Math.sqrt(headDim));
    const highest = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - highest));
    const total = sum(weights);
    for (let d = 0; d < headDim; d++)
      mixed.push(
        sum(past.values.slice(first).map((value, j) => (weights[j] ?? 0) * (value[at + d] ?? 0))) / total,
      );
  }
  const out = project(shape, layer, "o", layer.attnSubNorm ? rmsNorm(mixed, layer.attnSubNorm, eps) : mixed);
  return layer.postNorms ? rmsNorm(out, layer.postNorms.attention, eps) : out;
}

function feedForward({ shape }: Checkpoint, layer: LayerWeights, x: Vector): Vector {
  const input = rmsNorm(x, layer.ffnNorm, shape.eps);
  const up = project(shape, layer, "up", input);
  const gated = project(shape, layer, "gate", input).map((g, i) => activated(shape, g) * (up[i] ?? 0));
  const out = project(
    shape,
    layer,
    "down",
    layer.ffnSubNorm ? rmsNorm(gated, layer.ffnSubNorm, shape.eps) : gated,
  );
  return layer.postNorms ? rmsNorm(out, layer.postNorms.ffn, shape.eps) : out;
}

function activated({ family }: CheckpointShape, g: number): number {
  if (family === "bitnet-b1.58") return Math.max(g, 0) ** 2;
  if (family === "gemma3") return (g / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3)));
  return g / (1 + Math.exp(-g));
}

function project(shape: CheckpointShape, layer: LayerWeights, name: Projection, x: Vector): Vector {
  const input = layer.innerNorms ? rmsNorm(x, layer.innerNorms[name], shape.eps) : x;
  if (shape.keepsFloats) return floatLinear(layer[name], input);
  // Models whose activations were 16 bit in training have a scale for each 128 columns.
  const isInGroups = shape.isGrouped || shape.family === "minicpm";
  return bitLinear(layer[name], input, isInGroups ? 128 : input.length);
}

/** Element i of a head turns with element i + headDim / 2. */
function rotate(x: Vector, at: number, position: number, shape: CheckpointShape): void {
  const { headDim, theta, yarn } = shape;
  for (let i = 0; i < headDim / 2; i++) {
    const usual = theta ** ((-2 * i) / headDim);
    const { frequency, factor } = yarn
      ? stretched(usual, i, headDim, theta, yarn)
      : { frequency: turned(usual, i, shape), factor: attentionFactorOf(shape) };
    const angle = position * frequency;
    const [a, b] = [x[at + i] ?? 0, x[at + i + headDim / 2] ?? 0];
    x[at + i] = factor * (a * Math.cos(angle) - b * Math.sin(angle));
    x[at + i + headDim / 2] = factor * (b * Math.cos(angle) + a * Math.sin(angle));
  }
}

/** The frequency of pair i by the other rules: transformers' `modeling_rope_utils`, each as its source has it. */
function turned(usual: number, i: number, { rotation, headDim, theta, context }: CheckpointShape): number {
  switch (rotation?.kind) {
    case undefined:
      return usual;
    case "linear":
      return usual / rotation.factor;
    case "dynamic": {
      const ratio = Math.max(context, rotation.original) / rotation.original;
      const base = theta * (rotation.factor * ratio - (rotation.factor - 1)) ** (headDim / (headDim - 2));
      return base ** ((-2 * i) / headDim);
    }
    case "llama3": {
      const turns = (rotation.original * usual) / (2 * Math.PI); // within the context of training
      if (turns < rotation.low) return usual / rotation.factor;
      if (turns > rotation.high) return usual;
      const kept = (turns - rotation.low) / (rotation.high - rotation.low);
      return usual * (kept + (1 - kept) / rotation.factor);
    }
    case "longrope":
      return usual / ((context > rotation.original ? rotation.long : rotation.short)[i] ?? Number.NaN);
  }
}

function attentionFactorOf({ rotation }: CheckpointShape): number {
  return rotation?.kind === "longrope" ? rotation.attention : 1;
}

/** YaRN: pairs that turn 32 times or more in the context of training are kept, those that turn once or less are interpolated. */
function stretched(
  frequency: number,
  i: number,
  headDim: number,
  theta: number,
  { factor, original }: { factor: number; original: number },
): { frequency: number; factor: number } {
  const pairOf = (turns: number) =>
    (headDim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = Math.max(0, Math.floor(pairOf(32)));
  const high = Math.min(headDim - 1, Math.ceil(pairOf(1)));
  const ramp = Math.min(1, Math.max(0, (i - low) / (high - low || 0.001)));
  return {
    frequency: (frequency / factor) * ramp + frequency * (1 - ramp),
    factor: 1 + 0.1 * Math.log(factor),
  };
}

function rmsNorm(x: Vector, weight: Float64Array, eps: number): Vector {
  const r = 1 / Math.sqrt(sum(x.map((v) => v * v)) / x.length + eps);
  return x.map((v, i) => v * r * (weight[i] ?? 0));
}

/** W · x in floats. */
function floatLinear({ rows, cols, trits, scale, groupScales }: TernaryMatrix, x: Vector): Vector {
  const scaleAt = (r: number, c: number) =>
    groupScales ? (groupScales[r * (cols / 128) + (c >> 7)] ?? 0) : scale;
  return range(rows).map((r) => {
    let total = 0;
    for (let c = 0; c < cols; c++) total += (trits[r * cols + c] ?? 0) * (x[c] ?? 0) * scaleAt(r, c);
    return total;
  });
}

/** W · x with each `group` columns of x rounded to 127 steps of their largest element. */
function bitLinear(
  { rows, cols, trits, scale, groupScales }: TernaryMatrix,
  x: Vector,
  group: number,
): Vector {
  const out: Vector = range(rows).map(() => 0);
  for (let first = 0; first < cols; first += group) {
    const part = x.slice(first, Math.min(cols, first + group));
    const steps = 127 / Math.max(...part.map(Math.abs), 1e-5);
    const rounded = part.map((v) => Math.min(127, Math.max(-128, roundHalfToEven(v * steps))));
    for (let r = 0; r < rows; r++) {
      let total = 0;
      for (const [c, value] of rounded.entries()) total += (trits[r * cols + first + c] ?? 0) * value;
      const own = groupScales ? (groupScales[r * (cols / 128) + first / 128] ?? 0) : scale;
      out[r] = (out[r] ?? 0) + (total * own) / steps;
    }
  }
  return out;
}

function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

function addTo(x: Vector, y: Vector, factor = 1): void {
  y.forEach((v, i) => {
    x[i] = (x[i] ?? 0) + factor * v;
  });
}

function sum(values: Vector): number {
  return values.reduce((total, v) => total + v, 0);
}

function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}
