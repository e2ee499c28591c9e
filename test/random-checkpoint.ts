/**
 * Random checkpoints of any shape, as numbers: what every file format of the tests is written from, and what the naive forward
 * pass reads. All values are chosen so that each format that can hold a tensor holds it exactly.
 */
import { seededIntegers } from "./seeded.ts";

export interface CheckpointShape {
  family: "bitnet-b1.58" | "bitnet" | "llama" | "qwen2" | "qwen3" | "gemma3" | "minicpm";
  /** Norms of the input of every projection. */
  hasInnerNorms?: boolean;
  /** Layers that see the last `size` positions only: all but every `pattern`th. */
  window?: { size: number; pattern: number; theta: number };
  /** Factors on the embedding, on what blocks add, on logits. */
  factors?: { embedding: number; residual: number; logits: number };
  /** A scale for each 128 columns, of weights and of activations; the embedding is ternary, too. */
  isGrouped?: boolean;
  /** No weight is zero. */
  isBinary?: boolean;
  /** YaRN: factor, and the context of training. */
  yarn?: { factor: number; original: number };
  /** Activations are not rounded at all, as with `activations: "f32"` of the reference: no step of int8 may fall to either side. */
  keepsFloats?: boolean;
  /** How rotations are stretched, other than by YaRN. */
  rotation?: Rotation;
  hidden: number;
  ffn: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Rows of the embedding. */
  vocab: number;
  /** Tokens that the tokenizer knows: as many, or fewer where the embedding is padded. */
  tokens: number;
  context: number;
  theta: number;
  eps: number;
  isTied: boolean;
  /** Bits of an embedding's integers: 4 fits Q4_0, 6 fits Q6_K, 8 fits Q8_0, as do fewer. */
  embeddingBits: 4 | 6 | 8;
}

export type Rotation =
  | { kind: "linear"; factor: number }
  | { kind: "dynamic"; factor: number; original: number }
  | { kind: "llama3"; factor: number; low: number; high: number; original: number }
  /** Divisors [headDim / 2] for contexts up to the original one and beyond, and a factor on cosines and sines. */
  | { kind: "longrope"; short: number[]; long: number[]; original: number; attention: number };

/** W = trits · scale, [rows, cols] row-major. */
export interface TernaryMatrix {
  rows: number;
  cols: number;
  trits: Int8Array;
  scale: number;
  /** [rows, cols / 128] where every group has its own. */
  groupScales?: Float64Array;
}

/** W[i] = integers[i] · units[i / 32]: a power of two for each run of 32 columns. */
export interface DenseMatrix {
  rows: number;
  cols: number;
  integers: Int8Array;
  units: Float64Array;
}

export interface LayerWeights {
  attnNorm: Float64Array;
  q: TernaryMatrix;
  k: TernaryMatrix;
  v: TernaryMatrix;
  attnSubNorm: Float64Array | null;
  o: TernaryMatrix;
  ffnNorm: Float64Array;
  gate: TernaryMatrix;
  up: TernaryMatrix;
  ffnSubNorm: Float64Array | null;
  down: TernaryMatrix;
  /** What only some families have. */
  headNorms: { q: Float64Array; k: Float64Array } | null;
  postNorms: { attention: Float64Array; ffn: Float64Array } | null;
  biases: { q: Float64Array; k: Float64Array; v: Float64Array } | null;
  innerNorms: Readonly<Record<Projection, Float64Array>> | null;
}

export type Projection = "q" | "k" | "v" | "o" | "gate" | "up" | "down";

export interface Checkpoint {
  shape: CheckpointShape;
  embedding: DenseMatrix;
  layers: LayerWeights[];
  outputNorm: Float64Array;
  /** Null when the embedding serves. */
  head: DenseMatrix | null;
}

type Random = () => number;

