/**
 * The transformer decoder that all families share, with the traits in which they differ: norms before output projections, norms of heads, norms of
 * what a block adds, norms inside projections, biases. Reads top to bottom as the papers have it; a family's file says which traits it has.
 */
import type { BufferId } from "../backend/program.ts";
import type { ModelConfig } from "./model-config.ts";
import { Recorder, type Recording } from "./recorder.ts";
import { ropeTensorsOf } from "./rope-tensors.ts";

export interface DecoderTraits {
  /** An RMSNorm before each output projection ("sub-norm"). */
  subNorms: boolean;
  /** An RMSNorm of every head of q and k, before the rotation. */
  headNorms: boolean;
  /** An RMSNorm of what a block adds to the stream. */
  postNorms: boolean;
  /** Biases of q, k and v. */
  biases: boolean;
}

/** Whether the files have a weight of this name ("blk.0.attn_q_norm_in", "output"). */
export type HasWeight = (name: string) => boolean;

/** Side paths of projections by name (`blk.0.attn_q`): y + scale · B(A x), A of so many rows. */
export type SidePaths = ReadonlyMap<string, { readonly rank: number; readonly scale: number }>;

/** The name under which a recording asks for a low-rank weight of an adapter. */
export function adapterWeight(adapter: number, projection: string, part: "a" | "b"): string {
  return `adapter.${adapter}.${projection}.lora_${part}`;
}

/** @param adapters Recorded beside the model, each for the rows that have it; without any, nothing of them is recorded. */
export function recordDecoder(
  config: ModelConfig,
  has: HasWeight,
  traits: DecoderTraits,
  adapters: readonly SidePaths[] = [],
): Recording {
  return new Decoder(config, has, traits, adapters).record();
}

class Decoder {
  private readonly config: ModelConfig;
  private readonly has: HasWeight;
  private readonly traits: DecoderTraits;
  private readonly adapters: readonly SidePaths[];
  private readonly m: Recorder;
  private readonly activations = new Map<string, BufferId>();
  private layer = 0;

  constructor(config: ModelConfig, has: HasWeight, traits: DecoderTraits, adapters: readonly SidePaths[]) {
    this.config = config;
    this.has = has;
    this.traits = traits;
    this.adapters = adapters;
    this.m = new Recorder(config);
  }

  record(): Recording {
    const { m, config } = this;
    const { hiddenSize, vocabSize, normEps: eps } = config;
    const embedding = m.dense("token_embd", vocabSize, hiddenSize);
    const { slidingWindow, headDim, ropeTheta: theta, ropeScaling: scaling } = config;
    const divisors = ropeTensorsOf(scaling, this.has);
    const table = m.ropeTable("rope_table", { headDim, theta, scaling }, divisors);
    const localTable = slidingWindow
      ? m.ropeTable("local_rope_table", { headDim, theta: slidingWindow.ropeTheta, scaling: null })
      : table;
    const x = this.f32("x", hiddenSize); // residual stream

    m.add({ op: "embed", table: embedding, out: x });
    this.scale(x, config.embeddingScale);
    for (this.layer = 0; this.layer < config.nLayers; this.layer++) {
      const isLocal = slidingWindow?.layers[this.layer] === true;
      this.attentionBlock(x, isLocal ? localTable : table, isLocal ? (slidingWindow?.size ?? 0) : 0);
      this.feedForwardBlock(x);
    }
    const head =
      this.has("output") && config.isTied !== true ? m.dense("output", vocabSize, hiddenSize) : embedding;
    const weight = this.norm("output_norm", hiddenSize, config.headScale);
    m.add({ op: "head", x, weight, eps, table: head });
    return m.recording;
  }

  /** x += o(attention(rope(q(x)), rope(k(x)), v(x))) */
  private attentionBlock(x: BufferId, table: BufferId, window: number): void {
    const { m, config, traits } = this;
    const { hiddenSize, nHeads, nKvHeads, headDim, normEps: eps, pairing } = config;
    const [qSize, kvSize] = [nHeads * headDim, nKvHeads * headDim];
    const [q, k, v] = [this.f32("q", qSize), this.f32("k", kvSize), this.f32("v", kvSize)];
    const mixed = this.f32("mixed", qSize);
    const kv = m.kv(this.named("kv"), nKvHeads, headDim);

    this.project({ x, name: "x", cols: hiddenSize, norm: "attn_norm" }, [
      { weight: "attn_q", out: q, rows: qSize },
      { weight: "attn_k", out: k, rows: kvSize },
      { weight: "attn_v", out: v, rows: kvSize },
    ]);
    if (traits.headNorms) {
      m.add({ op: "rmsNorm", weight: this.layerNorm("attn_q_norm", headDim), x: q, out: q, eps });
      m.add({ op: "rmsNorm", weight: this.layerNorm("attn_k_norm", headDim), x: k, out: k, eps });
    }
    m.add({ op: "ropeKv", q, k, v, kv, table, nHeads, pairing });
    m.add({ op: "attention", q, kv, out: mixed, nHeads, scale: config.attentionScale, window });
    const norm = traits.subNorms ? { norm: "attn_sub_norm" } : {};
    this.addTo(x, { x: mixed, name: "mixed", cols: qSize, ...norm }, "attn_output", "post_attention_norm");
  }

