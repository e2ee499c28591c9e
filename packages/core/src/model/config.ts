/**
 * The configuration of a model, parsed once from either kind of file and frozen. Every problem is listed, not just the first.
 * Knows nothing of weights.
 */
import { BitNetError } from "../base/errors.ts";
import { epsRange, FieldReader, limits, show, thetaRange } from "./config-fields.ts";
import { readGgufRopeScaling, readHfRope } from "./config-rope.ts";
import { familyNamed, knownArchitectures, plannedArchitectures } from "./families.ts";
import type { ModelConfig } from "./model-config.ts";

/** Architectures by `model_type`, for configurations that give only that. */
const modelTypes: ReadonlyMap<unknown, string> = new Map([
  ["bitnet", "BitNetForCausalLM"],
  ["llama", "LlamaForCausalLM"],
  ["qwen2", "Qwen2ForCausalLM"],
  ["qwen3", "Qwen3ForCausalLM"],
  ["gemma3_text", "Gemma3ForCausalLM"],
  ["minicpm", "MiniCPMForCausalLM"],
]);

/** GGUF metadata as the reader gives it. */
export type GgufFields = ReadonlyMap<string, unknown>;

/** @throws BitNetError MODEL_UNSUPPORTED or MODEL_INVALID. */
export function parseGgufConfig(
  fields: GgufFields,
  fileName: string,
  vocabRows: number | undefined,
): ModelConfig {
  const architecture = fields.get("general.architecture");
  const family = familyNamed("gguf", architecture);
  if (family === undefined) throw unsupported(fileName, architecture, knownArchitectures.gguf);
  const key = (name: string) => `${architecture}.${name}`;
  const layers = Number(fields.get(key("block_count")));
  const reader = new FieldReader((name) => sameInAllLayers(fields.get(key(name)), layers), key);
  const { problems } = reader;
  const hiddenSize = reader.integer("embedding_length", limits.hiddenSize);
  const nHeads = reader.integer("attention.head_count", limits.nHeads);
  const headDim = reader.headDim("attention.key_length", hiddenSize, nHeads);
  const rotated = reader.integer("rope.dimension_count", limits.headDim, headDim);
  if (Math.abs(rotated - headDim) > 0)
    problems.push(`${key("rope.dimension_count")} is ${rotated}, expected the head dimension ${headDim}`);
  const nLayers = reader.integer("block_count", limits.nLayers);
  const normEps = reader.number("attention.layer_norm_rms_epsilon", epsRange);
  if (vocabRows === undefined) problems.push('tensor "token_embd.weight" is missing');
  return finish(fileName, problems, {
    architecture: family.name,
    name: stringOr(fields.get("general.name"), lastName(fileName)),
    hiddenSize,
    ffnSize: reader.integer("feed_forward_length", limits.ffnSize),
    nLayers,
    nHeads,
    nKvHeads: reader.integer("attention.head_count_kv", limits.nHeads, nHeads),
    headDim,
    contextLength: reader.integer("context_length", limits.contextLength),
    vocabSize: reader.checked(vocabRows ?? Number.NaN, "rows of token_embd.weight", limits.vocabSize),
    normEps,
    ropeTheta: reader.number("rope.freq_base", thetaRange, family.defaults.gguf.ropeTheta),
    ropeScaling: readGgufRopeScaling((name) => fields.get(name), key, problems),
    pairing: family.ggufPairing,
    activation: family.activation,
    isTied: null,
    hasHead: true,
    weightScale: "multiplies",
    floatsAreMasters: family.floatsAreMasters,
    masters: "ternary",
    ...usualExtras(headDim),
    hasInnerNorms: null,
    innerNormEps: normEps,
    ...family.extras?.gguf?.(reader, {
      hiddenSize,
      headDim,
      nLayers,
      find: (name) => fields.get(key(name)),
    }),
  });
}