export function randomCheckpoint(shape: CheckpointShape, seed: number): Checkpoint {
  const random = seededIntegers(seed);
  const { hidden, ffn, heads, kvHeads, headDim, vocab } = shape;
  const dense = () =>
    shape.isGrouped
      ? ternaryDense(vocab, hidden, random, shape.isBinary)
      : randomDense(vocab, hidden, shape.embeddingBits, random);
  const ternary = (rows: number, cols: number): TernaryMatrix => {
    const matrix = randomTernary(rows, cols, random, shape.isBinary);
    if (!shape.isGrouped) return matrix;
    const unit = 2 ** Math.round(Math.log2(matrix.scale)); // f16 holds all scales
    const scales = Float64Array.from(
      { length: (rows * cols) / 128 },
      () => unit * ((48 + (random() % 32)) / 64),
    );
    return { ...matrix, groupScales: scales };
  };
  const norm = (cols: number) => Float64Array.from({ length: cols }, () => (96 + (random() % 65)) / 128);
  const { family } = shape;
  const subNorm = (cols: number) => (family.startsWith("bitnet") ? norm(cols) : null);
  const [qSize, kvSize] = [heads * headDim, kvHeads * headDim];
  const bias = (n: number) => Float64Array.from({ length: n }, () => ((random() % 65) - 32) / 64);
  return {
    shape,
    embedding: dense(),
    layers: Array.from({ length: shape.layers }, () => ({
      attnNorm: norm(hidden),
      q: ternary(heads * headDim, hidden),
      k: ternary(kvHeads * headDim, hidden),
      v: ternary(kvHeads * headDim, hidden),
      attnSubNorm: subNorm(heads * headDim),
      o: ternary(hidden, heads * headDim),
      ffnNorm: norm(hidden),
      gate: ternary(ffn, hidden),
      up: ternary(ffn, hidden),
      ffnSubNorm: subNorm(ffn),
      down: ternary(hidden, ffn),
      headNorms: family === "qwen3" || family === "gemma3" ? { q: norm(headDim), k: norm(headDim) } : null,
      postNorms: family === "gemma3" ? { attention: norm(hidden), ffn: norm(hidden) } : null,
      biases: family === "qwen2" ? { q: bias(qSize), k: bias(kvSize), v: bias(kvSize) } : null,
      innerNorms: shape.hasInnerNorms
        ? {
            ...{ q: norm(hidden), k: norm(hidden), v: norm(hidden), o: norm(qSize) },
            ...{ gate: norm(hidden), up: norm(hidden), down: norm(ffn) },
          }
        : null,
    })),
    outputNorm: norm(hidden),
    head: shape.isTied ? null : dense(),
  };
}

/**
 * Exactly half of the weights are zero, so that masters of magnitude 2 · scale have the mean `scale`. The scale keeps the variance
 * and has six bits, so that bf16 and f16 hold it; its mantissa is below √2, so that some f32 has it as reciprocal.
 */
function randomTernary(rows: number, cols: number, random: Random, isBinary = false): TernaryMatrix {
  const n = rows * cols;
  const sign = () => 1 - 2 * (random() & 1);
  const trits = Int8Array.from({ length: n }, (_, i) => (i % 2 === 0 && !isBinary ? 0 : sign()));
  for (let i = n - 1; i > 0; i--) {
    const j = random() % (i + 1);
    [trits[i], trits[j]] = [trits[j] ?? 0, trits[i] ?? 0];
  }
  const exponent = Math.round(Math.log2(1 / Math.sqrt(cols / 2)));
  return { rows, cols, trits, scale: ((32 + (random() % 14)) / 32) * 2 ** exponent };
}

/** A table of trits, each 128 columns with a scale of their own. */
function ternaryDense(rows: number, cols: number, random: Random, isBinary = false): DenseMatrix {
  const scales = Float64Array.from({ length: (rows * cols) / 128 }, () => (32 + (random() % 32)) / 256);
  return {
    rows,
    cols,
    integers: Int8Array.from({ length: rows * cols }, () =>
      isBinary ? 1 - 2 * (random() & 1) : (random() % 3) - 1,
    ),
    units: Float64Array.from({ length: (rows * cols) / 32 }, (_, i) => scales[i >> 2] ?? 0),
  };
}

function randomDense(rows: number, cols: number, bits: number, random: Random): DenseMatrix {
  const range = 2 ** bits;
  const unit = 2 ** -(bits - 1 + Math.round(Math.log2(cols) / 2));
  return {
    rows,
    cols,
    // The lowest value is left out: Q8_0 writers use −127 … 127.
    integers: Int8Array.from({ length: rows * cols }, () => (random() % (range - 1)) + 1 - range / 2),
    units: Float64Array.from({ length: (rows * cols) / 32 }, () => unit * 2 ** (random() % 3)),
  };
}

export function denseValue({ integers, units }: DenseMatrix, index: number): number {
  return (integers[index] ?? 0) * (units[index >> 5] ?? 0);
}

/** Any token ids of the checkpoint. */
export function randomTokens({ shape }: Checkpoint, count: number, seed: number): number[] {
  const random = seededIntegers(seed);
  return Array.from({ length: count }, () => random() % shape.vocab);
}
