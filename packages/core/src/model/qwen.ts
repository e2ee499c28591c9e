/**
 * The Qwen shapes. Qwen2 ("Qwen2 Technical Report", 2024) has biases of q, k and v; Qwen3 ("Qwen3 Technical Report", 2025) has none, but norms of
 * the heads of q and k. Ternary Bonsai and BitNet-embedding-0.6B are of the Qwen3 shape; the latter has a norm inside each projection, too.
 */
import { type Family, llamaNames } from "./family.ts";

const shared = {
  activation: "silu",
  isTied: false,
  ggufPairing: "half",
  floatsAreMasters: false,
  isWeightOnly: false,
  pooling: "last",
  chatTemplate: null,
} as const;

export const qwen2: Family = {
  ...shared,
  name: "qwen2",
  gguf: ["qwen2"],
  hf: ["Qwen2ForCausalLM", "Qwen2Model"],
  defaults: { gguf: { ropeTheta: 10000 }, hf: { normEps: 1e-6, ropeTheta: 10000 } },
  layerNames: {
    ...llamaNames,
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
  },
  traits: { subNorms: false, headNorms: false, postNorms: false, biases: true },
  extras: { hf: refuseWindow },
};

export const qwen3: Family = {
  ...shared,
  name: "qwen3",
  gguf: ["qwen3"],
  hf: ["Qwen3ForCausalLM", "Qwen3Model"],
  defaults: { gguf: { ropeTheta: 10000 }, hf: { normEps: 1e-6, ropeTheta: 10000, headDim: 128 } },
  layerNames: {
    ...llamaNames,
    attn_q_norm: "self_attn.q_norm.weight",
    attn_k_norm: "self_attn.k_norm.weight",
  },
  traits: { subNorms: false, headNorms: true, postNorms: false, biases: false },
  extras: { hf: refuseWindow },
};

/** No ternary model of these shapes was trained with a window. */
function refuseWindow(...[reader, { find }]: Parameters<NonNullable<NonNullable<Family["extras"]>["hf"]>>) {
  if (find("use_sliding_window") === true) reader.problems.push("use_sliding_window is not supported");
  return {};
}
