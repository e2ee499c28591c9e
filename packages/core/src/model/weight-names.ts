/** Names of weights: recordings use GGUF's without ".weight"; this maps them to Hugging Face's for the BitNet family. */
import { BitNetError } from "../base/errors.ts";

const outer: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens.weight",
  output_norm: "model.norm.weight",
  output: "lm_head.weight",
};

const inLayer: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm.weight",
  attn_q: "self_attn.q_proj.weight",
  attn_k: "self_attn.k_proj.weight",
  attn_v: "self_attn.v_proj.weight",
  attn_sub_norm: "self_attn.attn_sub_norm.weight",
  attn_output: "self_attn.o_proj.weight",
  ffn_norm: "post_attention_layernorm.weight",
  ffn_gate: "mlp.gate_proj.weight",
  ffn_up: "mlp.up_proj.weight",
  ffn_sub_norm: "mlp.ffn_sub_norm.weight",
  ffn_down: "mlp.down_proj.weight",
};

/** `blk.3.attn_q` → `blk.3.attn_q.weight`. */
export function ggufWeightName(name: string): string {
  return `${name}.weight`;
}

/** `blk.3.attn_q` → `model.layers.3.self_attn.q_proj.weight`. */
export function hfWeightName(name: string): string {
  const match = /^blk\.(\d+)\.(\w+)$/.exec(name);
  const mapped = match ? inLayer[match[2] ?? ""] : outer[name];
  if (mapped === undefined) throw new BitNetError("INTERNAL", `weight "${name}" has no Hugging Face name`);
  return match ? `model.layers.${match[1]}.${mapped}` : mapped;
}
