/**
 * Embeddings of texts: puts the model's prompts in front, runs all texts through the scheduler in one batch, and makes of the pooled states
 * what was asked for. Knows nothing of files or backends.
 */
import {
  applyDense,
  BitNetError,
  cosineSimilarity,
  type EmbeddingModules,
  normalized,
  onAbort,
  type PooledText,
  type Pooling,
  type PoolingOptions,
  type Tokenizer,
  toBits,
  toInt8,
} from "@bitnet.ts/core";
import { checkKnown, kindOf } from "./known-options.ts";
import { checkPromptIds } from "./prompt-ids.ts";

/** `int8`: 127 steps to the largest element, `binary`: a bit for each sign, packed. */
export type Quantization = "none" | "int8" | "binary";

export interface EmbedOptions<Q extends Quantization = Quantization> {
  /** Which states make the embedding; default: as the model's files say, else as is usual for its family. */
  pooling?: Pooling;
  /** Bring embeddings to length 1; default: as the model's files say, else true. */
  normalize?: boolean;
  /** Keep so many first dimensions, for models that were trained to allow it; before normalising. Default: all. */
  dimensions?: number;
  /** Default "none": f32. */
  quantize?: Q;
  /** What is to be done with the texts, in the form that instructed embedders were trained with: `Instruct: {instruction}\nQuery:{text}`. */
  instruction?: string;
  /** Name of one of the model's own prompts, such as "query" or "document"; default: the one that its files name, if any. */
  prompt?: string;
  /** Cut texts that are longer than the context instead of refusing them. Default false. */
  truncate?: boolean;
  /** As for `generate`. */
  cacheSalt?: string;
  signal?: AbortSignal;
}

interface Vectors {
  none: Float32Array;
  int8: Int8Array;
  binary: Uint8Array;
}

export interface EmbeddingResult<Q extends Quantization = "none"> {
  /** One for each text, in order. */
  readonly embeddings: Vectors[Q][];
  /** With `int8`: what each embedding's values are to be multiplied with. */
  readonly scales?: readonly number[];
  readonly dimensions: number;
  readonly pooling: Pooling;
  /** Of all texts together, prompts and control tokens included. */
  readonly promptTokens: number;
  /** Of them, those whose rows were taken from the cache. */
  readonly cachedTokens: number;
}

/** A text, or its token ids, which are taken as they are. */
export type TextToEmbed = string | ArrayLike<number>;

export interface RankedText {
  /** Place among the texts that were given. */
  readonly index: number;
  /** Cosine with the query, from −1 to 1. */
  readonly score: number;
}

/** What embedding needs of a model. */
export interface EmbeddingModel {
  readonly tokenizer: Tokenizer;
  readonly modules: EmbeddingModules;
  readonly hiddenSize: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  /** What states are multiplied with for the sake of logits. */
  readonly stateScale: number;
  /** Long texts on another thread. */
  encode(text: string, bos: boolean, signal: AbortSignal): Promise<Int32Array>;
  pool(ids: Int32Array, options: PoolingOptions): Promise<PooledText>;
}

/** Texts that are on their way at once; more would only wait, and take memory. */
const maxInFlight = 1024;
const poolings: readonly Pooling[] = ["mean", "last", "cls"];
const quantizations: readonly Quantization[] = ["none", "int8", "binary"];
const knownOptions: Readonly<Record<keyof EmbedOptions, true>> = {
  pooling: true,
  normalize: true,
  dimensions: true,
  quantize: true,
  instruction: true,
  prompt: true,
  truncate: true,
  cacheSalt: true,
  signal: true,
};

