/** Writes a random checkpoint as a folder in Hugging Face layout: packed in either meaning of its scales, as masters, or as floats. */
import { packings } from "@bitnet.ts/core";
import { byteVocabulary, tokenizerJson } from "./byte-vocabulary.ts";
import { masterWeights } from "./checkpoint-gguf.ts";
import { encodeDense, encodeFloats, type FloatType } from "./dense-encoding.ts";
import type {
  Checkpoint,
  CheckpointShape,
  LayerWeights,
  Rotation,
  TernaryMatrix,
} from "./random-checkpoint.ts";

export interface HfChoices {
  /**
   * How ternary matrices are stored: packed with a scale that multiplies or divides; as masters; as the trits themselves with a scale
   * that multiplies; as products of trits and scales, which is what a weight-only model is as floats, without a word of quantisation.
   */
  ternary: "multiplies" | "divides" | "masters" | "trits" | "products";
  /** Of embedding, norms, masters and scales that multiply. */
  floats: FloatType;
  /** More than one: files of about equal numbers of tensors, with an index. */
  shards?: number;
  /** Bytes of white space in front of the data, which shift it off every alignment. */
  padding?: number;
  /** Shards without the index that lists them. */
  hasNoIndex?: boolean;
  /** Of the tensors of scales; default [1]. */
  scaleShape?: number[];
  /** A head beside an embedding that serves as one, which readers are to leave alone. */
  hasIdleHead?: boolean;
  /** Replaces members of config.json or, where undefined, removes them. */
  config?: Readonly<Record<string, unknown>>;
}

