/**
 * Published models of the family: where they are, their shapes, and short names for them. Sizes are computed from the shape and from how
 * the files store it; they leave out the few megabytes of metadata. Shapes: the models' configurations.
 */

export interface KnownModel {
  /** Short name: `bitnet run -m ALIAS`. */
  alias: string;
  /** What `pull` takes. */
  source: string;
  family: string;
  license: string;
  /** Weights, embeddings included. */
  parameters: number;
  /** Bytes to download, nearly. */
  downloadBytes: number;
  /** Bytes of weights in memory while it runs, nearly. */
  memoryBytes: number;
  /** Bytes that decoding one token reads, nearly. */
  bytesPerToken: number;
  /** Bytes of f16 key/value cache per token of context. */
  kvBytesPerToken: number;
}

interface Shape {
  hidden: number;
  ffn: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocab: number;
  /** The embedding serves as head. */
  isTied: boolean;
}

interface Entry {
  alias: string;
  source: string;
  family: string;
  license: string;
  shape: Shape;
  /** Bits of a ternary weight in the files. */
  fileBits: number;
  /** Bits of an element of the embedding and the head in the files. */
  denseBits: number;
}

const computeBits = 2;
/** Of a table of trits or signs, its scales for groups included. */
const ternaryTableBits = 2.125;

// Their repositories hold the same weights in several packings; PQ2_0 is the smallest.
const bonsai = { family: "Ternary Bonsai", license: "Apache-2.0", fileBits: 2.125, denseBits: 2.125 };
const binaryBonsai = { family: "Bonsai (1 bit)", license: "Apache-2.0", fileBits: 1.125, denseBits: 1.125 };
const bonsaiShape = { kvHeads: 8, headDim: 128, vocab: 151_936, isTied: true };
const bonsaiShapes = {
  "1.7B": { ...bonsaiShape, hidden: 2048, ffn: 6144, layers: 28, heads: 16 },
  "4B": { ...bonsaiShape, hidden: 2560, ffn: 9728, layers: 36, heads: 32 },
  "8B": { ...bonsaiShape, hidden: 4096, ffn: 12_288, layers: 36, heads: 32, isTied: false },
};
const falcon3 = { family: "Falcon3", license: "TII Falcon License 2.0", fileBits: 2, denseBits: 16 };
const falcon3Shape = { hidden: 3072, heads: 12, kvHeads: 4, headDim: 256, vocab: 131_072, isTied: false };
const embedding = { family: "BitNet embedding", license: "MIT", fileBits: 2, denseBits: 16 };
const first = { family: "BitNet b1.58 (reproduction)", license: "MIT", fileBits: 32, denseBits: 32 };

