/**
 * BitNet b1.58 as bitnet-b1.58-2B-4T has it: squared-ReLU gating, and an RMSNorm before each output projection.
 * "BitNet b1.58 2B4T Technical Report" (Microsoft, 2025), section 2.
 */
import { type Family, llamaNames } from "./family.ts";

export const bitnetB158: Family = {
  name: "bitnet-b1.58",
  gguf: ["bitnet-b1.58", "bitnet-25"],
  hf: ["BitNetForCausalLM"],
  defaults: { gguf: { ropeTheta: 10000 }, hf: { normEps: 1e-5, ropeTheta: 500000 } },
  activation: "relu2",
  isTied: null,
  ggufPairing: "half",
  floatsAreMasters: true,
  isWeightOnly: false,
  pooling: "mean",
  chatTemplate: "bitnet",
  layerNames: {
    ...llamaNames,
    attn_sub_norm: "self_attn.attn_sub_norm.weight",
    ffn_sub_norm: "mlp.ffn_sub_norm.weight",
  },
  traits: { subNorms: true, headNorms: false, postNorms: false, biases: false },
};
