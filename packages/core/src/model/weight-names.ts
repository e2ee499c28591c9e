/** Names of weights: recordings use GGUF's without ".weight"; this maps them to Hugging Face's. */
import { BitNetError } from "../base/errors.ts";
import type { Family } from "./family.ts";

const outer: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens.weight",
  output_norm: "model.norm.weight",
  output: "lm_head.weight",
  // Only GGUF files have these.
  rope_freqs: "rope_freqs.weight",
  rope_factors_short: "rope_factors_short.weight",
  rope_factors_long: "rope_factors_long.weight",
};

/** `blk.3.attn_q` → `blk.3.attn_q.weight`; biases are named in full. */
export function ggufWeightName(name: string): string {
  return name.endsWith(".bias") ? name : `${name}.weight`;
}

/**
 * `blk.3.attn_q` → `model.layers.3.self_attn.q_proj.weight`.
 * @param has Whether the files hold a tensor: some weights have had several names, and models without a head lack the "model.".
 */
export function hfWeightName(
  { layerNames }: Pick<Family, "layerNames">,
  name: string,
  has: (tensor: string) => boolean,
): string {
  const match = /^blk\.(\d+)\.([\w.]+)$/.exec(name);
  const known = match ? layerNames[match[2] ?? ""] : outer[name];
  if (known === undefined) throw new BitNetError("INTERNAL", `weight "${name}" has no Hugging Face name`);
  const inLayer = match ? `model.layers.${match[1]}.` : "";
  const names = [known].flat().map((last) => `${inLayer}${last}`);
  const candidates = [...names, ...names.map((full) => full.replace(/^model\./, ""))];
  return candidates.find(has) ?? (candidates[0] as string);
}
