/**
 * BitNet b1.58 as bitnet-b1.58-2B-4T has it: pre-norm transformer, grouped-query attention with RoPE, squared-ReLU gating, and an
 * RMSNorm before each output projection. "BitNet b1.58 2B4T Technical Report" (Microsoft, 2025), section 2.
 */
import type { ModelConfig } from "./config.ts";
import { Recorder, type Recording } from "./recorder.ts";

/** @param hasHead Whether the files hold a head of their own rather than sharing the embedding. */
export function recordBitnetB158(config: ModelConfig, hasHead: boolean): Recording {
  const { hiddenSize, ffnSize, nHeads, nKvHeads, headDim, vocabSize, normEps: eps } = config;
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
    m.add({ op: "ropeKv", q, k, v, kv, table: ropeTable, nHeads, pairing: "half" });
    m.add({ op: "attention", q, kv, out: mixed, nHeads, scale: Math.fround(1 / Math.sqrt(headDim)) });
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
