/**
 * The Gemma 3 shape: embeddings times √hidden, norms of the heads, norms of what blocks add, GELU, and five layers with a sliding window to
 * one without. "Gemma 3 Technical Report" (2025), section 2; BitNet-embedding-270M is of this shape.
 */
import { limits } from "./config-fields.ts";
import { readSlidingTheta } from "./config-rope.ts";
import { type Extras, type ExtrasContext, type Family, llamaNames } from "./family.ts";
import type { ModelConfig } from "./model-config.ts";

const usualPattern = 6;
/** Of transformers' configuration. */
const usualWindow = 4096;
const thetaText = {
  isValid: (theta: number) => theta > 1 && theta < 1e12,
  text: "a number between 1 and 10^12",
};
const positive = {
  isValid: (value: number) => value > 0 && Number.isFinite(value),
  text: "a positive number",
};

/** The last of every `pattern` layers sees everything. */
function localLayers(nLayers: number, pattern: number): boolean[] {
  return Array.from({ length: nLayers }, (_, layer) => (layer + 1) % pattern !== 0);
}

function embeddingScale({ hiddenSize }: ExtrasContext): number {
  return Math.fround(Math.sqrt(hiddenSize));
}

export const gemma3: Family = {
  name: "gemma3",
  gguf: ["gemma3"],
  hf: ["Gemma3ForCausalLM", "Gemma3TextModel"],
  defaults: { gguf: { ropeTheta: 10000 }, hf: { normEps: 1e-6, ropeTheta: 1e6, headDim: 256 } },
  activation: "gelu",
  isTied: true,
  ggufPairing: "half",
  floatsAreMasters: false,
  isWeightOnly: false,
  pooling: "mean",
  chatTemplate: null,
  layerNames: {
    ...llamaNames,
    attn_q_norm: "self_attn.q_norm.weight",
    attn_k_norm: "self_attn.k_norm.weight",
    post_attention_norm: "post_attention_layernorm.weight",
    ffn_norm: "pre_feedforward_layernorm.weight",
    post_ffw_norm: "post_feedforward_layernorm.weight",
  },
  traits: { subNorms: false, headNorms: true, postNorms: true, biases: false },
  extras: {
    gguf(reader, context): Extras {
      const scale = { embeddingScale: embeddingScale(context) };
      // Without it, as bitnet.cpp's converter leaves it out, all layers see everything, and are rotated alike.
      const given = context.find("attention.sliding_window");
      if (given === undefined || given === 0) return scale;
      const size = reader.integer("attention.sliding_window", limits.contextLength);
      const pattern = reader.integer("attention.sliding_window_pattern", limits.nLayers, usualPattern);
      const ropeTheta = reader.number("rope.freq_base_swa", thetaText, 10000);
      const layers = localLayers(context.nLayers, pattern);
      return { ...scale, slidingWindow: layers.includes(true) ? { size, ropeTheta, layers } : null };
    },
    hf(reader, context): Extras {
      for (const name of ["attn_logit_softcapping", "final_logit_softcapping"])
        if ((context.find(name) ?? null) !== null) reader.problems.push(`${name} is not supported`);
      if (context.find("use_bidirectional_attention") === true)
        reader.problems.push("use_bidirectional_attention is not supported");
      const layers = layersOf(reader, context);
      const older = reader.number("rope_local_base_freq", thetaText, 10000);
      const ropeTheta = readSlidingTheta(context.find("rope_parameters"), older, reader.problems);
      const window = (): ModelConfig["slidingWindow"] => {
        const size = reader.integer("sliding_window", limits.contextLength, usualWindow);
        return { size, ropeTheta, layers };
      };
      const scalar = reader.number("query_pre_attn_scalar", positive, context.headDim);
      return {
        embeddingScale: embeddingScale(context),
        attentionScale: Math.fround(1 / Math.sqrt(scalar)),
        slidingWindow: layers.includes(true) ? window() : null,
        normShift: 1,
      };
    },
  },
};

function layersOf(
  reader: { problems: string[]; integer(name: string, limit: number, usual?: number): number },
  { nLayers, find }: ExtrasContext,
): boolean[] {
  const types = find("layer_types") ?? null;
  if (types === null)
    return localLayers(nLayers, reader.integer("sliding_window_pattern", limits.nLayers, usualPattern));
  const known = ["sliding_attention", "full_attention"];
  if (!Array.isArray(types) || types.length !== nLayers || !types.every((type) => known.includes(type))) {
    reader.problems.push(`layer_types must list ${known.join(" or ")} for each of the ${nLayers} layers`);
    return [];
  }
  return types.map((type) => type === "sliding_attention");
}
