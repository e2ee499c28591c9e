/**
 * The sizes of the BitNet family, and of published models of the Qwen3 shape, and the tensors that a checkpoint of one of them consists of. Knows
 * nothing of the bytes in them. The 700m, 2b-4t and 3b rows are published models; the others of BitNet follow the scaling papers and are plausible.
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
  readonly family: "bitnet" | "qwen3";
  readonly headDim: number;
  /** Embedding and head are ternary, too, where the packing has scales by group. */
  readonly hasTernaryTables: boolean;
  readonly hasHead: boolean;
  /** Norms of the input of every projection. */
  readonly hasInnerNorms: boolean;
}

export type DummyPacking = Extract<PackingId, "i2_s" | "tq1_0" | "tq2_0" | "q2_0" | "pq2_0">;

export interface PlannedTensor {
  readonly name: string;
  /** Row-major. */
  readonly shape: readonly number[];
  readonly kind: "embedding" | "norm" | "ternary" | "ternary table";
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

// Ternary Bonsai, and Microsoft's embedding model: the same, KV heads, and what sets them apart
const qwenTable = [
  ["bonsai-1.7b", 2048, 6144, 28, 16, 8, { hasTernaryTables: true }],
  ["bonsai-4b", 2560, 9728, 36, 32, 8, { hasTernaryTables: true }],
  ["bonsai-8b", 4096, 12288, 36, 32, 8, { hasTernaryTables: true, hasHead: true }],
  ["embedding-0.6b", 1024, 3072, 28, 16, 8, { hasInnerNorms: true }],
] as const;

const plain = { hasTernaryTables: false, hasHead: false, hasInnerNorms: false };

export const dummyShapes: readonly DummyShape[] = [
  ...table.map(
    ([name, hiddenSize, ffnSize, nLayers, nHeads, nKvHeads, vocabSize, contextLength, ropeTheta]) => ({
      ...{ name, hiddenSize, ffnSize, nLayers, nHeads, nKvHeads, vocabSize, contextLength, ropeTheta },
      ...({ family: "bitnet", headDim: hiddenSize / nHeads, ...plain } as const),
    }),
  ),
  ...qwenTable.map(([name, hiddenSize, ffnSize, nLayers, nHeads, nKvHeads, traits]) => ({
    ...{ name, hiddenSize, ffnSize, nLayers, nHeads, nKvHeads },
    ...{ vocabSize: 151936, contextLength: 4096, ropeTheta: 1e6 },
    ...({ family: "qwen3", headDim: 128, ...plain, ...traits } as const),
  })),
];

export const dummyPackings: readonly DummyPacking[] = ["i2_s", "tq1_0", "tq2_0", "q2_0", "pq2_0"];

/** The tensors of a checkpoint in file order. */
export function planTensors(shape: DummyShape): PlannedTensor[] {
  const { hiddenSize, ffnSize, nLayers, nHeads, nKvHeads, vocabSize, headDim } = shape;
  const [qSize, kvSize] = [headDim * nHeads, headDim * nKvHeads];
  const isBitNet = shape.family === "bitnet";
  const tables = shape.hasTernaryTables ? "ternary table" : "embedding";
  const tensors: PlannedTensor[] = [
    { name: "token_embd.weight", shape: [vocabSize, hiddenSize], kind: tables },
  ];
  for (let layer = 0; layer < nLayers; layer++) {
    const add = (name: string, kind: PlannedTensor["kind"], ...dimensions: number[]) =>
      tensors.push({ name: `blk.${layer}.${name}.weight`, shape: dimensions, kind });
    const project = (name: string, rows: number, cols: number) => {
      if (shape.hasInnerNorms) add(`${name}_norm_in`, "norm", cols);
      add(name, "ternary", rows, cols);
    };
    add("attn_norm", "norm", hiddenSize);
    project("attn_q", qSize, hiddenSize);
    project("attn_k", kvSize, hiddenSize);
    project("attn_v", kvSize, hiddenSize);
    if (isBitNet) add("attn_sub_norm", "norm", hiddenSize);
    else for (const name of ["attn_q_norm", "attn_k_norm"]) add(name, "norm", headDim);
    project("attn_output", hiddenSize, qSize);
    add("ffn_norm", "norm", hiddenSize);
    project("ffn_gate", ffnSize, hiddenSize);
    project("ffn_up", ffnSize, hiddenSize);
    if (isBitNet) add("ffn_sub_norm", "norm", ffnSize);
    project("ffn_down", hiddenSize, ffnSize);
  }
  tensors.push({ name: "output_norm.weight", shape: [hiddenSize], kind: "norm" });
  if (shape.hasHead) tensors.push({ name: "output.weight", shape: [vocabSize, hiddenSize], kind: tables });
  return tensors;
}

/** Whether a tensor is packed. Tables in packings with one scale a tensor, or in base three, are f16. */
export function isPacked({ kind }: PlannedTensor, packing: DummyPacking): boolean {
  return kind === "ternary" || (kind === "ternary table" && packing !== "i2_s" && packing !== "tq1_0");
}

/** @throws BitNetError FORMAT_UNSUPPORTED, with the reason, for a tensor that the packing cannot hold. */
export function tensorBytes(tensor: PlannedTensor, packing: DummyPacking): number {
  const { name, shape, kind } = tensor;
  const [rows = 1, cols = rows] = shape;
  if (kind === "norm") return denseByteLength("f32", cols);
  if (!isPacked(tensor, packing)) return rows * denseByteLength("f16", cols);
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
