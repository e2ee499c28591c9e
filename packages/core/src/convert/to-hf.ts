/** A model as a Hugging Face folder: one safetensors file, packed or as bf16 masters, with configuration and tokenizer. */
import { BitNetError } from "../base/errors.ts";
import { bf16ToF32, f32ToBf16 } from "../base/float16.ts";
import { type SafetensorsInput, writeSafetensors } from "../formats/safetensors/write-safetensors.ts";
import { isPackingId, readTensor } from "../formats/tensor.ts";
import { familyOf } from "../model/families.ts";
import { isRotated, reorderRows, rowOrder } from "../model/row-order.ts";
import { readTokenizer } from "../model/tokenizer-source.ts";
import { hfWeightName } from "../model/weight-names.ts";
import { encodeDense } from "../packing/dense-encode.ts";
import type { DenseType, Scale } from "../packing/packing.ts";
import { packings } from "../packing/registry.ts";
import type { Conversion, ConversionFile, ConversionOptions } from "./conversion.ts";
import { fitScale } from "./fit-scale.ts";
import { masterWeights } from "./master-weights.ts";
import { hfConfig, hfNormShift, hfQuantization } from "./model-facts.ts";
import { isNorm, narrowestExact } from "./narrow-type.ts";
import { encodedSlices } from "./pattern-tables.ts";
import type { ConversionSource, SourceWeight } from "./source.ts";
import { hfTokenizer } from "./tokenizer-files.ts";
import { denseTypeOf, readTernary, storedSlices, widenedSlices } from "./weights.ts";

type FloatType = "f32" | "f16" | "bf16";
const dtypes = { f32: "F32", f16: "F16", bf16: "BF16" } as const;
const torchTypes = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;

