/** A model as one GGUF file, its ternary tensors in one packing. Tensors are read, packed and given out one after the other. */
import { BitNetError } from "../base/errors.ts";
import type { GgufValue } from "../formats/gguf/values.ts";
import { type GgufTensorInput, writeGguf } from "../formats/gguf/write-gguf.ts";
import type { HfFiles } from "../formats/model-files.ts";
import { readEmbeddingModules } from "../model/embedding-modules.ts";
import { familyOf } from "../model/families.ts";
import type { ModelDescription } from "../model/load-model.ts";
import { isRotated, reorderRows, reorderScales, rowOrder } from "../model/row-order.ts";
import { isOneOf } from "../model/weight-scales.ts";
import { computeRowBytes, isComputeLayout } from "../packing/compute-layout.ts";
import { widenedTypes } from "../packing/dense.ts";
import { encodeDense } from "../packing/dense-encode.ts";
import { i2sTailBytes, writeI2sScale } from "../packing/i2-s.ts";
import type { StoredDenseType, WidenedType } from "../packing/packing.ts";
import { packings } from "../packing/registry.ts";
import { tq2FromComputeRows } from "../packing/tq2-0.ts";
import type { Conversion, ConversionOptions } from "./conversion.ts";
import { f16RoundingOf, fitScale } from "./fit-scale.ts";
import { ggufConfig, repackedMetadata } from "./model-facts.ts";
import { isNorm, narrowestExact } from "./narrow-type.ts";
import { encodedSlices } from "./pattern-tables.ts";
import { divisorTensors } from "./rope-facts.ts";
import type { ConversionSource, SourceWeight } from "./source.ts";
import { conversionTargets, fileTypes, type GgufTarget, groupSizes, isGgufTarget } from "./targets.ts";
import { ggufTokenizer, rightTemplate } from "./tokenizer-files.ts";
import {
  type ComputeRows,
  denseTypeOf,
  readComputeRows,
  storedSlices,
  type TernaryWeights,
  tritsOf,
  widenedSlices,
} from "./weights.ts";

export async function toGguf(
  source: ConversionSource,
  target: GgufTarget,
  options: ConversionOptions,
): Promise<Conversion> {
  checkBlocks(source, target);
  const { metadata, changesCharacters } = await metadataOf(source, target);
  const tensors: GgufTensorInput[] = [...rotationTensors(source)];
  for (const weight of source.weights) tensors.push(await planTensor(source, weight, target, options));
  return {
    kind: "file",
    files: [{ name: null, pieces: writeGguf({ metadata, tensors }) }],
    changesCharacters,
  };
}

/** @throws BitNetError FORMAT_UNSUPPORTED where a weight does not fill the target's blocks, with the formats that hold all weights. */
function checkBlocks({ weights }: ConversionSource, target: GgufTarget): void {
  const ternary = weights.filter(({ kind }) => kind === "ternary");
  const problem = blockProblem(ternary, target);
  if (problem === null) return;
  const fitting = conversionTargets.filter(
    (other) => !isGgufTarget(other) || blockProblem(ternary, other) === null,
  );
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `tensor "${problem.ggufName}": ${problem.message}; formats with blocks that all weights of this model fill: ${fitting.join(", ")}`,
    { details: { tensor: problem.ggufName, fitting } },
  );
}

function blockProblem(
  weights: readonly SourceWeight[],
  target: GgufTarget,
): { ggufName: string; message: string } | null {
  for (const weight of weights) {
    try {
      packings[target].byteLength(weight);
    } catch (error) {
      if (!(error instanceof BitNetError)) throw error;
      return { ggufName: weight.ggufName, message: error.message };
    }
  }
  return null;
}

/** Divisors of frequencies, first as llama.cpp's converter has them; those of a GGUF file are among its weights. */
function rotationTensors({ files, config }: ConversionSource): GgufTensorInput[] {
  if (files.kind === "gguf" || config === null) return [];
  return Array.from(divisorTensors(config), ([name, divisors]) => ({
    name,
    shape: [divisors.length],
    type: "f32",
    data: () => encodeDense("f32", divisors),
  }));
}

async function metadataOf(
  { files, config, model }: ConversionSource,
  target: GgufTarget,
): Promise<{ metadata: Map<string, GgufValue>; changesCharacters: boolean }> {
  const usual = model?.defaultChatTemplate ?? null;
  if (files.kind === "gguf") {
    const metadata = repackedMetadata(files.gguf.metadata, fileTypes[target]);
    const template = metadata.get("tokenizer.chat_template");
    if (template?.type === "string")
      metadata.set("tokenizer.chat_template", {
        type: "string",
        value: rightTemplate(template.value, usual) ?? "",
      });
    return { metadata, changesCharacters: false };
  }
  if (config === null)
    throw new BitNetError("INTERNAL", "convert: a Hugging Face folder without a configuration");
  const tokenizer = ggufTokenizer(files, usual);
  const metadata = new Map([
    ...ggufConfig(config, fileTypes[target]),
    ...(await poolingOf(files, model)),
    ...tokenizer.metadata,
  ]);
  return { metadata, changesCharacters: tokenizer.changesCharacters };
}

const poolingTypes = { mean: 1, cls: 2, last: 3 } as const;

/** How states become embeddings, where the folder says it. Dense layers and prompts have no place in the file. */
async function poolingOf(files: HfFiles, model: ModelDescription | null): Promise<[string, GgufValue][]> {
  if (model === null || files.modules === undefined) return [];
  const { pooling, dense } = await readEmbeddingModules(files, model);
  if (dense.length > 0)
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      "modules.json: dense layers behind the pooling cannot be carried over to a GGUF file yet",
    );
  const [architecture = ""] = familyOf(model.config).gguf;
  return [[`${architecture}.pooling_type`, { type: "u32", value: poolingTypes[pooling] }]];
}

