/** What a model is, in numbers: what config.ts makes of either kind of file. */
import type { RopeScaling } from "./rope-scaling.ts";

export interface ModelConfig {
  /** Architecture family, one file of this folder each. */
  readonly architecture: "bitnet-b1.58" | "bitnet" | "llama" | "qwen2" | "qwen3" | "gemma3" | "minicpm";
  readonly name: string;
  readonly hiddenSize: number;
  readonly ffnSize: number;
  readonly nLayers: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly normEps: number;
  readonly ropeTheta: number;
  /** How rotations are stretched for long contexts; null: not at all. */
  readonly ropeScaling: RopeScaling | null;
  /** Which elements of a head are rotated together, as the rows of q and k are ordered in the files. */
  readonly pairing: "half" | "adjacent";
  readonly activation: "relu2" | "silu" | "gelu";
  /** The embedding serves as head; null: so it is unless the file holds a head of its own. */
  readonly isTied: boolean | null;
  /** False for a class without a head, whose embedding does not serve as one: such a model embeds texts and cannot continue them. */
  readonly hasHead: boolean;
  /** How a separate `weight_scale` tensor relates to the weights: W = T · scale, or W = T / scale. */
  readonly weightScale: "multiplies" | "divides";
  /** Full-precision weights are masters, to be ternarised as in training; otherwise only products of trits and one scale are read. */
  readonly floatsAreMasters: boolean;
  /** What masters become: three values, or the two of the first BitNet ("Scaling 1-bit Transformers"). */
  readonly masters: "ternary" | "binary";
  /** What attention multiplies scores with; an f32. */
  readonly attentionScale: number;
  /** Layers that see only the last `size` positions, with rotations of their own. */
  readonly slidingWindow: {
    readonly size: number;
    readonly ropeTheta: number;
    readonly layers: readonly boolean[];
  } | null;
  /** Factors on the embedding, on what blocks add to the stream, and on the logits; usually 1. */
  readonly embeddingScale: number;
  readonly residualScale: number;
  readonly headScale: number;
  /** Activations are quantised in groups of so many columns, because they were 16 bit in training; null: a whole token at a time. */
  readonly activationGroup: 128 | null;
  /** Added to the weights of all norms as the files have them: 1 where they hold what is beyond 1. */
  readonly normShift: 0 | 1;
  /** Whether each projection has a norm of its own input; null: where the files hold such norms. */
  readonly hasInnerNorms: boolean | null;
  /** Of those norms. */
  readonly innerNormEps: number;
}
