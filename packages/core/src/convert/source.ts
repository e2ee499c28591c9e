/**
 * What is to be converted: an opened model as a list of weights under GGUF's names, in the order in which they are to be written, with
 * what is ternary among them. GGUF files of a family that does not run here are taken as they are: packed tensors are ternary.
 */
import { BitNetError } from "../base/errors.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import { isPackingId, matrixShape, type TensorInfo } from "../formats/tensor.ts";
import type { WeightFiles } from "../model/bind-weights.ts";
import { describeModel, type ModelDescription, recordModel, weightFilesOf } from "../model/load-model.ts";
import type { ModelConfig } from "../model/model-config.ts";
import { refuseUnread } from "../model/unread-tensors.ts";
import { ggufWeightName } from "../model/weight-names.ts";

export interface SourceWeight {
  /** As `WeightFiles.fileName` takes it. */
  name: string;
  /** GGUF name, with ".weight". */
  ggufName: string;
  kind: "ternary" | "dense";
  rows: number;
  cols: number;
  /** Of the stored tensor, for one that is copied as it is. */
  shape: readonly number[];
  tensor: TensorInfo;
}

export interface ConversionSource {
  files: ModelFiles;
  /** For messages, and the model's name where the files have none. */
  name: string;
  /** Null for GGUF files of a family that does not run here. */
  model: ModelDescription | null;
  config: ModelConfig | null;
  weightFiles: WeightFiles;
  weights: readonly SourceWeight[];
}

export interface SourceOptions {
  /** Ternarise full-precision weights that nobody trained for it. */
  force?: boolean;
}

/** @throws BitNetError MODEL_UNSUPPORTED, MODEL_INVALID, FORMAT_UNSUPPORTED. */
export function describeSource(
  files: ModelFiles,
  name: string,
  options: SourceOptions = {},
): ConversionSource {
  const model = describe(files, name);
  const config =
    model === null ? null : { ...model.config, ...(options.force ? { floatsAreMasters: true } : {}) };
  const weightFiles = model === null || config === null ? rawFiles(files) : weightFilesOf(model, config);
  const source = { files, name, model, config, weightFiles };
  return files.kind === "gguf"
    ? {
        ...source,
        weightFiles: { ...weightFiles, fileName: (full) => full },
        weights: ggufWeights(files, model),
      }
    : { ...source, weights: hfWeights(weightFiles, model) };
}

function describe(files: ModelFiles, name: string): ModelDescription | null {
  try {
    return describeModel(files, name);
  } catch (error) {
    const mayPass =
      files.kind === "gguf" && error instanceof BitNetError && error.code === "MODEL_UNSUPPORTED";
    const hasPacked =
      files.kind === "gguf" && [...files.gguf.tensors.values()].some(({ type }) => isPackingId(type));
    if (mayPass && hasPacked) return null;
    throw error;
  }
}

function rawFiles(files: ModelFiles): WeightFiles {
  const tensors = files.kind === "gguf" ? files.gguf.tensors : files.tensors;
  return {
    tensors,
    fileName: (name) => name,
    weightScale: "multiplies",
    floatsMayBeProducts: true,
    floatsAreMasters: false,
    masters: "ternary",
  };
}

function ggufWeights(files: ModelFiles & { kind: "gguf" }, model: ModelDescription | null): SourceWeight[] {
  const ternary = new Set(
    model === null
      ? []
      : requestsOf(model)
          .filter(({ kind }) => kind === "ternary")
          .map(({ name }) => `${name}.weight`),
  );
  return Array.from(files.gguf.tensors.values(), (tensor) => {
    const isTernary = isPackingId(tensor.type) || ternary.has(tensor.name);
    const { rows, cols } = matrixShape(tensor.shape);
    const { name, shape } = tensor;
    return { name, ggufName: name, kind: isTernary ? "ternary" : "dense", rows, cols, shape, tensor };
  });
}

/** The embedding, then layer by layer the norms and the projections, then the rest. */
function hfWeights(files: WeightFiles, model: ModelDescription | null): SourceWeight[] {
  if (model === null) return [];
  const read = new Set(files.isTied ? [files.fileName("output")] : []);
  for (const { name } of requestsOf(model)) {
    const own = files.fileName(name);
    read.add(own).add(own.replace(/\.weight$/, ".weight_scale"));
  }
  refuseUnread(files.tensors.keys(), read); // before anything of them would be left out
  const weights = requestsOf(model).map(({ name, kind, rows, cols }): SourceWeight => {
    const tensor = files.tensors.get(files.fileName(name));
    if (tensor === undefined)
      throw new BitNetError(
        "MODEL_INVALID",
        `tensor "${files.fileName(name)}" is missing from the model file`,
      );
    return {
      name,
      ggufName: ggufWeightName(name),
      kind,
      rows,
      cols,
      shape: rows === 1 ? [cols] : [rows, cols],
      tensor,
    };
  });
  const place = ({ name, kind }: SourceWeight) => {
    const layer = Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(layer)) return name === "token_embd" ? -1 : Number.MAX_SAFE_INTEGER;
    return 4 * layer + (kind === "ternary" ? 2 : name.includes("_sub_") ? 1 : 0);
  };
  return weights.sort((a, b) => place(a) - place(b));
}

function requestsOf(model: ModelDescription) {
  const seen = new Map<string, { name: string; kind: "ternary" | "dense"; rows: number; cols: number }>();
  for (const buffer of recordModel(model, model.config).buffers)
    if (buffer.class === "request" && buffer.kind !== "ropeTable" && !seen.has(buffer.name))
      seen.set(buffer.name, buffer);
  return [...seen.values()];
}