export async function toHf(
  source: ConversionSource,
  target: "hf-packed" | "hf-bf16",
  options: ConversionOptions,
): Promise<Conversion> {
  const { config, model } = source;
  if (config === null || model === null)
    throw new BitNetError(
      "MODEL_UNSUPPORTED",
      `${source.name}: the names of its weights in Hugging Face folders are not known`,
    );
  if (options.embeddings !== undefined && options.embeddings !== "f16" && options.embeddings !== "bf16")
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${target} holds embeddings in f16 or bf16, not in ${options.embeddings}`,
    );
  const normShift = source.files.kind === "hf" ? 0 : hfNormShift(config);
  const shiftOf = ({ ggufName }: SourceWeight) => (isNorm(ggufName) ? normShift : 0);
  const dense = source.weights.filter(({ kind }) => kind === "dense");
  const float =
    target === "hf-bf16"
      ? "bf16"
      : ((await narrowestExact(dense, ["bf16", "f16", "f32"], shiftOf)) as FloatType);
  const scales = target === "hf-packed" ? await scaleType(source) : "bf16";
  const tensors = inOrder(source.weights).flatMap((weight) =>
    planTensors(source, weight, { target, float, scales, shiftOf, options }),
  );
  const { files, changesCharacters } = await jsonFiles(source, { target, float });
  return {
    kind: "folder",
    files: [...files, { name: "model.safetensors", pieces: writeSafetensors(tensors) }],
    changesCharacters,
  };
}

/** The embedding, the last norm, the layers, the head. */
function inOrder(weights: readonly SourceWeight[]): SourceWeight[] {
  const first = ["token_embd.weight", "output_norm.weight"];
  const isFirst = ({ ggufName }: SourceWeight) => first.includes(ggufName);
  const isHead = ({ ggufName }: SourceWeight) => ggufName === "output.weight";
  const front = first.flatMap((name) => weights.filter(({ ggufName }) => ggufName === name));
  return [
    ...front,
    ...weights.filter((weight) => !isFirst(weight) && !isHead(weight)),
    ...weights.filter(isHead),
  ];
}

/** Type of the scales beside packed weights: bf16, as published folders have it, where that loses nothing. */
async function scaleType({ weightFiles, weights }: ConversionSource): Promise<"bf16" | "f32"> {
  for (const weight of weights) {
    const { tensor } = weight;
    if (weight.kind === "dense" || tensor.type === "bf16") continue; // the scale of bf16 masters is rounded to bf16
    const beside = weightFiles.tensors.get(tensor.name.replace(/\.weight$/, ".weight_scale"));
    if (beside?.type === "bf16" && weightFiles.weightScale === "multiplies") continue;
    if (!isPackingId(tensor.type)) return "f32";
    const scale = packings[tensor.type].readScale(await readTensor(tensor), weight);
    if (scale?.kind !== "tensor" || bf16ToF32(f32ToBf16(scale.value)) !== scale.value) return "f32";
  }
  return "bf16";
}

interface Plan {
  target: "hf-packed" | "hf-bf16";
  float: FloatType;
  scales: "bf16" | "f32";
  shiftOf: (weight: SourceWeight) => number;
  options: ConversionOptions;
}

function planTensors(source: ConversionSource, weight: SourceWeight, plan: Plan): SafetensorsInput[] {
  const { config } = source;
  if (config === null) return [];
  const name = hfWeightName(familyOf(config), weight.ggufName.replace(/\.weight$/, ""), () => false);
  const { rows, cols, shape } = weight;
  if (weight.kind === "dense") {
    const isTable = weight.ggufName === "token_embd.weight" || weight.ggufName === "output.weight";
    const type = isTable ? ((plan.options.embeddings as FloatType | undefined) ?? plan.float) : plan.float;
    return [{ name, dtype: dtypes[type], shape, data: () => encoded(weight, type, plan.shiftOf(weight)) }];
  }
  // Read once for two tensors that follow each other.
  let scale: Scale | null = null;
  const read = async () => {
    const found = await ternaryInHfOrder(source, weight, plan.options);
    scale = found.scale;
    return found;
  };
  if (plan.target === "hf-bf16") {
    const data = async function* () {
      const { trits, scale: value } = await read();
      yield named(weight, () => masterWeights(trits, tensorValue(value)));
    };
    return [{ name, dtype: "BF16", shape, data }];
  }
  const codes = async function* () {
    const { trits, scale: value } = await read();
    yield named(weight, () => packings.hf_u8.pack(trits, weight, value));
  };
  const scaleBytes = function* () {
    if (scale === null) throw new BitNetError("INTERNAL", "convert: a scale before its weights");
    const value = tensorValue(scale);
    yield encodeDense(plan.scales, Float32Array.of(value));
  };
  packings.hf_u8.byteLength(weight); // refuses rows that are no multiple of four before anything is written
  const scaleName = name.replace(/\.weight$/, ".weight_scale");
  return [
    { name, dtype: "U8", shape: [rows / 4, cols], data: codes },
    { name: scaleName, dtype: dtypes[plan.scales], shape: [1], data: scaleBytes },
  ];
}

async function ternaryInHfOrder(
  { weightFiles, config }: ConversionSource,
  weight: SourceWeight,
  options: ConversionOptions,
) {
  const { trits, scale: found } = await readTernary(weightFiles, weight.name, weight, options.signal);
  const scale = await named(weight, () =>
    fitScale(found, trits, weight, { size: null, format: "a Hugging Face folder" }),
  );
  const layerName = weight.ggufName.replace(/\.weight$/, "");
  if (config === null || config.pairing === "half" || !isRotated(layerName)) return { trits, scale };
  return {
    trits: reorderRows(trits, weight.cols, rowOrder(weight.rows, config.headDim, config.pairing, "half")),
    scale,
  };
}

function tensorValue(scale: Scale): number {
  return scale.kind === "tensor" ? scale.value : Number.NaN;
}

async function* encoded(weight: SourceWeight, type: DenseType, shift: number): AsyncGenerator<Uint8Array> {
  if (shift !== 0)
    for await (const values of widenedSlices(weight.tensor, weight))
      yield encodeDense(
        type,
        named(weight, () => lessened(values, shift)),
      );
  else if (denseTypeOf(weight.tensor) === type) yield* storedSlices(weight.tensor);
  else yield* encodedSlices(weight, type);
}

/** @throws BitNetError FORMAT_UNSUPPORTED where adding `shift` again would give another f32. */
function lessened(values: Float32Array, shift: number): Float32Array {
  const less = values.map((value) => value - shift);
  const lost = less.findIndex((value, i) => Math.fround(value + shift) !== values[i]);
  if (lost < 0) return less;
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `a folder of this family holds norms less ${shift}, and f32 has no number that gives ${values[lost]}`,
  );
}

type Json = Record<string, unknown>;

/** A folder's configuration with what has changed; the type has another name in newer ones. */
function refolded(
  own: Json,
  { float, mode }: { float: FloatType; mode: "offline" | "online" },
): Record<string, unknown> {
  const { quantization_config: quantization, torch_dtype: older, ...rest } = own;
  const { use_rms_norm, rms_norm_eps } = (quantization ?? {}) as Json;
  const isNewer = rest.dtype !== undefined && older === undefined;
  return {
    ...rest,
    ...(rest.dtype === undefined ? {} : { dtype: torchTypes[float] }),
    ...(isNewer ? {} : { torch_dtype: torchTypes[float] }),
    quantization_config: {
      ...hfQuantization(mode),
      ...(use_rms_norm === undefined ? {} : { use_rms_norm }),
      ...(rms_norm_eps === undefined ? {} : { rms_norm_eps }),
    },
  };
}

async function jsonFiles(
  source: ConversionSource,
  { target, float }: Pick<Plan, "target" | "float">,
): Promise<Pick<Conversion, "files" | "changesCharacters">> {
  const { files, config, model } = source;
  if (config === null || model === null) return { files: [], changesCharacters: false };
  const mode = target === "hf-packed" ? "offline" : "online";
  const json = (name: string, value: unknown): ConversionFile => ({
    name,
    pieces: [new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)],
  });
  if (files.kind === "hf") {
    const { config: own, tokenizerJson, tokenizerConfig, generationConfig } = files;
    const kept = [
      json("config.json", refolded(own as Json, { float, mode })),
      json("tokenizer.json", tokenizerJson),
      ...(tokenizerConfig === undefined ? [] : [json("tokenizer_config.json", tokenizerConfig)]),
      ...(generationConfig === undefined ? [] : [json("generation_config.json", generationConfig)]),
    ];
    return { files: kept, changesCharacters: false };
  }
  const { bosId, eosIds } = readTokenizer(files, config);
  const hasHead = source.weights.some(({ ggufName }) => ggufName === "output.weight");
  const { tokenizer, tokenizerConfig, generationConfig, changesCharacters } = hfTokenizer(
    files.gguf.metadata,
    config.contextLength,
    model.defaultChatTemplate,
  );
  const made = [
    json("config.json", hfConfig(config, { dtype: torchTypes[float], mode, hasHead, bosId, eosIds })),
    json("tokenizer.json", tokenizer),
    json("tokenizer_config.json", tokenizerConfig),
    json("generation_config.json", generationConfig),
  ];
  return { files: made, changesCharacters };
}

function named<T>({ ggufName }: SourceWeight, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof BitNetError)) throw error;
    throw new BitNetError(error.code, `tensor "${ggufName}": ${error.message}`, {
      cause: error,
      details: error.details,
    });
  }
}
