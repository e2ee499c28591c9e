/**
 * Turns a Recording into a Program: finds each named weight in the files, checks its shape, and refers to its bytes where they
 * lie. Ternary tensors that are not in the compute layout are transcoded into memory; master weights are ternarised.
 */

import type {
  BufferDecl,
  DenseTensor,
  Program,
  SourceId,
  SourceRef,
  TernaryTensor,
} from "../backend/program.ts";
import { BitNetError, throwIfAborted } from "../base/errors.ts";
import {
  checkReadable,
  isPackingId,
  matrixShape,
  readTensor,
  type TensorInfo,
  typeName,
} from "../formats/tensor.ts";
import { isComputeLayout, rowsToComputeLayout, toComputeLayout } from "../packing/compute-layout.ts";
import { widenedTypes, widenRows } from "../packing/dense.ts";
import type {
  DenseType,
  PackingId,
  Scale,
  StoredDenseType,
  TernaryShape,
  WidenedType,
} from "../packing/packing.ts";
import { isGroupPacking, packings } from "../packing/registry.ts";
import { type MasterType, ternarise } from "../packing/ternarise.ts";
import { tritsTable } from "../packing/trits-table.ts";
import type { ModelConfig } from "./model-config.ts";
import type { Recording, WeightRequest } from "./recorder.ts";
import type { RopeShape } from "./rope-scaling.ts";
import { ropeTable } from "./rope-table.ts";
import { readDivisors, withRopeTensors } from "./rope-tensors.ts";
import { refuseUnread } from "./unread-tensors.ts";
import {
  checkScale,
  inWholeBlocks,
  isOneOf,
  masterTypes,
  readNumber,
  readNumbers,
  readTailScale,
  scaleName,
} from "./weight-scales.ts";

/** Where the weights of a model are, under the names of their own format. */
export interface WeightFiles {
  tensors: ReadonlyMap<string, TensorInfo>;
  /** File name of a weight that a recording asks for by its GGUF name without ".weight". */
  fileName(name: string): string;
  weightScale: ModelConfig["weightScale"];
  /** Ternary weights in a float type may be products T · v, as bitnet.cpp's converter writes them, rather than masters. */
  floatsMayBeProducts: boolean;
  /** The output shares the embedding, whatever else a file holds. */
  isTied?: boolean;
  /** Ternary weights in a float type that are no products are masters; otherwise they are refused. */
  floatsAreMasters: boolean;
  masters: ModelConfig["masters"];
}

export interface BindOptions {
  /** Fraction done, 0…1. */
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
  /** The recording asks for some weights only: tensors that it does not read are no fault. */
  isPart?: boolean;
  /** Weights that are computed with as they are, and lie in no local file, become streams; otherwise they are read into memory. */
  streams?: boolean;
}

const denseTypes: readonly string[] = [
  "f32",
  "f16",
  "bf16",
  "q8_0",
  "q6_k",
  "q4_0",
  "q4_k",
] satisfies DenseType[];
/** Elements of a RoPE table: 1 GiB. A context that needs a larger one is nothing that a model was trained with. */
const maxRopeElements = 2 ** 28;

/**
 * @throws BitNetError MODEL_INVALID for a missing tensor, a wrong shape or a tensor that nothing reads, FORMAT_UNSUPPORTED for a type that cannot serve,
 * NUMERIC_FAILURE for master weights that are not finite, OUT_OF_MEMORY for a context that is too long, FORMAT_TRUNCATED or IO_FAILED
 * from reading, ABORTED.
 */
export async function bindWeights(
  recording: Recording,
  files: WeightFiles,
  options: BindOptions = {},
): Promise<Program> {
  const binder = new Binder(files, options.streams ?? false);
  const buffers: BufferDecl[] = [];
  const total = recording.buffers.reduce((sum, buffer) => sum + requestSize(buffer), 0);
  let done = 0;
  for (const buffer of recording.buffers) {
    throwIfAborted(options.signal);
    if (buffer.class !== "request") {
      buffers.push(buffer);
      continue;
    }
    buffers.push({ class: "weight", name: buffer.name, tensor: await binder.bind(buffer) });
    done += requestSize(buffer);
    options.onProgress?.(done / total);
  }
  if (!options.isPart) refuseUnread(files.tensors.keys(), binder.read);
  const { name, contextLength, vocabSize, ops } = recording;
  return { name, contextLength, vocabSize, sources: binder.sources, buffers, ops };
}

