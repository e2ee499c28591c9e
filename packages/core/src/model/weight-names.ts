/** Names of weights: recordings use GGUF's without ".weight"; this maps them to Hugging Face's. */
import { BitNetError } from "../base/errors.ts";
import type { Family } from "./family.ts";

const outer: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens.weight",
  output_norm: "model.norm.weight",
  output: "lm_head.weight",
};

/** `blk.3.attn_q` → `blk.3.attn_q.weight`. */
export function ggufWeightName(name: string): string {
  return `${name}.weight`;
}

/** `blk.3.attn_q` → `model.layers.3.self_attn.q_proj.weight`. */
export function hfWeightName({ layerNames }: Pick<Family, "layerNames">, name: string): string {
  const match = /^blk\.(\d+)\.(\w+)$/.exec(name);
  const mapped = match ? layerNames[match[2] ?? ""] : outer[name];
  if (mapped === undefined) throw new BitNetError("INTERNAL", `weight "${name}" has no Hugging Face name`);
  return match ? `model.layers.${match[1]}.${mapped}` : mapped;
}
