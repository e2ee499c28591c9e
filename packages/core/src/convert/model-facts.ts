/**
 * The configuration in the other kind of file: GGUF metadata from config.json, and config.json from GGUF metadata. What was written is
 * parsed again and compared, so that nothing that the model layer knows of gets lost on the way.
 */
import { BitNetError } from "../base/errors.ts";
import type { GgufMetadata, GgufValue } from "../formats/gguf/values.ts";
import { parseGgufConfig, parseHfConfig } from "../model/config.ts";
import { familyOf } from "../model/families.ts";
import type { ModelConfig } from "../model/model-config.ts";
import { divisorTensors, hfRopeScaling, metadataScaling } from "./rope-facts.ts";
import { shortest, shortestWith } from "./shortest.ts";

const u32 = (value: number): GgufValue => ({ type: "u32", value });
const f32 = (value: number): GgufValue => ({ type: "f32", value });
const text = (value: string): GgufValue => ({ type: "string", value });

/** @throws BitNetError FORMAT_UNSUPPORTED when GGUF metadata of the family cannot say what the model is. */
export function ggufConfig(config: ModelConfig, fileType: number | undefined): Map<string, GgufValue> {
  const [architecture = config.architecture] = familyOf(config).gguf;
  const key = (name: string) => `${architecture}.${name}`;
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", text(architecture)],
    ["general.name", text(config.name)],
    [key("vocab_size"), u32(config.vocabSize)],
    [key("context_length"), u32(config.contextLength)],
    [key("embedding_length"), u32(config.hiddenSize)],
    [key("block_count"), u32(config.nLayers)],
    [key("feed_forward_length"), u32(config.ffnSize)],
    [key("rope.dimension_count"), u32(config.headDim)],
    [key("attention.head_count"), u32(config.nHeads)],
    [key("attention.head_count_kv"), u32(config.nKvHeads)],
    ...(config.headDim * config.nHeads === config.hiddenSize
      ? []
      : ([
          [key("attention.key_length"), u32(config.headDim)],
          [key("attention.value_length"), u32(config.headDim)],
        ] as const)),
    [key("attention.layer_norm_rms_epsilon"), f32(config.normEps)],
    [key("rope.freq_base"), f32(config.ropeTheta)],
    ...windowOf(config).map(([name, value]) => [key(name), value] as const),
    ...scalingOf(config).map(([name, value]) => [key(name), value] as const),
    ...factorsOf(config).map(([name, value]) => [key(name), value] as const),
    ...(fileType === undefined ? [] : ([["general.file_type", u32(fileType)]] as const)),
  ]);
  const fields = new Map(Array.from(metadata, ([name, { value }]) => [name, value]));
  divisorTensors(config); // refuses rules that neither they nor metadata can say
  checkSame(
    { ...config, ropeScaling: metadataScaling(config) },
    parseGgufConfig(fields, config.name, config.vocabSize),
  );
  return metadata;
}

type Entries = (readonly [string, GgufValue])[];

/** The last of every `pattern` layers sees everything; what is otherwise is found to be lost below. */
function windowOf({ slidingWindow }: ModelConfig): Entries {
  if (slidingWindow === null) return [];
  const pattern = slidingWindow.layers.indexOf(false) + 1;
  return [
    ["attention.sliding_window", u32(slidingWindow.size)],
    ...(pattern > 0 ? ([["attention.sliding_window_pattern", u32(pattern)]] as const) : []),
    ["rope.freq_base_swa", f32(slidingWindow.ropeTheta)],
  ];
}

function scalingOf(config: ModelConfig): Entries {
  const ropeScaling = metadataScaling(config);
  if (ropeScaling?.type === "longrope-tensors")
    return [
      ["rope.scaling.type", text("longrope")],
      ["rope.scaling.original_context_length", u32(ropeScaling.originalContext)],
      ["rope.scaling.attn_factor", f32(ropeScaling.attentionFactor)],
    ];
  if (ropeScaling?.type !== "linear" && ropeScaling?.type !== "yarn") return [];
  const { type, factor } = ropeScaling;
  return [
    ["rope.scaling.type", text(type)],
    ["rope.scaling.factor", f32(factor)],
    ...(type === "yarn"
      ? ([
          ["rope.scaling.original_context_length", u32(ropeScaling.originalContext)],
          ["rope.scaling.yarn_beta_fast", f32(ropeScaling.betaFast)],
          ["rope.scaling.yarn_beta_slow", f32(ropeScaling.betaSlow)],
        ] as const)
      : []),
  ];
}

function factorsOf({ architecture, embeddingScale, residualScale, headScale }: ModelConfig): Entries {
  if (architecture !== "minicpm") return [];
  return [
    ["embedding_scale", f32(embeddingScale)],
    ["residual_scale", f32(residualScale)],
    ["logit_scale", f32(reciprocal(headScale))],
  ];
}

/** The f32 whose reciprocal, rounded to f32, is `value`, where there is one near. */
function reciprocal(value: number): number {
  const near = new Float32Array([1 / value]);
  const bits = new Int32Array(near.buffer);
  for (const step of [0, 1, -2]) {
    bits[0] = (bits[0] ?? 0) + step;
    if (Math.fround(1 / (near[0] ?? 1)) === value) return near[0] ?? 1;
  }
  return 1 / value;
}

