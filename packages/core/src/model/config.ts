/**
 * The configuration of a model, parsed once from either kind of file and frozen. Every problem is listed, not just the first.
 * Knows nothing of weights.
 */
import { BitNetError } from "../base/errors.ts";

export interface ModelConfig {
  /** Architecture family, one file of this folder each. */
  readonly architecture: "bitnet-b1.58";
  readonly name: string;
  readonly hiddenSize: number;
  readonly ffnSize: number;
  readonly nLayers: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  readonly normEps: number;
  readonly ropeTheta: number;
  readonly activation: "relu2" | "silu" | "gelu";
  /** The embedding serves as head; null: so it is unless the file holds a head of its own. */
  readonly isTied: boolean | null;
  /** How a separate `weight_scale` tensor relates to the weights: W = T · scale, or W = T / scale. */
  readonly weightScale: "multiplies" | "divides";
}

/** GGUF metadata as the reader gives it. */
export type GgufFields = ReadonlyMap<string, unknown>;

const ggufArchitectures = ["bitnet-b1.58", "bitnet-25"];
const hfArchitectures = ["BitNetForCausalLM", "BitnetForCausalLM"];

/** @throws BitNetError MODEL_UNSUPPORTED or MODEL_INVALID. */
export function parseGgufConfig(fields: GgufFields, fileName: string, vocabRows: number): ModelConfig {
  const architecture = fields.get("general.architecture");
  if (typeof architecture !== "string" || !ggufArchitectures.includes(architecture))
    throw unsupported(fileName, architecture, ggufArchitectures);
  const problems: string[] = [];
  const key = (name: string) => `${architecture}.${name}`;
  const integer = (name: string, fallback?: number) =>
    readInteger(fields.get(key(name)), key(name), problems, fallback);
  const hiddenSize = integer("embedding_length");
  const nHeads = integer("attention.head_count");
  const headDim = integer("attention.key_length", nHeads > 0 ? hiddenSize / nHeads : undefined);
  const rotated = integer("rope.dimension_count", headDim);
  if (rotated !== headDim)
    problems.push(`${key("rope.dimension_count")} is ${rotated}, expected head dimension ${headDim}`);
  const scaling = fields.get(key("rope.scaling.type"));
  if (scaling !== undefined && scaling !== "none")
    problems.push(`${key("rope.scaling.type")} "${scaling}" is not supported`);
  return finish(fileName, problems, {
    architecture: "bitnet-b1.58",
    name: stringOr(fields.get("general.name"), fileName),
    hiddenSize,
    ffnSize: integer("feed_forward_length"),
    nLayers: integer("block_count"),
    nHeads,
    nKvHeads: integer("attention.head_count_kv", nHeads),
    headDim,
    contextLength: integer("context_length"),
    vocabSize: vocabRows,
    normEps: readNumber(
      fields.get(key("attention.layer_norm_rms_epsilon")),
      key("attention.layer_norm_rms_epsilon"),
      problems,
    ),
    ropeTheta: readNumber(fields.get(key("rope.freq_base")), key("rope.freq_base"), problems, 10000),
    activation: "relu2",
    isTied: null,
    weightScale: "multiplies",
  });
}

/** @throws BitNetError MODEL_UNSUPPORTED or MODEL_INVALID. */
export function parseHfConfig(json: unknown, fileName: string): ModelConfig {
  if (!isRecord(json)) throw invalid(fileName, ["expected a JSON object"]);
  const architecture = Array.isArray(json.architectures) ? json.architectures[0] : undefined;
  if (typeof architecture !== "string" || !hfArchitectures.includes(architecture))
    throw unsupported(fileName, architecture ?? json.model_type, hfArchitectures);
  const problems: string[] = [];
  const integer = (name: string, fallback?: number) => readInteger(json[name], name, problems, fallback);
  const hiddenSize = integer("hidden_size");
  const nHeads = integer("num_attention_heads");
  if (json.rope_scaling !== undefined && json.rope_scaling !== null)
    problems.push("rope_scaling is not supported");
  if (json.attention_bias === true) problems.push("attention_bias is not supported");
  const quantization = isRecord(json.quantization_config) ? json.quantization_config : {};
  if (quantization.use_rms_norm === true) problems.push("quantization_config.use_rms_norm is not supported");
  return finish(fileName, problems, {
    architecture: "bitnet-b1.58",
    name: stringOr(json._name_or_path, fileName),
    hiddenSize,
    ffnSize: integer("intermediate_size"),
    nLayers: integer("num_hidden_layers"),
    nHeads,
    nKvHeads: integer("num_key_value_heads", nHeads),
    headDim: integer("head_dim", nHeads > 0 ? hiddenSize / nHeads : undefined),
    contextLength: integer("max_position_embeddings"),
    vocabSize: integer("vocab_size"),
    normEps: readNumber(json.rms_norm_eps, "rms_norm_eps", problems, 1e-5),
    ropeTheta: readNumber(ropeTheta(json), "rope_theta", problems, 500000),
    activation: readActivation(json.hidden_act, problems),
    isTied: typeof json.tie_word_embeddings === "boolean" ? json.tie_word_embeddings : null,
    weightScale: quantization.linear_class === "autobitlinear" ? "multiplies" : "divides",
  });
}