function requestSize(buffer: Recording["buffers"][number]): number {
  return buffer.class === "request" && buffer.kind !== "ropeTable" ? buffer.rows * buffer.cols : 0;
}

class Binder {
  readonly sources: SourceRef[] = [];
  private readonly files: WeightFiles;
  private readonly streams: boolean;
  private readonly fileSources = new Map<string, SourceId>();
  /** Names of the tensors that have had a say. */
  readonly read: Set<string>;

  constructor(files: WeightFiles, streams: boolean) {
    this.files = files;
    this.streams = streams;
    this.read = new Set(files.isTied ? [files.fileName("output")] : []);
  }

  private tensor(name: string): TensorInfo | undefined {
    this.read.add(name);
    return this.files.tensors.get(name);
  }

  async bind(request: WeightRequest): Promise<TernaryTensor | DenseTensor> {
    switch (request.kind) {
      case "ropeTable": {
        const { contextLength, headDim } = request.shape;
        if (contextLength * headDim > maxRopeElements) throw contextTooLong(contextLength, headDim);
        const table = ropeTable(await this.dividedShape(request));
        const source = this.addBytes(request.name, new Uint8Array(table.buffer));
        return { kind: "dense", type: "f32", source, offset: 0, rows: contextLength, cols: headDim };
      }
      case "dense":
        return this.bindDense(this.find(request), request);
      case "ternary":
        return this.bindTernary(this.find(request), request.rows, request.cols);
    }
  }

  /** Frequencies divided by what llama.cpp's converter computed from the configuration, in place of that configuration. */
  private async dividedShape({
    shape,
    divisors,
  }: Extract<WeightRequest, { kind: "ropeTable" }>): Promise<RopeShape> {
    if (divisors === null) return shape;
    const cols = shape.headDim / 2;
    return withRopeTensors(shape, divisors, (name) => readDivisors(this.find({ name, rows: 1, cols })));
  }

  private find({ name, rows, cols }: { name: string; rows: number; cols: number }): TensorInfo {
    const fileName = this.files.fileName(name);
    const tensor = this.tensor(fileName);
    if (!tensor) {
      throw new BitNetError("MODEL_INVALID", `tensor "${fileName}" is missing from the model file`, {
        details: { tensor: fileName },
      });
    }
    checkReadable(tensor);
    const shape = matrixShape(tensor.shape);
    if (shape.rows !== rows || shape.cols !== cols) {
      throw new BitNetError(
        "MODEL_INVALID",
        `tensor "${fileName}" is ${shape.rows} × ${shape.cols}, but the configuration wants ${rows} × ${cols}`,
        { details: { tensor: fileName, found: tensor.shape, expected: [rows, cols] } },
      );
    }
    return tensor;
  }

  private async bindDense(
    tensor: TensorInfo,
    { rows, cols, plus, times }: Extract<WeightRequest, { kind: "dense" }>,
  ): Promise<DenseTensor> {
    if (isGroupPacking(tensor.type) && plus === 0 && times === 1)
      return this.bindTernaryTable(tensor, tensor.type, { rows, cols });
    const { type } = tensor;
    if (!isOneOf<DenseType>(type, denseTypes) && !isOneOf<WidenedType>(type, widenedTypes))
      throw wrongType(tensor, `one of ${[...denseTypes, ...widenedTypes].join(", ")}`);
    if (isOneOf<WidenedType>(type, widenedTypes) || plus !== 0 || times !== 1) {
      const values = await readWidened(tensor, type, { rows, cols });
      for (let i = 0; i < values.length && (plus !== 0 || times !== 1); i++)
        values[i] = Math.fround((values[i] as number) + plus) * Math.fround(times);
      const source = this.addBytes(tensor.name, new Uint8Array(values.buffer));
      return { kind: "dense", type: "f32", source, offset: 0, rows, cols };
    }
    const { source, offset } = await this.refer(tensor);
    return { kind: "dense", type, source, offset, rows, cols };
  }