const entries: readonly Entry[] = [
  {
    alias: "2b-4t",
    source: "microsoft/bitnet-b1.58-2B-4T-gguf",
    family: "BitNet b1.58",
    license: "MIT",
    shape: {
      hidden: 2560,
      ffn: 6912,
      layers: 30,
      heads: 20,
      kvHeads: 5,
      headDim: 128,
      vocab: 128_256,
      isTied: true,
    },
    fileBits: 2,
    denseBits: 16,
  },
  {
    alias: "large",
    source: "1bitLLM/bitnet_b1_58-large",
    ...first,
    shape: {
      hidden: 1536,
      ffn: 4096,
      layers: 24,
      heads: 16,
      kvHeads: 16,
      headDim: 96,
      vocab: 32_002,
      isTied: true,
    },
  },
  {
    alias: "3b",
    source: "1bitLLM/bitnet_b1_58-3B",
    ...first,
    shape: {
      hidden: 3200,
      ffn: 8640,
      layers: 26,
      heads: 32,
      kvHeads: 32,
      headDim: 100,
      vocab: 32_002,
      isTied: true,
    },
  },
  {
    alias: "llama3-8b",
    source: "HF1BitLLM/Llama3-8B-1.58-100B-tokens",
    family: "Llama 3 (1.58 bit)",
    license: "Llama 3",
    shape: {
      hidden: 4096,
      ffn: 14_336,
      layers: 32,
      heads: 32,
      kvHeads: 8,
      headDim: 128,
      vocab: 128_256,
      isTied: false,
    },
    fileBits: 2,
    denseBits: 16,
  },
  {
    alias: "falcon3-1b",
    source: "tiiuae/Falcon3-1B-Instruct-1.58bit",
    ...falcon3,
    shape: { ...falcon3Shape, hidden: 2048, ffn: 8192, layers: 18, heads: 8 },
  },
  {
    alias: "falcon3-3b",
    source: "tiiuae/Falcon3-3B-Instruct-1.58bit",
    ...falcon3,
    shape: { ...falcon3Shape, ffn: 9216, layers: 22 },
  },
  {
    alias: "falcon3-7b",
    source: "tiiuae/Falcon3-7B-Instruct-1.58bit",
    ...falcon3,
    shape: { ...falcon3Shape, ffn: 23_040, layers: 28 },
  },
  {
    alias: "falcon3-10b",
    source: "tiiuae/Falcon3-10B-Instruct-1.58bit",
    ...falcon3,
    shape: { ...falcon3Shape, ffn: 23_040, layers: 40 },
  },
  ...(["1.7B", "4B", "8B"] as const).flatMap((size): Entry[] => [
    {
      alias: `bonsai-${size.toLowerCase()}`,
      source: `prism-ml/Ternary-Bonsai-${size}-gguf:Ternary-Bonsai-${size}-PQ2_0.gguf`,
      ...bonsai,
      shape: bonsaiShapes[size],
    },
    {
      alias: `bonsai-1bit-${size.toLowerCase()}`,
      source: `prism-ml/Bonsai-${size}-gguf:Bonsai-${size}-Q1_0.gguf`,
      ...binaryBonsai,
      shape: bonsaiShapes[size],
    },
  ]),
  {
    alias: "embedding-0.6b",
    source: "microsoft/bitnet-embedding-0.6b:bitnet-embeddings-0.6b-bf16-i2_s.gguf",
    ...embedding,
    shape: {
      hidden: 1024,
      ffn: 3072,
      layers: 28,
      heads: 16,
      kvHeads: 8,
      headDim: 128,
      vocab: 151_936,
      isTied: true,
    },
  },
  {
    alias: "embedding-270m",
    source: "microsoft/bitnet-embedding-270m:bitnet-embeddings-270m-bf16-i2_s.gguf",
    ...embedding,
    shape: {
      hidden: 640,
      ffn: 2048,
      layers: 18,
      heads: 4,
      kvHeads: 1,
      headDim: 256,
      vocab: 262_144,
      isTied: true,
    },
  },
];

export const knownModels: readonly KnownModel[] = entries.map(describe);

/** What to pull for a short name; null for anything else. */
export function sourceOfAlias(name: string): string | null {
  return knownModels.find(({ alias }) => alias === name.toLowerCase())?.source ?? null;
}

function describe({ alias, source, family, license, shape, fileBits, denseBits }: Entry): KnownModel {
  const { hidden, ffn, layers, heads, kvHeads, headDim, vocab, isTied } = shape;
  const ternary = layers * (2 * hidden * heads * headDim + 2 * hidden * kvHeads * headDim + 3 * hidden * ffn);
  const table = vocab * hidden;
  const dense = isTied ? table : 2 * table;
  const runBits = denseBits < 4 ? ternaryTableBits : Math.min(denseBits, 32);
  return {
    ...{ alias, source, family, license },
    parameters: ternary + dense,
    downloadBytes: (ternary * fileBits + dense * denseBits) / 8,
    memoryBytes: (ternary * computeBits + dense * runBits) / 8,
    bytesPerToken: (ternary * computeBits + table * runBits) / 8,
    kvBytesPerToken: 2 * layers * kvHeads * headDim * 2,
  };
}
