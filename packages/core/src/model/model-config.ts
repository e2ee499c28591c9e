/** What a model is, in numbers: what config.ts makes of either kind of file. */
export interface ModelConfig {
  /** Architecture family, one file of this folder each. */
  readonly architecture: "bitnet-b1.58" | "llama";
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
  /** Which elements of a head are rotated together, as the rows of q and k are ordered in the files. */
  readonly pairing: "half" | "adjacent";
  readonly activation: "relu2" | "silu" | "gelu";
  /** The embedding serves as head; null: so it is unless the file holds a head of its own. */
  readonly isTied: boolean | null;
  /** How a separate `weight_scale` tensor relates to the weights: W = T · scale, or W = T / scale. */
  readonly weightScale: "multiplies" | "divides";
  /** Full-precision weights are masters, to be ternarised as in training; otherwise only products of trits and one scale are read. */
  readonly floatsAreMasters: boolean;
}