/** See `BitNet.embed`. */
export async function embedTexts<Q extends Quantization>(
  model: EmbeddingModel,
  input: string | readonly TextToEmbed[],
  options: EmbedOptions<Q>,
): Promise<EmbeddingResult<Q>> {
  const texts = typeof input === "string" ? [input] : input;
  checkTexts(texts);
  const settings = readOptions(model, options);
  const pooled = await poolAll(model, texts, settings);
  const finished = pooled.map((text) => finish(model, text.values, settings));
  const sum = (of: (text: PooledText) => number) => pooled.reduce((total, text) => total + of(text), 0);
  return {
    embeddings: finished.map(({ vector }) => vector as Vectors[Q]),
    ...(settings.quantize === "int8" ? { scales: finished.map(({ scale }) => scale) } : {}),
    dimensions: settings.dimensions,
    pooling: settings.pooling,
    promptTokens: sum(({ nTokens }) => nTokens),
    cachedTokens: sum(({ nCached }) => nCached),
  };
}

/** See `BitNet.rank`. */
export async function rankTexts(
  model: EmbeddingModel,
  query: string,
  texts: readonly string[],
  options: EmbedOptions,
): Promise<RankedText[]> {
  const { prompts } = model.modules;
  const own = (...names: string[]) =>
    names
      .filter((name) => prompts.has(name))
      .slice(0, 1)
      .map((prompt) => ({ prompt }))[0];
  const { instruction, prompt, ...shared } = options;
  const asked =
    instruction !== undefined ? { instruction } : prompt !== undefined ? { prompt } : own("query");
  const [ofQuery, ofTexts] = await Promise.all([
    embedTexts(model, [query], { ...shared, ...asked }),
    embedTexts(model, texts, { ...shared, ...own("document", "passage") }),
  ]);
  const [wanted] = ofQuery.embeddings;
  if (wanted === undefined) throw new BitNetError("INTERNAL", "rank: the query has no embedding");
  const ranking = ofTexts.embeddings.map((vector, index) => ({
    index,
    score: cosineSimilarity(wanted, vector),
  }));
  return ranking.sort((a, b) => b.score - a.score || a.index - b.index);
}

interface Settings {
  pooling: Pooling;
  normalize: boolean;
  dimensions: number;
  quantize: Quantization;
  /** What stands in front of every text. */
  prefix: string;
  truncate: boolean;
  cacheSalt: string;
  signal: AbortSignal | undefined;
}

function readOptions({ modules, hiddenSize }: EmbeddingModel, options: EmbedOptions): Settings {
  checkKnown("embed", options, knownOptions);
  const {
    pooling = modules.pooling,
    normalize = modules.normalizes,
    quantize = "none",
    instruction,
    prompt,
  } = options;
  const size = modules.dense.at(-1)?.rows ?? hiddenSize;
  const { dimensions = size, truncate = false } = options;
  const fail = (problem: string): never => {
    throw new BitNetError("INVALID_ARGUMENT", `embed: ${problem}`);
  };
  if (!poolings.includes(pooling))
    fail(`pooling: expected one of ${poolings.join(", ")}, found ${kindOf(pooling)}`);
  if (!quantizations.includes(quantize))
    fail(`quantize: expected one of ${quantizations.join(", ")}, found ${kindOf(quantize)}`);
  for (const [name, value] of Object.entries({ normalize, truncate }))
    if (typeof value !== "boolean") fail(`${name}: expected true or false, found ${kindOf(value)}`);
  if (!(Number.isInteger(dimensions) && dimensions >= 1 && dimensions <= size))
    fail(`dimensions: expected a whole number from 1 to ${size}, found ${String(dimensions)}`);
  if (quantize === "binary" && dimensions % 8 !== 0)
    fail(`dimensions: binary embeddings need a multiple of 8, found ${dimensions}`);
  if (instruction !== undefined && prompt !== undefined)
    fail("give an instruction or the name of a prompt, not both");
  for (const [name, value] of Object.entries({ instruction, prompt }))
    if (value !== undefined && typeof value !== "string")
      fail(`${name}: expected a text, found ${kindOf(value)}`);
  const named = prompt ?? modules.defaultPrompt ?? undefined;
  const own = named === undefined ? "" : modules.prompts.get(named);
  if (own === undefined)
    fail(
      `prompt: the model has no prompt ${JSON.stringify(named)}; it has ${[...modules.prompts.keys()].join(", ") || "none"}`,
    );
  const prefix = instruction === undefined ? (own ?? "") : `Instruct: ${instruction}\nQuery:`;
  const { cacheSalt = "", signal } = options;
  return { pooling, normalize, dimensions, quantize, prefix, truncate, cacheSalt, signal };
}

