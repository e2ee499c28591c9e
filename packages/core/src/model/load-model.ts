/**
 * From opened model files to what a backend and a user need: the configuration, the tokenizer, the chat template's source, and the
 * Program with its weights bound. Knows no backend.
 */
import type { Program } from "../backend/program.ts";
import { BitNetError } from "../base/errors.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import { matrixShape, type TensorInfo } from "../formats/tensor.ts";
import { isGroupPacking } from "../packing/registry.ts";
import {
  chatTemplateSource,
  ggufTemplateSource,
  type TemplateSource,
} from "../tokenizer/default-template.ts";
import type { Adapter } from "./adapter.ts";
import { type BindOptions, bindWeights, type WeightFiles } from "./bind-weights.ts";
import { parseGgufConfig, parseHfConfig } from "./config.ts";
import { adapterWeight, recordDecoder } from "./decoder.ts";
import { familyOf } from "./families.ts";
import type { ModelConfig } from "./model-config.ts";
import type { Recording } from "./recorder.ts";
import { ggufWeightName, hfWeightName } from "./weight-names.ts";

export interface ModelDescription {
  config: ModelConfig;
  tensors: ReadonlyMap<string, TensorInfo>;
  /** Source text of the file's own chat template, if it has one; an error where it cannot be told which. */
  chatTemplate: TemplateSource;
  /** File name of a weight by its GGUF name without ".weight". */
  weightName: (name: string) => string;
  /** The template to use where the file has none; null: the model has no chat. */
  defaultChatTemplate: "bitnet" | null;
  /** Float tensors may hold the very weights that are computed with rather than masters. */
  floatsMayBeProducts: boolean;
}

/** @throws BitNetError MODEL_UNSUPPORTED or MODEL_INVALID. */
export function describeModel(files: ModelFiles, name: string): ModelDescription {
  if (files.kind === "gguf") {
    const fields = new Map(Array.from(files.gguf.metadata, ([key, { value }]) => [key, value]));
    const { tensors } = files.gguf;
    const embedding = tensors.get(ggufWeightName("token_embd"));
    const vocabRows = embedding && matrixShape(embedding.shape).rows;
    const parsed = parseGgufConfig(fields, name, vocabRows);
    const config = withActivations(parsed, tensors.get(ggufWeightName("blk.0.attn_q")), false);
    return {
      config,
      tensors,
      chatTemplate: ggufTemplateSource(fields),
      defaultChatTemplate: familyOf(config).chatTemplate,
      weightName: ggufWeightName,
      floatsMayBeProducts: true,
    };
  }
  const parsed = parseHfConfig(files.config, `${name}/config.json`);
  const { tensors } = files;
  refuseUnexplained(files.config, tensors, `${name}/config.json`);
  const family = familyOf(parsed);
  const weightName = (weight: string) => hfWeightName(family, weight, (tensor) => tensors.has(tensor));
  const config = withActivations(parsed, tensors.get(weightName("blk.0.attn_q")), true);
  return {
    config,
    tensors,
    chatTemplate: chatTemplateSource(files.tokenizerConfig),
    defaultChatTemplate: family.chatTemplate,
    weightName,
    floatsMayBeProducts: !config.floatsAreMasters,
  };
}

/** Whether scales of packed weights multiply or divide is said by the configuration alone. */
function refuseUnexplained(json: unknown, tensors: ReadonlyMap<string, TensorInfo>, fileName: string): void {
  const quantization = (json as { quantization_config?: unknown } | null)?.quantization_config ?? null;
  const packed = [...tensors.values()].find(({ type }) => type === "hf_u8");
  if (quantization !== null || packed === undefined) return;
  throw new BitNetError(
    "MODEL_INVALID",
    `${fileName}: tensor "${packed.name}" is packed, but there is no quantization_config to say what its scale means; ` +
      "take the config.json that came with the weights",
    { details: { tensor: packed.name } },
  );
}

