/** Names of parameters in Hugging Face's files. Graphs use GGUF's without ".weight". */
import { BitNetError } from "@bitnet.ts/core";

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

export function hfName(name: string): string {
  const match = /^blk\.(\d+)\.(\w+)$/.exec(name);
  const mapped = match ? inLayer[match[2] ?? ""] : outer[name];
  if (mapped === undefined) throw new BitNetError("INTERNAL", `parameter "${name}" has no Hugging Face name`);
  return match ? `model.layers.${match[1]}.${mapped}` : mapped;
}