function checkTexts(texts: readonly unknown[]): asserts texts is readonly TextToEmbed[] {
  const fail = (problem: string): never => {
    throw new BitNetError("INVALID_ARGUMENT", `embed: ${problem}`);
  };
  if (!Array.isArray(texts)) fail(`expected a text or a list of texts, found ${kindOf(texts)}`);
  for (const [i, text] of texts.entries())
    if (typeof text !== "string" && !(typeof text === "object" && text !== null && "length" in text))
      fail(`text ${i}: expected a text or a list of token ids, found ${kindOf(text)}`);
}

/** Runs all texts; the first failure ends the others. */
async function poolAll(
  model: EmbeddingModel,
  texts: readonly TextToEmbed[],
  settings: Settings,
): Promise<PooledText[]> {
  const ending = new AbortController();
  const stopWaiting =
    settings.signal && onAbort(settings.signal, () => ending.abort(settings.signal?.reason));
  const pooled: PooledText[] = new Array(texts.length);
  let next = 0;
  const work = async () => {
    for (let i = next++; i < texts.length; i = next++) {
      const { ids, from } = await encode(model, texts[i] ?? "", settings, {
        index: i,
        signal: ending.signal,
      });
      const { pooling, cacheSalt } = settings;
      pooled[i] = await model.pool(ids, { pooling, from, cacheSalt, signal: ending.signal });
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(maxInFlight, texts.length) }, work));
    return pooled;
  } finally {
    ending.abort();
    stopWaiting?.();
  }
}

async function encode(
  model: EmbeddingModel,
  text: TextToEmbed,
  { prefix, truncate }: Settings,
  { index, signal }: { index: number; signal: AbortSignal },
): Promise<{ ids: Int32Array; from: number }> {
  const { tokenizer, modules, vocabSize, contextLength } = model;
  if (typeof text !== "string") return { ids: checkPromptIds(text, { vocabSize, contextLength }), from: 0 };
  const bos = tokenizer.addBos;
  const ids = await model.encode(prefix + text, bos, signal);
  const from = modules.includesPrompt || prefix === "" ? 0 : tokenizer.encode(prefix, { bos }).length;
  const { endId } = tokenizer;
  const most = contextLength - (endId === null ? 0 : 1);
  if (ids.length > most && !truncate)
    throw new BitNetError(
      "CONTEXT_EXCEEDED",
      `embed: text ${index} has ${ids.length} tokens, but the context holds ${most}; shorten it, or let it be truncated`,
      { details: { index, promptTokens: ids.length, contextLength } },
    );
  const kept = ids.subarray(0, most);
  const all =
    endId === null ? kept : Int32Array.from({ length: kept.length + 1 }, (_, i) => kept[i] ?? endId);
  if (all.length === 0)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `embed: text ${index} is empty, and the model wants no token before or behind it`,
      {
        details: { index },
      },
    );
  return { ids: all, from };
}

function finish(
  { modules, stateScale }: EmbeddingModel,
  state: Float32Array,
  { normalize, dimensions, quantize }: Settings,
): { vector: Vectors[Quantization]; scale: number } {
  let values = stateScale === 1 ? state : state.map((value) => value / stateScale);
  for (const layer of modules.dense) values = applyDense(layer, values);
  values = values.subarray(0, dimensions);
  if (normalize) values = normalized(values);
  if (quantize === "binary") return { vector: toBits(values), scale: 1 };
  if (quantize === "none") return { vector: values.slice(), scale: 1 };
  const { values: steps, scale } = toInt8(values);
  return { vector: steps, scale };
}
