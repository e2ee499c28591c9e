import { expect, it } from "vitest";
import { bitnetB158 } from "./bitnet-b158.ts";
import { recordDecoder } from "./decoder.ts";
import { ggufWeightName, hfWeightName } from "./weight-names.ts";

const recording = recordDecoder(
  {
    architecture: "bitnet-b1.58",
    name: "two layers",
    hiddenSize: 8,
    ffnSize: 12,
    nLayers: 2,
    nHeads: 2,
    nKvHeads: 1,
    headDim: 4,
    contextLength: 16,
    vocabSize: 300,
    normEps: 1e-5,
    ropeTheta: 10000,
    ropeScaling: null,
    pairing: "half",
    activation: "relu2",
    isTied: false,
    hasHead: true,
    weightScale: "multiplies",
    floatsAreMasters: true,
    masters: "ternary",
    attentionScale: Math.fround(1 / Math.sqrt(4)),
    slidingWindow: null,
    activationGroup: null,
    embeddingScale: 1,
    residualScale: 1,
    headScale: 1,
    normShift: 0,
    hasInnerNorms: null,
    innerNormEps: 1e-5,
  },
  (name) => name === "output",
  bitnetB158.traits,
);
const requested = recording.buffers.flatMap((buffer) =>
  buffer.class === "request" && buffer.kind !== "ropeTable" ? [buffer.name] : [],
);

it("names every weight of a model, in both formats, as published checkpoints do", () => {
  const layer = (n: number) => [
    [`blk.${n}.attn_norm.weight`, `model.layers.${n}.input_layernorm.weight`],
    [`blk.${n}.attn_q.weight`, `model.layers.${n}.self_attn.q_proj.weight`],
    [`blk.${n}.attn_k.weight`, `model.layers.${n}.self_attn.k_proj.weight`],
    [`blk.${n}.attn_v.weight`, `model.layers.${n}.self_attn.v_proj.weight`],
    [`blk.${n}.attn_sub_norm.weight`, `model.layers.${n}.self_attn.attn_sub_norm.weight`],
    [`blk.${n}.attn_output.weight`, `model.layers.${n}.self_attn.o_proj.weight`],
    [`blk.${n}.ffn_norm.weight`, `model.layers.${n}.post_attention_layernorm.weight`],
    [`blk.${n}.ffn_gate.weight`, `model.layers.${n}.mlp.gate_proj.weight`],
    [`blk.${n}.ffn_up.weight`, `model.layers.${n}.mlp.up_proj.weight`],
    [`blk.${n}.ffn_sub_norm.weight`, `model.layers.${n}.mlp.ffn_sub_norm.weight`],
    [`blk.${n}.ffn_down.weight`, `model.layers.${n}.mlp.down_proj.weight`],
  ];
  expect(
    requested.map((name) => [ggufWeightName(name), hfWeightName(bitnetB158, name, () => false)]),
  ).toEqual([
    ["token_embd.weight", "model.embed_tokens.weight"],
    ...layer(0),
    ...layer(1),
    ["output.weight", "lm_head.weight"],
    ["output_norm.weight", "model.norm.weight"],
  ]);
});

it.each(["blk.0.attn_x", "blk.attn_q", "blk.0.attn_q.weight", "rope_table"])(
  "%s is no weight of a BitNet",
  (name) => {
    expect(() => hfWeightName(bitnetB158, name, () => false)).toThrow(/has no Hugging Face name/);
  },
);