async function planTensor(
  source: ConversionSource,
  weight: SourceWeight,
  target: GgufTarget,
  options: ConversionOptions,
): Promise<GgufTensorInput> {
  const { ggufName: name, shape, tensor } = weight;
  if (weight.kind === "ternary")
    return { name, shape, type: target, data: () => packed(source, weight, target, options) };
  const isTable = name === "token_embd.weight" || name === "output.weight";
  const stored = denseTypeOf(tensor);
  const type =
    isTable && options.embeddings !== undefined
      ? options.embeddings
      : await usualType(source, weight, stored, isTable);
  const shift = shiftOf(source, weight);
  if (type === stored && shift === 0) return { name, shape, type, data: storedSlices(tensor) };
  return { name, shape, type, data: encoded(weight, type, shift) };
}

/** Folders of some families hold what norms are beyond 1; GGUF files hold what they are. */
function shiftOf({ files, config }: ConversionSource, { ggufName }: SourceWeight): number {
  return files.kind === "hf" && isNorm(ggufName) ? (config?.normShift ?? 0) : 0;
}

/** A GGUF file's own types stay. From Hugging Face: norms in f32, tables in f16 where that loses nothing, as published files have it. */
async function usualType(
  { files }: ConversionSource,
  weight: SourceWeight,
  stored: StoredDenseType,
  isTable: boolean,
): Promise<StoredDenseType> {
  if (files.kind === "gguf") return stored;
  if (!isTable) return "f32";
  return narrowestExact([weight], ["f16", stored]);
}

async function* encoded(
  weight: SourceWeight,
  type: StoredDenseType,
  shift: number,
): AsyncGenerator<Uint8Array> {
  if (isOneOf<WidenedType>(type, widenedTypes))
    throw new BitNetError("INTERNAL", `convert: ${weight.ggufName} in ${type} is only copied`);
  if (shift === 0) yield* encodedSlices(weight, type);
  else
    for await (const values of widenedSlices(weight.tensor, weight))
      yield encodeDense(
        type,
        values.map((value) => value + shift),
      );
}

async function packed(
  source: ConversionSource,
  weight: SourceWeight,
  target: GgufTarget,
  options: ConversionOptions,
): Promise<Uint8Array> {
  const named = (error: unknown) => {
    if (!(error instanceof BitNetError) || error.message.includes(weight.name)) return error;
    return new BitNetError(error.code, `tensor "${weight.ggufName}": ${error.message}`, {
      cause: error,
      details: error.details,
    });
  };
  try {
    const rows = await readComputeRows(source.weightFiles, weight.name, weight, options.signal);
    const order = ggufOrder(source, weight);
    if ((target === "i2_s" || target === "tq2_0") && isAsComputed(weight, rows)) {
      const bytes = order === null ? rows.bytes : computeRowsInOrder(rows.bytes, weight, order);
      if (target === "i2_s") return withTail(bytes, rows.scale);
      options.onRounded?.(weight.ggufName, f16RoundingOf(rows.scale));
      return tq2FromComputeRows(bytes, weight, rows.scale.value);
    }
    const { trits, scale } = inOrder(tritsOf(rows, source.weightFiles.fileName(weight.name), weight), order);
    const fitted = fitScale(scale, trits, weight, { size: groupSizes[target], format: target });
    if (target !== "i2_s") options.onRounded?.(weight.ggufName, f16RoundingOf(fitted));
    return packings[target].pack(trits, weight, fitted);
  } catch (error) {
    throw named(error);
  }
}

type WithOneScale = ComputeRows & { scale: { kind: "tensor" } };

/** Whether rows as they are computed with hold the blocks of I2_S: whole ones, with one scale, and no code but −1, 0, +1. */
function isAsComputed(weight: SourceWeight, rows: ComputeRows): rows is WithOneScale {
  const { bytes, scale } = rows;
  if (scale.kind !== "tensor" || !isComputeLayout("i2_s", weight)) return false;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : Uint8Array.from(bytes);
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? 0;
    if ((word & (word >>> 1) & 0x55555555) !== 0) return false;
  }
  return true;
}

function withTail(bytes: Uint8Array, { value }: WithOneScale["scale"]): Uint8Array {
  const tensor = new Uint8Array(bytes.length + i2sTailBytes);
  tensor.set(bytes);
  writeI2sScale(tensor, value);
  return tensor;
}

/** For each row as GGUF files of the family have it, the row of the source; null where they have the same order. */
function ggufOrder({ config, files }: ConversionSource, { name, rows }: SourceWeight): Int32Array | null {
  if (config === null || files.kind !== "hf" || !isRotated(name)) return null;
  const { ggufPairing } = familyOf(config);
  return ggufPairing === config.pairing ? null : rowOrder(rows, config.headDim, config.pairing, ggufPairing);
}

function computeRowsInOrder(bytes: Uint8Array, { cols }: SourceWeight, order: Int32Array): Uint8Array {
  const rowBytes = computeRowBytes(cols);
  const out = new Uint8Array(bytes.length);
  order.forEach((from, row) => {
    out.set(bytes.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes);
  });
  return out;
}

function inOrder(read: TernaryWeights, order: Int32Array | null): TernaryWeights {
  if (order === null) return read;
  return {
    ...read,
    trits: reorderRows(read.trits, read.cols, order),
    scale: reorderScales(read.scale, read.rows, order),
  };
}