/** Newer configurations keep θ in `rope_parameters`. */
function ropeTheta(json: Record<string, unknown>): unknown {
  const parameters = json.rope_parameters;
  return json.rope_theta ?? (isRecord(parameters) ? parameters.rope_theta : undefined);
}

function finish(fileName: string, problems: string[], config: ModelConfig): ModelConfig {
  const limits: [keyof ModelConfig, number][] = [
    ["hiddenSize", 2 ** 20],
    ["ffnSize", 2 ** 21],
    ["nLayers", 4096],
    ["nHeads", 4096],
    ["nKvHeads", 4096],
    ["headDim", 4096],
    ["contextLength", 2 ** 24],
    ["vocabSize", 2 ** 24],
  ];
  for (const [name, limit] of limits) {
    const value = config[name] as number;
    if (Number.isNaN(value)) continue; // already listed as missing
    if (!Number.isInteger(value) || value < 1 || value > limit)
      problems.push(`${name} is ${value}, expected an integer from 1 to ${limit}`);
  }
  if (problems.length === 0) {
    if (config.nHeads % config.nKvHeads !== 0)
      problems.push(`${config.nHeads} heads cannot share ${config.nKvHeads} key/value heads`);
    if (config.headDim % 2 !== 0) problems.push(`head dimension ${config.headDim} must be even`);
    if (!(config.normEps > 0 && config.normEps < 1)) problems.push(`norm epsilon is ${config.normEps}`);
    if (!(config.ropeTheta > 1 && config.ropeTheta < 1e12)) problems.push(`RoPE base is ${config.ropeTheta}`);
  }
  if (problems.length > 0) throw invalid(fileName, problems);
  return Object.freeze(config);
}

function readInteger(value: unknown, name: string, problems: string[], fallback?: number): number {
  return readNumber(typeof value === "bigint" ? Number(value) : value, name, problems, fallback);
}

function readNumber(value: unknown, name: string, problems: string[], fallback?: number): number {
  if ((value === undefined || value === null) && fallback !== undefined) return fallback;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  problems.push(
    value === undefined ? `${name} is missing` : `${name} is ${JSON.stringify(value)}, expected a number`,
  );
  return Number.NaN;
}

function readActivation(value: unknown, problems: string[]): ModelConfig["activation"] {
  if (value === undefined || value === "relu2") return "relu2";
  if (value === "silu") return "silu";
  if (value === "gelu_pytorch_tanh") return "gelu";
  problems.push(
    `hidden_act ${JSON.stringify(value)} is not supported; supported: relu2, silu, gelu_pytorch_tanh`,
  );
  return "relu2";
}

function stringOr(value: unknown, fallback: string): string {
  return typeof value === "string" && value !== "" ? value : fallback;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unsupported(fileName: string, found: unknown, supported: readonly string[]): BitNetError {
  const name = typeof found === "string" ? `"${found}"` : "nothing";
  return new BitNetError(
    "MODEL_UNSUPPORTED",
    `${fileName}: unknown architecture: expected one of ${supported.join(", ")}, found ${name}`,
    { details: { found, supported } },
  );
}

function invalid(fileName: string, problems: readonly string[]): BitNetError {
  return new BitNetError(
    "MODEL_INVALID",
    `${fileName}: the configuration is invalid: ${problems.join("; ")}`,
    {
      details: { problems },
    },
  );
}