  /**
   * A table of ternary weights (embeddings of Ternary Bonsai). It stays ternary: where it lies, or in blocks of 128 with one scale each. A table
   * whose scales are finer is widened to f16, which holds trits times f16 scales exactly.
   */
  private async bindTernaryTable(
    tensor: TensorInfo,
    packing: PackingId,
    shape: TernaryShape,
  ): Promise<DenseTensor> {
    const { rows, cols } = shape;
    if (packing === "pq2_0" || packing === "q2_0_128")
      return { kind: "dense", type: "trits", ...(await this.refer(tensor)), rows, cols };
    const bytes = await readTensor(tensor);
    const scale = packings[packing].readScale(bytes, shape) ?? (await this.separateScale(tensor));
    checkScale(tensor, scale);
    const table = tritsTable({ packing, bytes, shape, scale });
    const { type } = table;
    return { kind: "dense", type, source: this.addBytes(tensor.name, table.bytes), offset: 0, rows, cols };
  }

  private async bindTernary(tensor: TensorInfo, rows: number, cols: number): Promise<TernaryTensor> {
    const shape = { rows, cols };
    const made = (bytes: Uint8Array, found: Scale): TernaryTensor => {
      const scale = inWholeBlocks(tensor, found);
      checkScale(tensor, scale);
      return { kind: "ternary", source: this.addBytes(tensor.name, bytes), offset: 0, rows, cols, scale };
    };
    if (isOneOf<MasterType>(tensor.type, masterTypes) || tensor.type === "q8_0") {
      const { scale, unpackRows } = await this.ternariseFloats(tensor, tensor.type, shape);
      return made(rowsToComputeLayout(unpackRows, shape), scale);
    }
    if (!isPackingId(tensor.type)) throw lostTrits(tensor);
    if (isComputeLayout(tensor.type, shape)) {
      const scale = await this.withFactor(tensor, await readTailScale(tensor));
      checkScale(tensor, scale);
      return { kind: "ternary", ...(await this.refer(tensor)), rows, cols, scale };
    }
    const bytes = await readTensor(tensor);
    const own = packings[tensor.type].readScale(bytes, shape);
    const scale = own === null ? await this.separateScale(tensor) : await this.withFactor(tensor, own);
    return made(toComputeLayout(tensor.type, bytes, shape), scale);
  }

  /** Q8_0 keeps products whole: one magnitude is 127 steps of every block. Of anything else it is a rounded copy. */
  private async ternariseFloats(tensor: TensorInfo, stored: MasterType | "q8_0", shape: TernaryShape) {
    const hasScale = this.tensor(scaleName(tensor)) !== undefined;
    const isRounded = stored === "q8_0";
    const type = isRounded ? "f32" : stored;
    const bytes = isRounded
      ? new Uint8Array((await readWidened(tensor, stored, shape)).buffer)
      : await readTensor(tensor);
    const ternarised = named(tensor, () =>
      ternarise(type, bytes, shape, {
        mayBeProducts: this.files.floatsMayBeProducts || hasScale || isRounded,
        isBinary: this.files.masters === "binary",
      }),
    );
    const { isProduct, scale, unpackRows } = ternarised;
    if (!isProduct && isRounded) throw lostTrits(tensor);
    if (!isProduct && !this.files.floatsAreMasters) throw fullPrecision(tensor);
    // Trits as floats: what saving a packed checkpoint that was unpacked in memory leaves behind.
    const areTrits = hasScale && isProduct && scale.kind === "tensor" && scale.value === 1;
    return { unpackRows, scale: areTrits ? await this.separateScale(tensor) : scale };
  }

  /** The `weight_scale` tensor beside a packed one. */
  private async separateScale(tensor: TensorInfo): Promise<Scale> {
    const stored = await readNumbers(this.tensor(scaleName(tensor)), tensor, matrixShape(tensor.shape).rows);
    const values = this.files.weightScale === "multiplies" ? stored : stored.map((value) => 1 / value);
    const [first = Number.NaN] = values;
    return values.every((value) => value === first)
      ? { kind: "tensor", value: first }
      : { kind: "row", values };
  }

