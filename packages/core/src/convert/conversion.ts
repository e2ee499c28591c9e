/** What a conversion is told, and what it gives. */
import type { EmbeddingType } from "./targets.ts";

export interface ConversionOptions {
  /** Type of the embedding and a head of its own; default: as it is, or the narrowest float type that loses nothing. */
  embeddings?: EmbeddingType;
  /** Ternarise full-precision weights although nothing says that the model was trained for it. */
  force?: boolean;
  /** Told of every tensor whose scales go to f16: the largest relative change. */
  onRounded?: (tensor: string, change: number) => void;
  signal?: AbortSignal;
}

export interface ConversionFile {
  /** Name in the folder; null for the one file. */
  name: string | null;
  /** To be consumed in order. A piece is the consumer's: it stays what it is when others are asked for. */
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export interface Conversion {
  kind: "file" | "folder";
  files: readonly ConversionFile[];
  /** Texts with characters that are rare (marks written after their letters, ligatures) become other tokens in the other kind of file. */
  changesCharacters: boolean;
}

export interface PlannedConversion extends Conversion {
  /**
   * Files of the target run with their activations quantised otherwise than the source's (docs/numerics.md): a token at a time, or in groups of
   * columns. Weights are the same, logits are not.
   */
  changesActivations: boolean;
  /** Frequencies of rotations that one kind of file gives by a rule and the other by f32 divisors differ in the last place. */
  roundsRotations: boolean;
}