const activationNames = { relu2: "relu2", silu: "silu", gelu: "gelu_pytorch_tanh" } as const;
/** `model_type` of config.json. */
const modelTypes: Readonly<Record<ModelConfig["architecture"], string>> = {
  "bitnet-b1.58": "bitnet",
  bitnet: "llama", // as 1bitLLM's configurations have it
  llama: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  gemma3: "gemma3_text",
  minicpm: "minicpm",
};

export interface HfConfigChoices {
  /** Type of everything that is not packed. */
  dtype: "float32" | "float16" | "bfloat16";
  mode: "offline" | "online";
  hasHead: boolean;
  bosId: number | null;
  eosIds: readonly number[];
}

/** @throws BitNetError FORMAT_UNSUPPORTED when config.json of the family cannot say what the model is. */
export function hfConfig(config: ModelConfig, choices: HfConfigChoices): Record<string, unknown> {
  const family = familyOf(config);
  const rope = hfRopeScaling(config.ropeScaling);
  const json = {
    _name_or_path: config.name,
    architectures: [family.hf[0]],
    model_type: modelTypes[config.architecture],
    [config.architecture === "gemma3" ? "hidden_activation" : "hidden_act"]:
      activationNames[config.activation],
    hidden_size: config.hiddenSize,
    intermediate_size: config.ffnSize,
    num_hidden_layers: config.nLayers,
    num_attention_heads: config.nHeads,
    num_key_value_heads: config.nKvHeads,
    head_dim: config.headDim,
    max_position_embeddings: config.contextLength,
    rms_norm_eps: shortest(config.normEps),
    rope_theta: shortest(config.ropeTheta),
    ...(rope === undefined ? {} : { rope_scaling: rope }),
    ...familyFacts(config),
    vocab_size: config.vocabSize,
    tie_word_embeddings: !choices.hasHead,
    ...(choices.bosId === null ? {} : { bos_token_id: choices.bosId }),
    ...(choices.eosIds[0] === undefined ? {} : { eos_token_id: choices.eosIds[0] }),
    attention_bias: false,
    attention_dropout: 0,
    initializer_range: 0.02,
    use_cache: true,
    torch_dtype: choices.dtype,
    quantization_config: hfQuantization(choices.mode),
  };
  checkSame(config, parseHfConfig(json, config.name));
  return json;
}

/** What a folder's norms lack of what they are: those of some families hold what is beyond 1. */
export function hfNormShift(config: ModelConfig): number {
  const json = hfConfig(config, {
    dtype: "bfloat16",
    mode: "online",
    hasHead: false,
    bosId: null,
    eosIds: [],
  });
  return parseHfConfig(json, config.name).normShift - config.normShift;
}

/** What only some families say. What they cannot say is found to be lost. */
function familyFacts(config: ModelConfig): Record<string, unknown> {
  const { architecture, slidingWindow, nLayers, hiddenSize } = config;
  if (architecture === "minicpm") {
    const depth = Math.sqrt(nLayers);
    const { residualScale, headScale } = config;
    return {
      scale_emb: shortest(config.embeddingScale),
      scale_depth: shortestWith(residualScale * depth, (x) => Math.fround(x / depth) === residualScale),
      dim_model_base: shortestWith(headScale * hiddenSize, (x) => Math.fround(x / hiddenSize) === headScale),
    };
  }
  if (architecture !== "gemma3") return {};
  const isScale = (x: number) => Math.fround(1 / Math.sqrt(x)) === config.attentionScale;
  const isLocal = slidingWindow?.layers ?? Array<boolean>(nLayers).fill(false);
  return {
    ...(slidingWindow === null
      ? {}
      : {
          sliding_window: slidingWindow.size,
          rope_local_base_freq: shortest(slidingWindow.ropeTheta),
        }),
    layer_types: isLocal.map((local) => (local ? "sliding_attention" : "full_attention")),
    query_pre_attn_scalar: shortestWith(1 / config.attentionScale ** 2, isScale),
  };
}

/** Scales that multiply, in the file or found at loading. */
export function hfQuantization(mode: "offline" | "online"): Record<string, string> {
  return { quant_method: "bitnet", linear_class: "autobitlinear", quantization_mode: mode };
}

/** Differ by nature between the kinds of file, and have been seen to. */
const ownToFiles: readonly string[] = [
  "name",
  "isTied",
  "pairing",
  "weightScale",
  "floatsAreMasters",
  "masters",
  "hasHead",
  "activationGroup",
  "hasInnerNorms",
  "normShift", // the weights themselves are shifted
];

function checkSame(before: ModelConfig, after: ModelConfig): void {
  const inF32 = (_: string, value: unknown) => (typeof value === "number" ? Math.fround(value) : value);
  const rounded = (value: unknown) => JSON.stringify(value, inF32);
  const lost = Object.entries(before).filter(
    ([name, value]) =>
      !ownToFiles.includes(name) && rounded(value) !== rounded(after[name as keyof ModelConfig]),
  );
  if (lost.length === 0) return;
  const named = lost.map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join(", ");
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `the other kind of file cannot say this of the model: ${named}`,
    {
      details: { lost: lost.map(([name]) => name) },
    },
  );
}

/** Metadata for the same model in another packing. */
export function repackedMetadata(
  metadata: GgufMetadata,
  fileType: number | undefined,
): Map<string, GgufValue> {
  const copy = new Map(metadata);
  for (const key of metadata.keys()) if (key.startsWith("split.")) copy.delete(key);
  if (fileType === undefined) copy.delete("general.file_type");
  else if (copy.has("general.file_type")) copy.set("general.file_type", u32(fileType));
  return copy;
}