  /** x += down(activation(gate(x)) · up(x)) */
  private feedForwardBlock(x: BufferId): void {
    const { hiddenSize, ffnSize, activation: fn } = this.config;
    const [gate, up] = [this.f32("gate", ffnSize), this.f32("up", ffnSize)];
    const gated = this.f32("gated", ffnSize);

    this.project({ x, name: "x", cols: hiddenSize, norm: "ffn_norm" }, [
      { weight: "ffn_gate", out: gate, rows: ffnSize },
      { weight: "ffn_up", out: up, rows: ffnSize },
    ]);
    this.m.add({ op: "gatedActivation", gate, up, out: gated, fn });
    const norm = this.traits.subNorms ? { norm: "ffn_sub_norm" } : {};
    this.addTo(x, { x: gated, name: "gated", cols: ffnSize, ...norm }, "ffn_down", "post_ffw_norm");
  }

  /** x += norm(W · source), as far as the family has that norm. */
  private addTo(x: BufferId, source: Source, weight: string, postNorm: string): void {
    const { m, config, traits } = this;
    const y = this.f32("y", config.hiddenSize); // what a block adds to the stream
    this.project(source, [{ weight, out: y, rows: config.hiddenSize }]);
    if (traits.postNorms)
      m.add({
        op: "rmsNorm",
        weight: this.layerNorm(postNorm, config.hiddenSize),
        x: y,
        out: y,
        eps: config.normEps,
      });
    this.scale(y, config.residualScale);
    m.add({ op: "residual", x, y });
  }

  /** Projections of one input; each has a norm of its own, where the files hold such norms. */
  private project(source: Source, outputs: readonly Projection[]): void {
    const { m, config } = this;
    const { name, cols, norm } = source;
    const eps = config.normEps;
    const q8 = this.q8(`${name}Q`, cols);
    const layerNorm = norm === undefined ? undefined : this.layerNorm(norm, cols);
    const weights = outputs.map(({ weight, rows }) => m.ternary(this.named(weight), rows, cols));
    const hasSidePaths = outputs.some(({ weight }) =>
      this.adapters.some((paths) => paths.has(this.named(weight))),
    );
    // What side paths read: the rows that the projections are given, before they are quantised.
    let plain = source.x;
    const innerNorms = outputs.map(({ weight }) => `${weight}_norm_in`);
    if (config.hasInnerNorms ?? innerNorms.some((inner) => this.has(this.named(inner)))) {
      const x = layerNorm === undefined ? source.x : this.f32(`${name} normed`, cols);
      if (layerNorm !== undefined) m.add({ op: "rmsNorm", weight: layerNorm, x: source.x, out: x, eps });
      plain = x;
      outputs.forEach(({ out }, i) => {
        // Of the linear layer, not of the family: never shifted.
        const weight = m.dense(this.named(innerNorms[i] ?? ""), 1, cols);
        m.add({ op: "rmsNormQuant", x, weight, out: q8, eps: config.innerNormEps });
        m.add({ op: "bitLinear", x: q8, weights: weights.slice(i, i + 1), outs: [out] });
      });
    } else {
      if (layerNorm !== undefined && hasSidePaths) {
        plain = this.f32(`${name} normed`, cols);
        m.add({ op: "rmsNorm", weight: layerNorm, x: source.x, out: plain, eps });
      }
      if (layerNorm === undefined || hasSidePaths) m.add({ op: "quantise", x: plain, out: q8 });
      else m.add({ op: "rmsNormQuant", x: source.x, weight: layerNorm, out: q8, eps });
      m.add({ op: "bitLinear", x: q8, weights, outs: outputs.map(({ out }) => out) });
    }
    if (this.traits.biases)
      for (const { weight, out, rows } of outputs)
        if (/^attn_[qkv]$/.test(weight))
          m.add({ op: "bias", x: out, bias: m.dense(this.named(`${weight}.bias`), 1, rows) });
    for (const { weight, out, rows } of outputs)
      this.sidePaths(plain, cols, { projection: this.named(weight), out, rows });
  }

  /** What adapters add to a projection. */
  private sidePaths(
    x: BufferId,
    cols: number,
    { projection, out, rows }: { projection: string; out: BufferId; rows: number },
  ): void {
    for (const [adapter, paths] of this.adapters.entries()) {
      const path = paths.get(projection);
      if (path === undefined) continue;
      const a = this.m.dense(adapterWeight(adapter, projection, "a"), path.rank, cols);
      const b = this.m.dense(adapterWeight(adapter, projection, "b"), rows, path.rank);
      this.m.add({ op: "lora", x, a, b, y: out, scale: path.scale, adapter });
    }
  }

  private scale(x: BufferId, factor: number): void {
    if (factor !== 1) this.m.add({ op: "scale", x, factor });
  }

  private named(name: string): string {
    return `blk.${this.layer}.${name}`;
  }

  private layerNorm(name: string, cols: number): BufferId {
    return this.norm(this.named(name), cols, 1);
  }

  /** The weight of a norm, as the family's files mean it. */
  private norm(name: string, cols: number, factor: number): BufferId {
    return this.m.dense(name, 1, cols, { plus: this.config.normShift, times: factor });
  }

  /** Activations live for one step and are the same in all layers. */
  private f32(name: string, cols: number): BufferId {
    return this.activation(name, () => this.m.f32(name, cols));
  }

  private q8(name: string, cols: number): BufferId {
    return this.activation(name, () => this.m.q8(name, cols, this.config.activationGroup));
  }

  private activation(name: string, declare: () => BufferId): BufferId {
    const id = this.activations.get(name) ?? declare();
    this.activations.set(name, id);
    return id;
  }
}

interface Source {
  x: BufferId;
  name: string;
  cols: number;
  /** An RMSNorm between x and the projections. */
  norm?: string;
}

interface Projection {
  weight: string;
  out: BufferId;
  rows: number;
}
