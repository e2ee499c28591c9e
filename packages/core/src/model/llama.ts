/**
 * The Llama shape with ternary projections: gating with SiLU, and no norm before the output projections. "Llama 2" (Touvron et al., 2023), section
 * 2.2; Llama3-8B-1.58, Falcon3-1.58bit, Falcon-E and TriLM are of this shape.
 */
import { type Family, llamaNames } from "./family.ts";

export const llama: Family = {
  name: "llama",
  gguf: ["llama"],
  hf: ["LlamaForCausalLM"],
  defaults: { gguf: { ropeTheta: 10000 }, hf: { normEps: 1e-6, ropeTheta: 10000 } },
  activation: "silu",
  isTied: false,
  ggufPairing: "adjacent",
  floatsAreMasters: false,
  isWeightOnly: false,
  pooling: "mean",
  chatTemplate: null,
  layerNames: llamaNames,
  traits: { subNorms: false, headNorms: false, postNorms: false, biases: false },
};
