/**
 * The Llama shape with ternary projections: pre-norm transformer, grouped-query attention with RoPE, gating with SiLU, and no norm before the
 * output projections. "Llama 2" (Touvron et al., 2023), section 2.2; Llama3-8B-1.58, Falcon3-1.58bit and Falcon-E are of this shape.
 */
import type { Family } from "./family.ts";
import { Recorder } from "./recorder.ts";

export const llama: Family = {
  name: "llama",
  gguf: ["llama"],
  hf: ["LlamaForCausalLM"],
  defaults: { gguf: { ropeTheta: 10000 }, hf: { normEps: 1e-6, ropeTheta: 10000 } },
  activation: "silu",
  isTied: false,
  ggufPairing: "adjacent",
  floatsAreMasters: false,
  chatTemplate: null,
  layerNames: {
    attn_norm: "input_layernorm.weight",
    attn_q: "self_attn.q_proj.weight",
    attn_k: "self_attn.k_proj.weight",
    attn_v: "self_attn.v_proj.weight",
    attn_output: "self_attn.o_proj.weight",
    ffn_norm: "post_attention_layernorm.weight",
    ffn_gate: "mlp.gate_proj.weight",
    ffn_up: "mlp.up_proj.weight",
    ffn_down: "mlp.down_proj.weight",
  },
  record(config, hasHead) {
    const { hiddenSize, ffnSize, nHeads, nKvHeads, headDim, vocabSize, normEps: eps, pairing } = config;
    const m = new Recorder(config);
    const embedding = m.dense("token_embd", vocabSize, hiddenSize);
    const table = m.ropeTable(headDim, config.ropeTheta);
    const [qSize, kvSize] = [nHeads * headDim, nKvHeads * headDim];

    const x = m.f32("x", hiddenSize); // residual stream
    const xq = m.q8("xq", hiddenSize);
    const [q, k, v] = [m.f32("q", qSize), m.f32("k", kvSize), m.f32("v", kvSize)];
    const [mixed, mixedQ] = [m.f32("mixed", qSize), m.q8("mixedQ", qSize)];
    const [gate, up] = [m.f32("gate", ffnSize), m.f32("up", ffnSize)];
    const [gated, gatedQ] = [m.f32("gated", ffnSize), m.q8("gatedQ", ffnSize)];
    const y = m.f32("y", hiddenSize); // what a block adds to the stream

    m.add({ op: "embed", table: embedding, out: x });
    for (let layer = 0; layer < config.nLayers; layer++) {
      const norm = (name: string) => m.dense(`blk.${layer}.${name}`, 1, hiddenSize);
      const ternary = (name: string, rows: number, cols: number) =>
        m.ternary(`blk.${layer}.${name}`, rows, cols);
      const kv = m.kv(`blk.${layer}.kv`, nKvHeads, headDim);

      // x += o(attention(rope(q), rope(k), v))
      m.add({ op: "rmsNormQuant", x, weight: norm("attn_norm"), out: xq, eps });
      const projections = [
        ternary("attn_q", qSize, hiddenSize),
        ternary("attn_k", kvSize, hiddenSize),
        ternary("attn_v", kvSize, hiddenSize),
      ];
      m.add({ op: "bitLinear", x: xq, weights: projections, outs: [q, k, v] });
      m.add({ op: "ropeKv", q, k, v, kv, table, nHeads, pairing });
      m.add({
        op: "attention",
        q,
        kv,
        out: mixed,
        nHeads,
        scale: Math.fround(1 / Math.sqrt(headDim)),
        window: 0,
      });
      m.add({ op: "quantise", x: mixed, out: mixedQ });
      m.add({ op: "bitLinear", x: mixedQ, weights: [ternary("attn_output", hiddenSize, qSize)], outs: [y] });
      m.add({ op: "residual", x, y });

      // x += down(silu(gate(x)) · up(x))
      m.add({ op: "rmsNormQuant", x, weight: norm("ffn_norm"), out: xq, eps });
      const expansions = [ternary("ffn_gate", ffnSize, hiddenSize), ternary("ffn_up", ffnSize, hiddenSize)];
      m.add({ op: "bitLinear", x: xq, weights: expansions, outs: [gate, up] });
      m.add({ op: "gatedActivation", gate, up, out: gated, fn: config.activation });
      m.add({ op: "quantise", x: gated, out: gatedQ });
      m.add({ op: "bitLinear", x: gatedQ, weights: [ternary("ffn_down", hiddenSize, ffnSize)], outs: [y] });
      m.add({ op: "residual", x, y });
    }
    const head = hasHead ? m.dense("output", vocabSize, hiddenSize) : embedding;
    m.add({ op: "head", x, weight: m.dense("output_norm", 1, hiddenSize), eps, table: head });
    return m.recording;
  },
};
