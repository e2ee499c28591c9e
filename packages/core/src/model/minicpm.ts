/**
 * The MiniCPM shape: Llama's, with factors on the embedding, on what blocks add, and on the logits. "MiniCPM" (Hu et al., 2024), section 3.1 and
 * appendix; BitCPM4 is of this shape.
 */
import { type Extras, type Family, llamaNames } from "./family.ts";

const positive = {
  isValid: (value: number) => value > 0 && Number.isFinite(value),
  text: "a positive number",
};

export const minicpm: Family = {
  name: "minicpm",
  gguf: ["minicpm"],
  hf: ["MiniCPMForCausalLM"],
  defaults: { gguf: { ropeTheta: 10000 }, hf: { normEps: 1e-6, ropeTheta: 10000 } },
  activation: "silu",
  isTied: null,
  ggufPairing: "adjacent",
  floatsAreMasters: false,
  isWeightOnly: true,
  pooling: "mean",
  chatTemplate: null,
  layerNames: llamaNames,
  traits: { subNorms: false, headNorms: false, postNorms: false, biases: false },
  extras: {
    gguf(reader): Extras {
      return {
        embeddingScale: Math.fround(reader.number("embedding_scale", positive)),
        residualScale: Math.fround(reader.number("residual_scale", positive)),
        headScale: Math.fround(1 / reader.number("logit_scale", positive)),
      };
    },
    hf(reader, { nLayers, hiddenSize }): Extras {
      return {
        embeddingScale: Math.fround(reader.number("scale_emb", positive, 1)),
        residualScale: Math.fround(
          reader.number("scale_depth", positive, Math.sqrt(nLayers)) / Math.sqrt(nLayers),
        ),
        headScale: Math.fround(reader.number("dim_model_base", positive, hiddenSize) / hiddenSize),
      };
    },
  },
};
