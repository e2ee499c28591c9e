/**
 * How a model's files say that embeddings are made of its states: sentence-transformers' modules.json with what it names, or GGUF's
 * `pooling_type` and dense tensors; where they say nothing, as the family usually does. What is unknown is refused by name.
 */
import { BitNetError } from "../base/errors.ts";
import type { ModelFiles, SentenceModules } from "../formats/model-files.ts";
import { matrixShape, readTensor, type TensorInfo } from "../formats/tensor.ts";
import { widenRows } from "../packing/dense.ts";
import { show } from "./config-fields.ts";
import type { DenseLayer } from "./embedding-vector.ts";
import { familyOf } from "./families.ts";
import type { Pooling } from "./family.ts";
import type { ModelDescription } from "./load-model.ts";

export interface EmbeddingModules {
  readonly pooling: Pooling;
  /** Applied to the pooled state, in order. */
  readonly dense: readonly DenseLayer[];
  /** Whether embeddings are brought to length 1. */
  readonly normalizes: boolean;
  /** Whether the tokens of an instruction take part in the mean. */
  readonly includesPrompt: boolean;
  /** What the model wants in front of texts, by the names of their purposes ("query", "document"). */
  readonly prompts: ReadonlyMap<string, string>;
  /** Of them, the one that every text gets that is given no other. */
  readonly defaultPrompt: string | null;
}

/** GGUF's numbers. */
const ggufPoolings: ReadonlyMap<number, Pooling> = new Map([
  [1, "mean"],
  [2, "cls"],
  [3, "last"],
]);
/** What sentence-transformers calls them, with "pooling_mode_" in front or as the value of `pooling_mode`. */
const poolingNames: Readonly<Record<string, Pooling>> = {
  cls_token: "cls",
  cls: "cls",
  mean_tokens: "mean",
  mean: "mean",
  lasttoken: "last",
};

/**
 * @throws BitNetError FORMAT_UNSUPPORTED for a module or a way of pooling that is unknown, FORMAT_INVALID for files that contradict themselves;
 * FORMAT_TRUNCATED, IO_FAILED.
 */
export async function readEmbeddingModules(
  files: ModelFiles,
  { config, tensors }: Pick<ModelDescription, "config" | "tensors">,
): Promise<EmbeddingModules> {
  const hasInnerNorms = [...tensors.keys()].some((name) =>
    /_norm_in\.weight$|_proj\.norm\.weight$/.test(name),
  );
  const usual: EmbeddingModules = {
    pooling: hasInnerNorms ? "last" : familyOf(config).pooling,
    dense: [],
    normalizes: true,
    includesPrompt: true,
    prompts: new Map(),
    defaultPrompt: null,
  };
  const modules = files.kind === "gguf" ? await readGguf(files, usual) : await readHf(files.modules, usual);
  checkChain(modules.dense, config.hiddenSize);
  return modules;
}

async function readGguf(
  files: ModelFiles & { kind: "gguf" },
  usual: EmbeddingModules,
): Promise<EmbeddingModules> {
  const { metadata, tensors } = files.gguf;
  const architecture = metadata.get("general.architecture")?.value;
  const key = `${architecture}.pooling_type`;
  const type = metadata.get(key)?.value ?? 0;
  const pooling = type === 0 ? usual.pooling : typeof type === "number" ? ggufPoolings.get(type) : undefined;
  if (pooling === undefined)
    throw unsupported(
      `${key} is ${type === 4 ? "4 (a reranker)" : show(type)}, expected 1 (mean), 2 (first) or 3 (last)`,
    );
  const dense: DenseLayer[] = [];
  for (const name of ["dense_2.weight", "dense_3.weight"]) {
    const tensor = tensors.get(name);
    if (tensor !== undefined) dense.push({ ...(await readMatrix(tensor)), bias: null });
  }
  return { ...usual, pooling, dense };
}

