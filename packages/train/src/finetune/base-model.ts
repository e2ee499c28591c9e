/**
 * A model that exists already, as training starts from it: its shape as a training graph has it, its tokenizer and template, and its
 * weights as masters or as they are. Knows nothing of data or optimisers.
 */
import {
  BitNetError,
  bindModel,
  type ChatTemplate,
  chatTemplateFor,
  describeModel,
  type ModelConfig,
  type ModelDescription,
  type ModelFiles,
  type Program,
  ProgramWeights,
  readTensor,
  readTokenizer,
  type TensorInfo,
  type Tokenizer,
  widenRows,
} from "@bitnet.ts/core";
import { openFileSource } from "@bitnet.ts/core/node";
import type { Executor } from "../graph/executor.ts";
import type { TransformerShape } from "../graph/transformer.ts";
import type { Floats } from "../kernels/kernels.ts";

export interface BaseModel {
  /** For messages and model cards. */
  readonly name: string;
  readonly files: ModelFiles;
  readonly description: ModelDescription;
  readonly config: ModelConfig;
  readonly shape: TransformerShape;
  readonly tokenizer: Tokenizer;
  /** An error where the model has none, as models that only continue texts. */
  readonly template: ChatTemplate | BitNetError;
  readonly weights: ProgramWeights;
  /** Tells bases apart (`ProgramWeights.fingerprint`). */
  readonly fingerprint: string;
  close(): Promise<void>;
}

/**
 * Takes over `files`, also when it fails.
 * @param longest Tokens of context that training is to have, at most what the model has.
 * @throws BitNetError MODEL_UNSUPPORTED for a model whose forward pass the trainer does not have; as `bindModel` and `readTokenizer`.
 */
export async function openBase(files: ModelFiles, name: string, longest: number): Promise<BaseModel> {
  try {
    const description = describeModel(files, name);
    const config = {
      ...description.config,
      contextLength: Math.min(description.config.contextLength, longest),
    };
    const program = await bindModel(description, config);
    const shape = shapeOf(config, program, name);
    const tokenizer = readTokenizer(files, config);
    const template = templateOf(description, name, tokenizer);
    const weights = new ProgramWeights(program, openFileSource);
    const close = async () => {
      await weights.close();
      await files.close();
    };
    const fingerprint = await weights.fingerprint();
    return { name, files, description, config, shape, tokenizer, template, weights, fingerprint, close };
  } catch (error) {
    await files.close();
    throw error;
  }
}

function templateOf(
  { chatTemplate, defaultChatTemplate }: ModelDescription,
  name: string,
  tokenizer: Tokenizer,
): ChatTemplate | BitNetError {
  try {
    return chatTemplateFor(chatTemplate, name, defaultChatTemplate, tokenizer);
  } catch (error) {
    if (!(error instanceof BitNetError)) throw error;
    if (chatTemplate !== null) return error;
    return new BitNetError(
      "TEMPLATE_FAILED",
      `${name}: the model has no chat template that conversations could be learnt by: train on texts as they are (--text-mode text), ` +
        "or put a template into chat_template.jinja beside its files",
      { cause: error },
    );
  }
}

function shapeOf(config: ModelConfig, { buffers, ops }: Program, name: string): TransformerShape {
  const { activation, attentionScale, headDim } = config;
  const has = (pattern: RegExp) => buffers.some((each) => each.class === "weight" && pattern.test(each.name));
  const problems = [
    activation === "gelu" && "GELU",
    config.slidingWindow !== null && "sliding windows",
    config.ropeScaling !== null && "scaled rotations",
    config.pairing !== "half" &&
      "the row order of llama.cpp's Llama files (convert it: bitnet convert --to hf-packed)",
    config.activationGroup !== null && "activations quantised in groups",
    attentionScale !== Math.fround(1 / Math.sqrt(headDim)) && "an attention scale of its own",
    (config.embeddingScale !== 1 || config.residualScale !== 1 || config.headScale !== 1) &&
      "scaled embeddings",
    config.normShift !== 0 && "shifted norms",
    has(/_norm_in$/) && "norms inside projections",
    has(/_q_norm$/) && "norms of heads",
    has(/post_/) && "norms after blocks",
    ops.some(({ op }) => op === "bias") && "biases",
  ].filter((problem) => problem !== false);
  if (problems.length > 0 || activation === "gelu")
    throw new BitNetError(
      "MODEL_UNSUPPORTED",
      `${name}: cannot be trained here, because the trainer lacks ${problems.join(", ")}`,
    );
  const { hiddenSize, ffnSize, nLayers, nHeads, nKvHeads, vocabSize, contextLength } = config;
  const { normEps, ropeTheta } = config;
  return {
    ...{ hiddenSize, ffnSize, nLayers, nHeads, nKvHeads, headDim, vocabSize, contextLength },
    ...{ normEps, ropeTheta, activation },
    hasSubNorms: has(/_sub_norm$/),
    isTied: !has(/^output$/),
    form: "b1.58",
  };
}