/** Converters write some numbers once for each layer; where all are equal, that is the number. */
function sameInAllLayers(value: unknown, nLayers: number): unknown {
  if (!ArrayBuffer.isView(value) || value instanceof DataView) return value;
  const list = value as unknown as ArrayLike<number | bigint>;
  return list.length === nLayers && Array.from(list).every((n) => n === list[0]) ? list[0] : value;
}

/** @throws BitNetError MODEL_UNSUPPORTED or MODEL_INVALID. */
export function parseHfConfig(json: unknown, fileName: string): ModelConfig {
  if (!isRecord(json)) throw invalid(fileName, [`expected a JSON object, found ${show(json)}`]);
  const named = Array.isArray(json.architectures) ? json.architectures[0] : undefined;
  const architecture = named ?? modelTypes.get(json.model_type);
  const family = familyNamed("hf", architecture);
  if (family === undefined)
    throw unsupported(fileName, architecture ?? json.model_type, knownArchitectures.hf);
  const reader = new FieldReader((name) => json[name] ?? undefined);
  const { problems } = reader;
  const hiddenSize = reader.integer("hidden_size", limits.hiddenSize);
  const nHeads = reader.integer("num_attention_heads", limits.nHeads);
  for (const name of ["attention_bias", "mlp_bias"])
    if (json[name] === true) problems.push(`${name} is not supported`);
  const nLayers = reader.integer("num_hidden_layers", limits.nLayers);
  const headDim = reader.headDim("head_dim", hiddenSize, nHeads, family.defaults.hf.headDim);
  const normEps = reader.number("rms_norm_eps", epsRange, family.defaults.hf.normEps);
  const rope = readHfRope(json, family.defaults.hf.ropeTheta, problems);
  const quantization = isRecord(json.quantization_config) ? json.quantization_config : {};
  const usesInnerNorms = quantization.use_rms_norm === true;
  return finish(fileName, problems, {
    architecture: family.name,
    name: hfName(json._name_or_path, fileName),
    hiddenSize,
    ffnSize: reader.integer("intermediate_size", limits.ffnSize),
    nLayers,
    nHeads,
    nKvHeads: reader.integer("num_key_value_heads", limits.nHeads, nHeads),
    headDim,
    contextLength: reader.integer("max_position_embeddings", limits.contextLength),
    vocabSize: reader.integer("vocab_size", limits.vocabSize),
    normEps,
    ropeTheta: rope.theta,
    ropeScaling: rope.scaling,
    pairing: "half",
    activation: readActivation(
      json.hidden_act ?? json.hidden_activation ?? undefined,
      family.activation,
      problems,
    ),
    isTied: typeof json.tie_word_embeddings === "boolean" ? json.tie_word_embeddings : family.isTied,
    hasHead: !(/Model$/.test(String(architecture)) && json.tie_word_embeddings !== true),
    weightScale: readWeightScale(json.quantization_config ?? {}, problems),
    floatsAreMasters: family.floatsAreMasters || isRecord(json.quantization_config),
    masters: readMasters(quantization.weight_bits ?? undefined, problems),
    ...usualExtras(headDim),
    hasInnerNorms: usesInnerNorms ? true : null,
    innerNormEps: usesInnerNorms
      ? new FieldReader((name) => quantization[name] ?? undefined, undefined, problems).number(
          "rms_norm_eps",
          epsRange,
          1e-6,
        )
      : normEps,
    ...family.extras?.hf?.(reader, { hiddenSize, headDim, nLayers, find: (name) => json[name] }),
  });
}

/** What most families do not have. */
function usualExtras(headDim: number) {
  return {
    attentionScale: Math.fround(1 / Math.sqrt(headDim)),
    slidingWindow: null,
    activationGroup: null,
    embeddingScale: 1,
    residualScale: 1,
    headScale: 1,
    normShift: 0,
  } as const;
}

function readActivation(
  value: unknown,
  usual: ModelConfig["activation"],
  problems: string[],
): ModelConfig["activation"] {
  if (value === undefined) return usual;
  if (value === "relu2") return "relu2";
  if (value === "silu") return "silu";
  if (value === "gelu_pytorch_tanh") return "gelu";
  problems.push(`hidden_act ${show(value)} is not supported; supported: relu2, silu, gelu_pytorch_tanh`);
  return usual;
}