export interface StoredTensor {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

const dtypes = { f32: "F32", f16: "F16", bf16: "BF16" } as const;
const families = {
  "bitnet-b1.58": { architectures: ["BitNetForCausalLM"], model_type: "bitnet", hidden_act: "relu2" },
  bitnet: { architectures: ["BitnetForCausalLM"], model_type: "llama", hidden_act: "silu" },
  llama: { architectures: ["LlamaForCausalLM"], model_type: "llama", hidden_act: "silu" },
  qwen2: { architectures: ["Qwen2ForCausalLM"], model_type: "qwen2", hidden_act: "silu" },
  qwen3: { architectures: ["Qwen3ForCausalLM"], model_type: "qwen3", hidden_act: "silu" },
  gemma3: { architectures: ["Gemma3ForCausalLM"], hidden_activation: "gelu_pytorch_tanh" },
  minicpm: { architectures: ["MiniCPMForCausalLM"], model_type: "minicpm", hidden_act: "silu" },
} as const;

/** What only some families have. */
function familyConfig(shape: CheckpointShape): object {
  const { family, window, yarn, factors, headDim, layers, hidden, rotation } = shape;
  return {
    ...(rotation ? { rope_scaling: rotationConfig(rotation) } : {}),
    ...(window
      ? {
          sliding_window: window.size,
          layer_types: Array.from({ length: layers }, (_, l) =>
            (l + 1) % window.pattern === 0 ? "full_attention" : "sliding_attention",
          ),
          rope_local_base_freq: window.theta,
        }
      : {}),
    ...(yarn
      ? {
          rope_scaling: {
            rope_type: "yarn",
            factor: yarn.factor,
            original_max_position_embeddings: yarn.original,
          },
        }
      : {}),
    ...(factors
      ? {
          scale_emb: factors.embedding,
          scale_depth: factors.residual * Math.sqrt(layers),
          dim_model_base: factors.logits * hidden,
        }
      : {}),
    ...(family === "gemma3" ? { query_pre_attn_scalar: headDim, sliding_window: window?.size } : {}),
  };
}

function rotationConfig(rotation: Rotation): object {
  switch (rotation.kind) {
    case "linear":
      return { type: "linear", factor: rotation.factor };
    case "dynamic":
      return {
        rope_type: "dynamic",
        factor: rotation.factor,
        original_max_position_embeddings: rotation.original,
      };
    case "llama3":
      return {
        ...{ rope_type: "llama3", factor: rotation.factor, low_freq_factor: rotation.low },
        ...{ high_freq_factor: rotation.high, original_max_position_embeddings: rotation.original },
      };
    case "longrope":
      return {
        ...{ rope_type: "longrope", short_factor: rotation.short, long_factor: rotation.long },
        ...{ attention_factor: rotation.attention, original_max_position_embeddings: rotation.original },
      };
  }
}

const normNames = {
  attnNorm: "input_layernorm",
  attnSubNorm: "self_attn.attn_sub_norm",
  ffnNorm: "post_attention_layernorm",
  ffnSubNorm: "mlp.ffn_sub_norm",
} as const;
const matrixNames = {
  q: "self_attn.q_proj",
  k: "self_attn.k_proj",
  v: "self_attn.v_proj",
  o: "self_attn.o_proj",
  gate: "mlp.gate_proj",
  up: "mlp.up_proj",
  down: "mlp.down_proj",
} as const;

/** Norms that a family names otherwise. */
const otherNames: Partial<Record<CheckpointShape["family"], Partial<Record<string, string>>>> = {
  bitnet: { attnSubNorm: "self_attn.inner_attn_ln", ffnSubNorm: "mlp.ffn_layernorm" },
  gemma3: { ffnNorm: "pre_feedforward_layernorm" },
};

function extraVectors({
  headNorms,
  postNorms,
  biases,
  innerNorms,
}: LayerWeights): Record<string, Float64Array> {
  const inner = Object.entries(innerNorms ?? {}).map(([key, values]) => [
    `${matrixNames[key as keyof typeof matrixNames]}.norm.weight`,
    values,
  ]);
  return {
    ...(headNorms ? { "self_attn.q_norm.weight": headNorms.q, "self_attn.k_norm.weight": headNorms.k } : {}),
    ...(postNorms
      ? {
          "post_attention_layernorm.weight": postNorms.attention,
          "post_feedforward_layernorm.weight": postNorms.ffn,
        }
      : {}),
    ...(biases
      ? {
          "self_attn.q_proj.bias": biases.q,
          "self_attn.k_proj.bias": biases.k,
          "self_attn.v_proj.bias": biases.v,
        }
      : {}),
    ...Object.fromEntries(inner),
  };
}

/** Files of the folder by name. */
export function hfFiles(checkpoint: Checkpoint, choices: HfChoices): Map<string, Uint8Array> {
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const vocabulary = byteVocabulary(checkpoint.shape.tokens);
  const { bosId, eosId, eotId } = vocabulary;
  return new Map([
    ["config.json", json(configOf(checkpoint, choices))],
    ["tokenizer.json", json(tokenizerJson(vocabulary))],
    ["generation_config.json", json({ bos_token_id: bosId, eos_token_id: [eosId, eotId] })],
    ...weightFiles(tensorsOf(checkpoint, choices), choices),
  ]);
}

/** What a folder of the family has where its config.json says nothing of heads. */
function hasUsualHeads({ family }: CheckpointShape): boolean {
  return family === "qwen3" || family === "gemma3";
}

function configOf({ shape }: Checkpoint, { ternary, config }: HfChoices): object {
  const linearClass = ternary === "divides" ? {} : { linear_class: "autobitlinear" };
  return {
    ...families[shape.family],
    ...familyConfig(shape),
    hidden_size: shape.hidden,
    intermediate_size: shape.ffn,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    ...(shape.heads * shape.headDim === shape.hidden && !hasUsualHeads(shape)
      ? {}
      : { head_dim: shape.headDim }),
    max_position_embeddings: shape.context,
    rms_norm_eps: shape.eps,
    rope_theta: shape.theta,
    vocab_size: shape.vocab,
    tie_word_embeddings: shape.isTied,
    ...(ternary === "products"
      ? {}
      : {
          quantization_config: {
            quant_method: "bitnet",
            ...linearClass,
            quantization_mode: ternary === "masters" ? "online" : "offline",
          },
        }),
    ...config,
  };
}

function tensorsOf(
  checkpoint: Checkpoint,
  { ternary, floats, scaleShape = [1], hasIdleHead = false }: HfChoices,
): Map<string, StoredTensor> {
  const { shape, embedding, layers, outputNorm, head } = checkpoint;
  const tensors = new Map<string, StoredTensor>();
  // Gemma's files hold what its norms are beyond 1.
  const stored = (values: Float64Array) =>
    shape.family === "gemma3" ? values.map((value) => value - 1) : values;
  const dtype = dtypes[floats];
  const add = (name: string, shape: number[], bytes: Uint8Array, type: string = dtype) =>
    tensors.set(name, { dtype: type, shape, bytes });
  const addMatrix = (name: string, matrix: TernaryMatrix) => {
    const { rows, cols, trits, scale } = matrix;
    if (ternary === "masters" || ternary === "trits" || ternary === "products") {
      const values =
        ternary === "masters" ? masterWeights(matrix) : ternary === "trits" ? trits : productsOf(matrix);
      add(`${name}.weight`, [rows, cols], encodeFloats(floats, values));
    } else {
      const bytes = packings.hf_u8.pack(trits, { rows, cols }, { kind: "tensor", value: scale });
      add(`${name}.weight`, [rows / 4, cols], bytes, "U8");
    }
    if (ternary === "divides")
      add(`${name}.weight_scale`, scaleShape, encodeFloats("f32", [reciprocal(scale)]), "F32");
    else if (ternary !== "masters" && ternary !== "products")
      add(`${name}.weight_scale`, scaleShape, encodeFloats(floats, [scale]));
  };
  add("model.embed_tokens.weight", [embedding.rows, embedding.cols], encodeDense(floats, embedding));
  layers.forEach((layer, l) => {
    for (const [key, name] of Object.entries(normNames)) {
      const values = layer[key as keyof typeof normNames];
      if (values === null) continue;
      const renamed = otherNames[shape.family]?.[key] ?? name;
      add(`model.layers.${l}.${renamed}.weight`, [values.length], encodeFloats(floats, stored(values)));
    }
    for (const [name, values] of Object.entries(extraVectors(layer))) {
      // Norms inside of linear layers are those layers' own, which are no Gemma norms.
      const isOwn = name.endsWith(".bias") || name.endsWith("proj.norm.weight");
      const bytes = encodeFloats(floats, isOwn ? values : stored(values));
      add(`model.layers.${l}.${name}`, [values.length], bytes);
    }
    for (const [key, name] of Object.entries(matrixNames))
      addMatrix(`model.layers.${l}.${name}`, layer[key as keyof typeof matrixNames]);
  });
  add("model.norm.weight", [outputNorm.length], encodeFloats(floats, stored(outputNorm)));
  if (head === null && hasIdleHead)
    add(
      "lm_head.weight",
      [embedding.rows, embedding.cols],
      new Uint8Array(embeddingBytes(floats, embedding)),
    );
  if (head !== null) add("lm_head.weight", [head.rows, head.cols], encodeDense(floats, head));
  return tensors;
}

function productsOf({ cols, trits, scale, groupScales }: TernaryMatrix): Float64Array {
  const perRow = cols / 128;
  return Float64Array.from(trits, (trit, i) => {
    const group = Math.floor(i / cols) * perRow + ((i % cols) >> 7);
    return trit * (groupScales?.[group] ?? scale);
  });
}

function embeddingBytes(floats: FloatType, { rows, cols }: { rows: number; cols: number }): number {
  return rows * cols * (floats === "f32" ? 4 : 2);
}

/** The f32 whose reciprocal, rounded to f32, is `value`. */
function reciprocal(value: number): number {
  const word = new DataView(new ArrayBuffer(4));
  word.setFloat32(0, 1 / value);
  const bits = word.getUint32(0);
  for (const near of [0, 1, -1]) {
    word.setUint32(0, bits + near);
    if (Math.fround(1 / word.getFloat32(0)) === value) return word.getFloat32(0);
  }
  throw new Error(`no f32 has the reciprocal ${value}`);
}

function weightFiles(
  tensors: Map<string, StoredTensor>,
  { shards = 1, padding = 0, hasNoIndex = false }: HfChoices,
): [string, Uint8Array][] {
  if (shards === 1) return [["model.safetensors", safetensors(tensors, padding)]];
  const five = (n: number) => String(n).padStart(5, "0");
  const perShard = Math.ceil(tensors.size / shards);
  const files: [string, Uint8Array][] = [];
  const shardOf: Record<string, string> = {};
  for (let shard = 0; shard < shards; shard++) {
    const name = `model-${five(shard + 1)}-of-${five(shards)}.safetensors`;
    const own = [...tensors].slice(shard * perShard, (shard + 1) * perShard);
    for (const [tensor] of own) shardOf[tensor] = name;
    files.push([name, safetensors(new Map(own), padding)]);
  }
  if (hasNoIndex) return files;
  const index = JSON.stringify({ metadata: { total_size: 0 }, weight_map: shardOf });
  return [...files, ["model.safetensors.index.json", new TextEncoder().encode(index)]];
}

/** u64 length of the header, the header as JSON, the data. */
export function safetensors(tensors: ReadonlyMap<string, StoredTensor>, padding = 0): Uint8Array {
  const header: Record<string, object> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  const json = Buffer.from(JSON.stringify(header) + " ".repeat(padding));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...[...tensors.values()].map(({ bytes }) => bytes)]);
}