  /** llama.cpp's converter keeps the scale of a ternary weight beside it, and trits alone in the weight. */
  private async withFactor(tensor: TensorInfo, scale: Scale): Promise<Scale> {
    const name = tensor.name.replace(/\.weight$/, ".scale");
    const factorTensor = this.tensor(name);
    if (name === tensor.name || factorTensor === undefined) return scale;
    const factor = await readNumber(factorTensor, tensor);
    if (scale.kind === "tensor") return { kind: "tensor", value: Math.fround(scale.value * factor) };
    return { ...scale, values: scale.values.map((value) => Math.fround(value * factor)) };
  }

  /** Refers to a tensor's bytes in its file, or where the source is no file to a stream of them, or reads them. */
  private async refer(tensor: TensorInfo): Promise<{ source: SourceId; offset: number }> {
    const { path, size } = tensor.source;
    if (path === undefined && this.streams) {
      const { name, byteLength, offset } = tensor;
      const read = (from: number, length: number) => tensor.source.read(offset + from, length);
      return {
        source: this.sources.push({ kind: "stream", name, size: byteLength, read }) - 1,
        offset: 0,
      };
    }
    if (path === undefined)
      return { source: this.addBytes(tensor.name, await readTensor(tensor)), offset: 0 };
    let source = this.fileSources.get(path);
    if (source === undefined) {
      source = this.sources.push({ kind: "file", path, size }) - 1;
      this.fileSources.set(path, source);
    }
    return { source, offset: tensor.offset };
  }

  private addBytes(name: string, bytes: Uint8Array): SourceId {
    return this.sources.push({ kind: "bytes", name, bytes }) - 1;
  }
}

async function readWidened(
  tensor: TensorInfo,
  type: StoredDenseType,
  { rows, cols }: TernaryShape,
): Promise<Float32Array> {
  const values = new Float32Array(rows * cols);
  widenRows(type, await readTensor(tensor), cols, 0, rows, values);
  return values;
}

/** Says which tensor a failure is about. */
function named<T>(tensor: TensorInfo, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof BitNetError)) throw error;
    throw new BitNetError(error.code, `tensor "${tensor.name}": ${error.message}`, {
      cause: error,
      details: { ...error.details, tensor: tensor.name },
    });
  }
}

/** An ordinary model, or one that hides what it is. */
function fullPrecision(tensor: TensorInfo): BitNetError {
  return new BitNetError(
    "MODEL_UNSUPPORTED",
    `tensor "${tensor.name}" holds full-precision weights, and nothing in the files says that they were trained to be ternary; rounding the weights of an ordinary model leaves nonsense. A checkpoint with ternary masters says so by a quantization_config`,
    { details: { tensor: tensor.name, type: tensor.type } },
  );
}

/** What quantisers for ordinary weights leave of ternary ones. */
function lostTrits(tensor: TensorInfo): BitNetError {
  const { message, details } = wrongType(
    tensor,
    "a ternary packing, master weights, or products of trits and a scale",
  );
  return new BitNetError(
    "FORMAT_UNSUPPORTED",
    `${message}; rounding has lost the ternary weights: take a file of the model in a ternary type (I2_S, TQ1_0, TQ2_0, …) or in F16, BF16 or F32`,
    { details },
  );
}

function contextTooLong(contextLength: number, headDim: number): BitNetError {
  const most = Math.floor(maxRopeElements / headDim);
  return new BitNetError(
    "OUT_OF_MEMORY",
    `a context of ${contextLength} tokens was asked for, but with heads of ${headDim} at most ${most} are supported; ask for a shorter context`,
    { details: { contextLength, most } },
  );
}

function wrongType(tensor: TensorInfo, expected: string): BitNetError {
  return new BitNetError(
    "FORMAT_UNSUPPORTED",
    `tensor "${tensor.name}" is stored as ${typeName(tensor.type)}, expected ${expected}`,
    { details: { tensor: tensor.name, type: tensor.type } },
  );
}
