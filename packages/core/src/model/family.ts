/**
 * What a family of models is: the facts that its files leave out, the names of its weights, and its forward pass. One record each, beside the
 * forward pass; families.ts lists them.
 */
import type { OpOf } from "../backend/operations.ts";
import type { ModelConfig } from "./model-config.ts";
import type { Recording } from "./recorder.ts";

/** What a file may leave out; without a value the file must say it. */
interface Defaults {
  normEps?: number;
  ropeTheta: number;
}

export interface Family {
  readonly name: ModelConfig["architecture"];
  /** `general.architecture` of GGUF files. */
  readonly gguf: readonly string[];
  /** `architectures[0]` of config.json. */
  readonly hf: readonly string[];
  readonly defaults: { readonly gguf: Defaults; readonly hf: Defaults };
  /** What the gate goes through where the file does not say. */
  readonly activation: ModelConfig["activation"];
  /** Whether the embedding serves as head where config.json does not say; null: unless the files hold a head of their own. */
  readonly isTied: boolean | null;
  /** Converters to GGUF reorder the rows of q and k for some families, so that neighbours are rotated together. */
  readonly ggufPairing: OpOf<"rope">["pairing"];
  /**
   * Whether full-precision weights are masters of ternary ones, as training leaves them. Where ordinary models have the same architecture, that
   * has to be said by the file (`quantization_config`).
   */
  readonly floatsAreMasters: boolean;
  /** The chat template where the files have none. */
  readonly chatTemplate: "bitnet" | null;
  /** Weights of a layer by their GGUF names without "blk.N." and ".weight": their Hugging Face names within the layer. */
  readonly layerNames: Readonly<Record<string, string>>;
  /** @param hasHead Whether the files hold a head of their own. */
  record(config: ModelConfig, hasHead: boolean): Recording;
}