/**
 * Fills the parameters for full training: stored masters as they are; trits as masters that ternarise to exactly these trits and scales.
 * @throws BitNetError as reading does; FORMAT_UNSUPPORTED for scales that are not one a matrix.
 */
export async function loadMasters(executor: Executor, base: BaseModel): Promise<void> {
  for (const [id, { name, form }] of executor.graph.parameters.entries()) {
    const to = executor.parameters[id] as Floats;
    if (form === "float") to.set(await base.weights.dense(name));
    else await loadMaster(base, name, to);
  }
  executor.formWeights();
}

async function loadMaster(base: BaseModel, name: string, to: Floats): Promise<void> {
  const masters = await storedMasters(base, name);
  if (masters !== null) return to.set(masters);
  const { trits, scale } = await tritsOf(base, name);
  spreadMasters(trits, scale, to);
}

/**
 * Fills the frozen parameters: trits and scales as the engine computes with them, or masters of them where an adapter is added before they
 * are formed. The others are left.
 */
export async function loadFrozen(executor: Executor, base: BaseModel): Promise<void> {
  for (const [id, { name, form, isFrozen, adapter }] of executor.graph.parameters.entries()) {
    if (!isFrozen) continue;
    const to = executor.parameters[id] as Floats;
    if (form === "float") to.set(await base.weights.dense(name));
    else if (adapter !== undefined) await loadMaster(base, name, to);
    else {
      const { trits, scale } = await tritsOf(base, name);
      to.set(trits);
      executor.setFrozenScale(id, scale);
    }
  }
}

export async function tritsOf(base: BaseModel, name: string): Promise<{ trits: Int8Array; scale: number }> {
  const { trits, scale } = await base.weights.ternary(name);
  if (scale.kind === "tensor") return { trits, scale: scale.value };
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `${base.name}: weight "${name}" has a scale for each ${scale.kind}; only one for a matrix can be trained`,
  );
}

/** Null where the files hold no masters of this weight. */
export async function storedMasters(
  { description, config }: BaseModel,
  name: string,
): Promise<Float32Array | null> {
  const tensor = description.tensors.get(description.weightName(name));
  if (!config.floatsAreMasters || tensor === undefined) return null;
  const { type } = tensor;
  if (type !== "f32" && type !== "f16" && type !== "bf16") return null;
  const values = await widened(tensor, type);
  const magnitude = Math.abs(values.find((value) => value !== 0) ?? 0);
  return values.every((value) => value === 0 || Math.abs(value) === magnitude) ? null : values;
}

async function widened(tensor: TensorInfo, type: "f32" | "f16" | "bf16"): Promise<Float32Array> {
  const n = tensor.shape.reduce((product, size) => product * size, 1);
  const values = new Float32Array(n);
  widenRows(type, await readTensor(tensor), n, 0, 1, values);
  return values;
}

/**
 * Masters of trits: ±v and ±v′, neighbours in f32, as many of each as make the mean magnitude the scale, so that the first forward pass is
 * the model's own. Every one is far from the threshold: training from packed weights wants larger rates.
 */
export function spreadMasters(trits: Int8Array, scale: number, out: Floats): void {
  const n = trits.length;
  const nNonzero = trits.reduce((count, trit) => count + Math.abs(trit), 0);
  const wanted = nNonzero === 0 ? 0 : (scale * n) / nNonzero;
  const word = new Uint32Array(1);
  const float = new Float32Array(word.buffer);
  float[0] = wanted;
  if ((float[0] ?? 0) > wanted) word[0] = (word[0] ?? 0) - 1;
  const low = float[0] ?? 0;
  word[0] = (word[0] ?? 0) + 1;
  const high = float[0] ?? 0;
  const nHigh = Math.round((nNonzero * (wanted - low)) / (high - low));
  let seen = 0;
  for (let i = 0; i < n; i++) {
    const trit = trits[i] ?? 0;
    out[i] = trit * (trit !== 0 && seen < nHigh ? high : low) + 0;
    if (trit !== 0) seen++;
  }
}
