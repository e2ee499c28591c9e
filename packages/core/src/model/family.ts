/**
 * What a family of models is: the facts that its files leave out, the names of its weights, and the traits of its forward pass (decoder.ts). One
 * record in a file each; families.ts lists them.
 */
import type { OpOf } from "../backend/operations.ts";
import type { FieldReader } from "./config-fields.ts";
import type { DecoderTraits } from "./decoder.ts";
import type { ModelConfig } from "./model-config.ts";

/** Which states make the embedding of a text: the mean of all, that of the last token, or that of the first. */
export type Pooling = "mean" | "last" | "cls";

/** What a file may leave out; without a value the file must say it. */
interface Defaults {
  normEps?: number;
  ropeTheta: number;
  /** Without it, heads make up the hidden size. */
  headDim?: number;
}

/** Numbers that only some families have. */
export type Extras = Partial<
  Pick<
    ModelConfig,
    "attentionScale" | "slidingWindow" | "embeddingScale" | "residualScale" | "headScale" | "normShift"
  >
>;

/** What extras are computed from. */
export interface ExtrasContext {
  hiddenSize: number;
  headDim: number;
  nLayers: number;
  /** A value of the file as it is. */
  find(name: string): unknown;
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
  /** Activations were 16 bit in training, whatever the files' packing. */
  readonly isWeightOnly: boolean;
  /** How embeddings are made where the files do not say; of models with norms inside their projections it is `last`. */
  readonly pooling: Pooling;
  /** The chat template where the files have none. */
  readonly chatTemplate: "bitnet" | null;
  /** Weights of a layer by their GGUF names without "blk.N." and ".weight": their Hugging Face names within the layer, the usual one first. */
  readonly layerNames: Readonly<Record<string, string | readonly string[]>>;
  readonly traits: DecoderTraits;
  /** Reads what only this family has. */
  readonly extras?: {
    gguf?(reader: FieldReader, context: ExtrasContext): Extras;
    hf?(reader: FieldReader, context: ExtrasContext): Extras;
  };
}

/** Names that most families share. */
export const llamaNames = {
  attn_norm: "input_layernorm.weight",
  attn_q: "self_attn.q_proj.weight",
  attn_k: "self_attn.k_proj.weight",
  attn_v: "self_attn.v_proj.weight",
  attn_output: "self_attn.o_proj.weight",
  ffn_norm: "post_attention_layernorm.weight",
  ffn_gate: "mlp.gate_proj.weight",
  ffn_up: "mlp.up_proj.weight",
  ffn_down: "mlp.down_proj.weight",
  ...innerNormNames(),
} as const;

/** Norms of the input of each projection: of embedding models, and as transformers names those of `use_rms_norm`. */
function innerNormNames(): Record<string, readonly string[]> {
  const projections = {
    attn_q: "self_attn.q_proj",
    attn_k: "self_attn.k_proj",
    attn_v: "self_attn.v_proj",
    attn_output: "self_attn.o_proj",
    ffn_gate: "mlp.gate_proj",
    ffn_up: "mlp.up_proj",
    ffn_down: "mlp.down_proj",
  };
  return Object.fromEntries(
    Object.entries(projections).map(([gguf, hf]) => [
      `${gguf}_norm_in`,
      [`${hf}.norm.weight`, `${hf}.rms_norm.weight`],
    ]),
  );
}