/** Which linear layer of transformers reads the file, and thereby what its scales mean. */
function readWeightScale(quantization: unknown, problems: string[]): ModelConfig["weightScale"] {
  if (!isRecord(quantization)) {
    problems.push(`quantization_config is ${show(quantization)}, expected an object`);
    return "divides";
  }
  const choices: Readonly<Record<string, readonly string[]>> = {
    quant_method: ["bitnet"],
    linear_class: ["bitlinear", "autobitlinear"],
    quantization_mode: ["offline", "online"],
  };
  for (const [name, supported] of Object.entries(choices)) {
    const value = quantization[name] ?? supported[0];
    if (!supported.some((choice) => choice === value))
      problems.push(
        `quantization_config.${name} ${show(value)} is not supported; supported: ${supported.join(", ")}`,
      );
  }
  return quantization.linear_class === "autobitlinear" ? "multiplies" : "divides";
}

/** Binary models say that a weight has one bit. */
function readMasters(weightBits: unknown, problems: string[]): ModelConfig["masters"] {
  if (weightBits !== undefined && weightBits !== 1 && weightBits !== 1.58 && weightBits !== 2)
    problems.push(
      `quantization_config.weight_bits ${show(weightBits)} is not supported; supported: 1 (binary), 1.58 and 2 (ternary)`,
    );
  return weightBits === 1 ? "binary" : "ternary";
}

function finish(fileName: string, problems: string[], config: ModelConfig): ModelConfig {
  const { nHeads, nKvHeads, headDim } = config;
  // Fields that are already listed as faulty are NaN, of which no comparison is true.
  if (nHeads % nKvHeads > 0) problems.push(`${nHeads} heads cannot share ${nKvHeads} key/value heads`);
  if (headDim % 2 > 0) problems.push(`head dimension ${headDim} must be even`);
  if (config.ropeScaling?.type === "longrope") {
    for (const { length } of [config.ropeScaling.shortFactors, config.ropeScaling.longFactors])
      if (length !== headDim / 2)
        problems.push(
          `rope scaling has ${length} factors, expected ${headDim / 2}, half of the head dimension`,
        );
  }
  if (problems.length > 0) throw invalid(fileName, problems);
  return Object.freeze(config);
}

function stringOr(value: unknown, fallback: string): string {
  return typeof value === "string" && value !== "" ? value : fallback;
}

/** What the file calls the model, or the name of its folder: where on whose disk it lay is nobody's business. */
function hfName(given: unknown, fileName: string): string {
  const name = stringOr(given, "");
  if (name === "") return lastName(fileName.replace(/[/\\]config\.json$/, ""));
  return /^([/\\.~]|[a-z]:)/i.test(name) ? lastName(name) : name;
}

function lastName(path: string): string {
  const name = path.replace(/[/\\]+$/, "").replace(/^.*[/\\]/, "");
  return /^\.*$/.test(name) ? "model" : name;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unsupported(fileName: string, found: unknown, supported: readonly string[]): BitNetError {
  const shown = found === undefined ? "nothing" : show(found);
  const missing = typeof found === "string" ? plannedArchitectures.get(found) : undefined;
  if (missing !== undefined) {
    return new BitNetError(
      "MODEL_UNSUPPORTED",
      `${fileName}: models of architecture ${shown} cannot be run yet: they need ${missing}`,
      { details: { found: shown, supported } },
    );
  }
  return new BitNetError(
    "MODEL_UNSUPPORTED",
    `${fileName}: unknown architecture: expected one of ${supported.join(", ")}, found ${shown}`,
    { details: { found: shown, supported } },
  );
}

function invalid(fileName: string, problems: readonly string[]): BitNetError {
  return new BitNetError(
    "MODEL_INVALID",
    `${fileName}: the configuration is invalid: ${problems.join("; ")}`,
    { details: { problems } },
  );
}
