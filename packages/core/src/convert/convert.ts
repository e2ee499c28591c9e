/**
 * Converts an opened model into another format, as a stream: nothing is written here, and no more than one ternary tensor and a few slices
 * are in memory at a time. Trits and scales are those that running the model would use.
 */
import { BitNetError } from "../base/errors.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import { describeSource } from "./source.ts";
import { type ConversionTarget, type EmbeddingType, isGgufTarget } from "./targets.ts";
import { toGguf } from "./to-gguf.ts";
import { toHf } from "./to-hf.ts";

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
  /** To be consumed in order. A piece is overwritten once the next one is asked for. */
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export interface Conversion {
  kind: "file" | "folder";
  files: readonly ConversionFile[];
}

/**
 * @param name The source's, for messages.
 * @throws BitNetError MODEL_UNSUPPORTED, MODEL_INVALID, FORMAT_UNSUPPORTED when the target cannot hold the model; while streaming also
 * FORMAT_INVALID, FORMAT_TRUNCATED, IO_FAILED, NUMERIC_FAILURE, ABORTED.
 */
export async function planConversion(
  files: ModelFiles,
  name: string,
  target: ConversionTarget,
  options: ConversionOptions = {},
): Promise<Conversion> {
  const source = describeSource(files, name, options);
  if (!source.weights.some(({ kind }) => kind === "ternary"))
    throw new BitNetError("MODEL_UNSUPPORTED", `${name}: holds no ternary weights that could be converted`);
  return isGgufTarget(target) ? toGguf(source, target, options) : toHf(source, target, options);
}