async function readHf(
  modules: SentenceModules | undefined,
  usual: EmbeddingModules,
): Promise<EmbeddingModules> {
  if (modules === undefined) return usual;
  const { list, parts } = modules;
  if (!Array.isArray(list)) throw invalid(`modules.json is ${show(list)}, expected a list`);
  let found: EmbeddingModules = { ...usual, normalizes: false, ...readPrompts(modules.prompts) };
  let hasPooling = false;
  for (const entry of list as { type?: unknown; path?: unknown }[]) {
    const type = textOf(entry?.type);
    const path = textOf(entry?.path);
    const part = parts.get(path) ?? {};
    switch (type.split(".").at(-1)) {
      case "Transformer":
        break;
      case "Pooling":
        found = { ...found, ...readPooling(part.config, path) };
        hasPooling = true;
        break;
      case "Dense":
        found = { ...found, dense: [...found.dense, await readDense(part, path)] };
        break;
      case "Normalize":
        found = { ...found, normalizes: true };
        break;
      default:
        throw unsupported(
          `modules.json asks for the module ${show(type)}; known are Transformer, Pooling, Dense and Normalize`,
        );
    }
  }
  if (!hasPooling) throw invalid("modules.json names no Pooling");
  return found;
}

/** Empty for what is no text. */
function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function readPooling(config: unknown, path: string): Pick<EmbeddingModules, "pooling" | "includesPrompt"> {
  const where = `${path}/config.json`;
  if (!isRecord(config)) throw invalid(`${where} is missing, or no object`);
  const names = Object.entries(config).flatMap(([key, value]) => {
    if (key === "pooling_mode") return [textOf(value)];
    const name = /^pooling_mode_(.*)$/.exec(key)?.[1];
    return name !== undefined && value === true ? [name] : [];
  });
  const [name = "none", another] = names;
  const pooling = another === undefined && Object.hasOwn(poolingNames, name) ? poolingNames[name] : undefined;
  if (pooling === undefined)
    throw unsupported(
      `${where} pools by ${show(names.join(" and ") || "nothing")}; known are one of mean_tokens, lasttoken and cls_token`,
    );
  return { pooling, includesPrompt: config.include_prompt !== false };
}

async function readDense(
  { config, tensors }: { config?: unknown; tensors?: ReadonlyMap<string, TensorInfo> },
  path: string,
): Promise<DenseLayer> {
  const activation = isRecord(config) ? config.activation_function : undefined;
  if (activation !== undefined && !/(^|\.)Identity$/.test(textOf(activation)))
    throw unsupported(
      `${path}/config.json: activation_function ${show(activation)}; known is torch.nn.modules.linear.Identity`,
    );
  const weight = tensors?.get("linear.weight");
  if (weight === undefined) throw invalid(`${path}/model.safetensors with linear.weight is missing`);
  const layer = await readMatrix(weight);
  const biasTensor = tensors?.get("linear.bias");
  const bias = biasTensor === undefined ? null : (await readMatrix(biasTensor)).weight;
  if (bias !== null && bias.length !== layer.rows)
    throw invalid(`${path}/model.safetensors: a bias of ${bias.length} for ${layer.rows} rows`);
  return { ...layer, bias };
}

async function readMatrix(tensor: TensorInfo): Promise<Omit<DenseLayer, "bias">> {
  const { type } = tensor;
  if (type !== "f32" && type !== "f16" && type !== "bf16")
    throw unsupported(`tensor "${tensor.name}" is stored as ${show(type)}, expected f32, f16 or bf16`);
  const { rows, cols } = matrixShape(tensor.shape);
  const weight = new Float32Array(rows * cols);
  widenRows(type, await readTensor(tensor), cols, 0, rows, weight);
  return { rows, cols, weight };
}

function readPrompts(json: unknown): Pick<EmbeddingModules, "prompts" | "defaultPrompt"> {
  const listed = isRecord(json) && isRecord(json.prompts) ? Object.entries(json.prompts) : [];
  const prompts = new Map(
    listed.flatMap(([name, text]) => (typeof text === "string" ? [[name, text] as const] : [])),
  );
  const named = isRecord(json) ? (json.default_prompt_name ?? null) : null;
  if (named !== null && !(typeof named === "string" && prompts.has(named)))
    throw invalid(
      `config_sentence_transformers.json: default_prompt_name ${show(named)} is none of its prompts`,
    );
  return { prompts, defaultPrompt: named };
}

/** Each layer takes what the one before gives. */
function checkChain(dense: readonly DenseLayer[], hiddenSize: number): void {
  let size = hiddenSize;
  for (const { rows, cols } of dense) {
    if (cols !== size) throw invalid(`a dense layer takes ${cols} values, but gets ${size}`);
    size = rows;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unsupported(problem: string): BitNetError {
  return new BitNetError("FORMAT_UNSUPPORTED", `embeddings: ${problem}`);
}

function invalid(problem: string): BitNetError {
  return new BitNetError("FORMAT_INVALID", `embeddings: ${problem}`);
}
