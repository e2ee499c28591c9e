/**
 * BitNet b1.58 as bitnet-b1.58-2B-4T has it: pre-norm transformer, grouped-query attention with RoPE, squared-ReLU gating, and an
 * RMSNorm before each output projection. "BitNet b1.58 2B4T Technical Report" (Microsoft, 2025), section 2.
 */

import type { Family } from "./family.ts";
import type { ModelConfig } from "./model-config.ts";
import { Recorder, type Recording } from "./recorder.ts";

export const bitnetB158: Family = {
  name: "bitnet-b1.58",
  gguf: ["bitnet-b1.58", "bitnet-25"],
  hf: ["BitNetForCausalLM", "BitnetForCausalLM"],
  defaults: { gguf: { ropeTheta: 10000 }, hf: { normEps: 1e-5, ropeTheta: 500000 } },
  activation: "relu2",
  isTied: null,
  ggufPairing: "half",
  floatsAreMasters: true,
  chatTemplate: "bitnet",
  layerNames: {
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
  },
  record,
};

function record(config: ModelConfig, hasHead: boolean): Recording {
  const { hiddenSize, ffnSize, nHeads, nKvHeads, headDim, vocabSize, normEps: eps, pairing } = config;
  const m = new Recorder(config);
  const embedding = m.dense("token_embd", vocabSize, hiddenSize);
  const ropeTable = m.ropeTable(headDim, config.ropeTheta);

  const x = m.f32("x", hiddenSize); // residual stream
  const xq = m.q8("xq", hiddenSize);
  const q = m.f32("q", nHeads * headDim);
  const k = m.f32("k", nKvHeads * headDim);
  const v = m.f32("v", nKvHeads * headDim);
  const mixed = m.f32("mixed", nHeads * headDim);
  const mixedQ = m.q8("mixedQ", nHeads * headDim);
  const gate = m.f32("gate", ffnSize);
  const up = m.f32("up", ffnSize);
  const gated = m.f32("gated", ffnSize);
  const gatedQ = m.q8("gatedQ", ffnSize);
  const y = m.f32("y", hiddenSize); // what a block adds to the stream

  m.add({ op: "embed", table: embedding, out: x });
  for (let layer = 0; layer < config.nLayers; layer++) {
    const norm = (name: string, cols: number) => m.dense(`blk.${layer}.${name}`, 1, cols);
    const ternary = (name: string, rows: number, cols: number) =>
      m.ternary(`blk.${layer}.${name}`, rows, cols);
    const kv = m.kv(`blk.${layer}.kv`, nKvHeads, headDim);

    // x += o(sub_norm(attention(rope(q), rope(k), v)))
    m.add({ op: "rmsNormQuant", x, weight: norm("attn_norm", hiddenSize), out: xq, eps });
    const projections = [
      ternary("attn_q", nHeads * headDim, hiddenSize),
      ternary("attn_k", nKvHeads * headDim, hiddenSize),
      ternary("attn_v", nKvHeads * headDim, hiddenSize),
    ];
    m.add({ op: "bitLinear", x: xq, weights: projections, outs: [q, k, v] });
    m.add({ op: "ropeKv", q, k, v, kv, table: ropeTable, nHeads, pairing });
    m.add({
      op: "attention",
      q,
      kv,
      out: mixed,
      nHeads,
      scale: Math.fround(1 / Math.sqrt(headDim)),
      window: 0,
    });
    m.add({
      op: "rmsNormQuant",
      x: mixed,
      weight: norm("attn_sub_norm", nHeads * headDim),
      out: mixedQ,
      eps,
    });
    m.add({
      op: "bitLinear",
      x: mixedQ,
      weights: [ternary("attn_output", hiddenSize, nHeads * headDim)],
      outs: [y],
    });
    m.add({ op: "residual", x, y });

    // x += down(sub_norm(relu(gate(x))² · up(x)))
    m.add({ op: "rmsNormQuant", x, weight: norm("ffn_norm", hiddenSize), out: xq, eps });
    const expansions = [ternary("ffn_gate", ffnSize, hiddenSize), ternary("ffn_up", ffnSize, hiddenSize)];
    m.add({ op: "bitLinear", x: xq, weights: expansions, outs: [gate, up] });
    m.add({ op: "gatedActivation", gate, up, out: gated, fn: config.activation });
    m.add({ op: "rmsNormQuant", x: gated, weight: norm("ffn_sub_norm", ffnSize), out: gatedQ, eps });
    m.add({ op: "bitLinear", x: gatedQ, weights: [ternary("ffn_down", hiddenSize, ffnSize)], outs: [y] });
    m.add({ op: "residual", x, y });
  }
  const table = hasHead ? m.dense("output", vocabSize, hiddenSize) : embedding;
  m.add({ op: "head", x, weight: m.dense("output_norm", 1, hiddenSize), eps, table });
  return m.recording;
}
