/**
 * The sizes of the BitNet family and the tensors that a checkpoint of one of them consists of. Knows nothing of the bytes in
 * them. The 700m, 2b-4t and 3b rows are published models; the others follow the scaling papers and are plausible.
 */
import { BitNetError, denseByteLength, type PackingId, packings } from "@bitnet.ts/core";

export interface DummyShape {
  readonly name: string;
  readonly hiddenSize: number;
  readonly ffnSize: number;
  readonly nLayers: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly ropeTheta: number;
}

export type DummyPacking = Extract<PackingId, "i2_s" | "tq1_0" | "tq2_0">;

export interface PlannedTensor {
  readonly name: string;
  /** Row-major. */
  readonly shape: readonly number[];
  readonly kind: "embedding" | "norm" | "ternary";
}

// name, hidden, ffn, layers, heads, KV heads, vocabulary, context, RoPE base
const table = [
  ["125m", 768, 2048, 12, 12, 12, 32000, 2048, 10000],
  ["700m", 1536, 4096, 24, 16, 16, 32002, 2048, 10000],
  ["1.3b", 2048, 5460, 24, 32, 32, 32002, 2048, 10000],
  ["2b-4t", 2560, 6912, 30, 20, 5, 128256, 4096, 500000],
  ["3b", 3200, 8640, 26, 32, 32, 32002, 2048, 10000],
  ["7b", 4096, 11008, 32, 32, 32, 32002, 4096, 10000],
  ["8b", 4096, 14336, 32, 32, 8, 128256, 8192, 500000],
  ["13b", 5120, 13824, 40, 40, 40, 32002, 4096, 10000],
  ["30b", 6656, 16384, 60, 52, 52, 32002, 4096, 10000],
  ["70b", 8192, 24576, 80, 64, 8, 32002, 4096, 10000],
  ["100b", 8192, 45568, 72, 64, 8, 32002, 4096, 10000],
] as const;

export const dummyShapes: readonly DummyShape[] = table.map(
  ([name, hiddenSize, ffnSize, nLayers, nHeads, nKvHeads, vocabSize, contextLength, ropeTheta]) => ({
    name,
    hiddenSize,
    ffnSize,
    nLayers,
    nHeads,
    nKvHeads,
    vocabSize,
    contextLength,
    ropeTheta,
  }),
);

export const dummyPackings: readonly DummyPacking[] = ["i2_s", "tq1_0", "tq2_0"];

/** The tensors of a checkpoint in file order; the head is tied to the embedding. */
export function planTensors(shape: DummyShape): PlannedTensor[] {
  const { hiddenSize, ffnSize, nLayers, nHeads, nKvHeads, vocabSize } = shape;
  const kvSize = (hiddenSize / nHeads) * nKvHeads;
  const tensors: PlannedTensor[] = [
    { name: "token_embd.weight", shape: [vocabSize, hiddenSize], kind: "embedding" },
  ];
  for (let layer = 0; layer < nLayers; layer++) {
    const add = (name: string, kind: PlannedTensor["kind"], ...dimensions: number[]) =>
      tensors.push({ name: `blk.${layer}.${name}.weight`, shape: dimensions, kind });
    add("attn_norm", "norm", hiddenSize);
    add("attn_q", "ternary", hiddenSize, hiddenSize);
    add("attn_k", "ternary", kvSize, hiddenSize);
    add("attn_v", "ternary", kvSize, hiddenSize);
    add("attn_sub_norm", "norm", hiddenSize);
    add("attn_output", "ternary", hiddenSize, hiddenSize);
    add("ffn_norm", "norm", hiddenSize);
    add("ffn_gate", "ternary", ffnSize, hiddenSize);
    add("ffn_up", "ternary", ffnSize, hiddenSize);
    add("ffn_sub_norm", "norm", ffnSize);
    add("ffn_down", "ternary", hiddenSize, ffnSize);
  }
  tensors.push({ name: "output_norm.weight", shape: [hiddenSize], kind: "norm" });
  return tensors;
}

/** @throws BitNetError FORMAT_UNSUPPORTED, with the reason, for a tensor that the packing cannot hold. */
export function tensorBytes({ name, shape, kind }: PlannedTensor, packing: DummyPacking): number {
  const [rows = 1, cols = rows] = shape;
  if (kind === "embedding") return rows * denseByteLength("f16", cols);
  if (kind === "norm") return denseByteLength("f32", cols);
  try {
    return packings[packing].byteLength({ rows, cols });
  } catch (cause) {
    if (!(cause instanceof BitNetError)) throw cause;
    throw new BitNetError(
      cause.code,
      `tensor "${name}" cannot be stored as ${packing}: ${cause.message}; choose another packing`,
      { cause, details: { tensor: name, packing } },
    );
  }
}

export function countWeights(tensors: readonly PlannedTensor[]): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
}