/**
 * Models whose activations were 16 bit in training are known by their family or by their weights: packings with a scale for each group, and
 * products of trits in the floats of a Hugging Face folder that says nothing of quantisation.
 */
function withActivations(config: ModelConfig, weight: TensorInfo | undefined, isHf: boolean): ModelConfig {
  const isGrouped = isGroupPacking(weight?.type);
  const isFloat = isHf && ["f32", "f16", "bf16"].some((type) => type === weight?.type);
  const { isWeightOnly } = familyOf(config);
  return isGrouped || isWeightOnly || (isFloat && !config.floatsAreMasters)
    ? Object.freeze({ ...config, activationGroup: 128 })
    : config;
}

/**
 * Records the architecture's Program and binds its weights. `config` may have a shorter context than the file's.
 * @throws BitNetError MODEL_INVALID, FORMAT_UNSUPPORTED, FORMAT_TRUNCATED, IO_FAILED or ABORTED.
 */
export async function bindModel(
  model: ModelDescription,
  config: ModelConfig,
  options: BindModelOptions = {},
): Promise<Program> {
  const { adapters = [], ...rest } = options;
  const recording = recordModel(model, config, adapters);
  return bindWeights(recording, withAdapters(weightFilesOf(model, config), adapters), rest);
}

export interface BindModelOptions extends BindOptions {
  /** Recorded beside the model; rows of a step choose one by its place in this list (`Step.adapters`). */
  adapters?: readonly Adapter[];
}

/** The model's files with the weights of adapters among them. */
function withAdapters(files: WeightFiles, adapters: readonly Adapter[]): WeightFiles {
  if (adapters.length === 0) return files;
  const tensors = new Map(files.tensors);
  for (const [i, { projections }] of adapters.entries())
    for (const [projection, { a, b }] of projections) {
      tensors.set(adapterWeight(i, projection, "a"), a);
      tensors.set(adapterWeight(i, projection, "b"), b);
    }
  const fileName = (name: string) => (name.startsWith("adapter.") ? name : files.fileName(name));
  return { ...files, tensors, fileName };
}

/**
 * Records the architecture's Program, its weights by name only.
 * @throws BitNetError MODEL_INVALID when the head is missing.
 */
export function recordModel(
  { tensors, weightName }: ModelDescription,
  config: ModelConfig,
  adapters: readonly Adapter[] = [],
): Recording {
  const has = (name: string) => tensors.has(weightName(name));
  if (config.isTied === false && config.hasHead && !has("output"))
    throw new BitNetError(
      "MODEL_INVALID",
      `tensor "${weightName("output")}" is missing, and the embedding is not tied`,
    );
  const sidePaths = adapters.map(({ projections }) => projections);
  return recordDecoder(config, has, familyOf(config).traits, sidePaths);
}

/** Where the weights are, as `bindWeights` wants to know. */
export function weightFilesOf(
  { tensors, weightName, floatsMayBeProducts }: ModelDescription,
  { weightScale, floatsAreMasters, masters, isTied }: ModelConfig,
): WeightFiles {
  const scales = { weightScale, floatsMayBeProducts, floatsAreMasters, masters };
  return { tensors, fileName: weightName, ...scales, isTied: isTied === true };
}

/** Number of weights: elements of every matrix and vector, scales left out. */
export function countParameters(tensors: ReadonlyMap<string, TensorInfo>): number {
  let total = 0;
  for (const { name, shape } of tensors.values())
    if (!name.endsWith("weight_scale")) total += shape.reduce((product, n) => product * n, 1);
  return total;
}

/** Types that packed or dense tensors are stored as, most bytes first. */
export function listTensorTypes(tensors: ReadonlyMap<string, TensorInfo>): string[] {
  const bytes = new Map<string, number>();
  for (const { type, byteLength } of tensors.values()) {
    if (typeof type !== "string") continue;
    bytes.set(type, (bytes.get(type) ?? 0) + byteLength);
  }
  return [...bytes].sort(([, a], [, b]) => b - a).map(([type]) => type);
}
