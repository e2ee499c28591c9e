/**
 * BitNet b1.58 as its first reproductions have it (1bitLLM bitnet_b1_58-large, -xl, -3B): SiLU, and sub-norms under other names.
 * "The Era of 1-bit LLMs" (Ma et al., 2024), section 2.
 */
import { type Family, llamaNames } from "./family.ts";

export const bitnet: Family = {
  name: "bitnet",
  gguf: ["bitnet"],
  hf: ["BitnetForCausalLM"],
  defaults: { gguf: { ropeTheta: 10000 }, hf: { normEps: 1e-5, ropeTheta: 10000 } },
  activation: "silu",
  isTied: null,
  ggufPairing: "half",
  floatsAreMasters: true,
  isWeightOnly: false,
  pooling: "mean",
  chatTemplate: null,
  layerNames: {
    ...llamaNames,
    attn_sub_norm: ["self_attn.inner_attn_ln.weight", "self_attn.attn_sub_norm.weight"],
    ffn_sub_norm: ["mlp.ffn_layernorm.weight", "mlp.ffn_sub_norm.weight"],
  },
  traits: { subNorms: true, headNorms: false, postNorms: false, biases: false },
};
