/**
 * The weights of an opened model one at a time, whatever format they are in: trits and scales of ternary ones, slices of dense ones.
 * Ternary ones come through the binding that running uses, so that what is converted is what would have been computed with.
 */
import { BitNetError } from "../base/errors.ts";
import { checkReadable, isPackingId, type TensorInfo } from "../formats/tensor.ts";
import { bindWeights, type WeightFiles } from "../model/bind-weights.ts";
import type { Recording } from "../model/recorder.ts";
import { computeRowBytes, unpackComputeRow } from "../packing/compute-layout.ts";
import { denseByteLength, widenRows } from "../packing/dense.ts";
import type { Scale, StoredDenseType, TernaryShape } from "../packing/packing.ts";

export interface TernaryWeights extends TernaryShape {
  /** [rows, cols] in {−1, 0, +1}. */
  trits: Int8Array;
  scale: Scale;
}

/** f32 values held at a time. */
const sliceElements = 2 ** 20;
/** Stored bytes read at a time. */
const sliceBytes = 2 ** 22;

/** A ternary weight as it is computed with: rows of the compute layout. */
export interface ComputeRows {
  /** [rows, computeRowBytes(cols)] */
  bytes: Uint8Array;
  scale: Scale;
}

/**
 * @param name The weight's name as `files.fileName` takes it.
 * @throws BitNetError as `bindWeights`.
 */
export async function readComputeRows(
  files: WeightFiles,
  name: string,
  { rows, cols }: TernaryShape,
  signal?: AbortSignal,
): Promise<ComputeRows> {
  const request = { class: "request", kind: "ternary", name, rows, cols } as const;
  const recording: Recording = { name: "", contextLength: 1, vocabSize: 1, buffers: [request], ops: [] };
  const { buffers, sources } = await bindWeights(recording, files, {
    isPart: true,
    ...(signal ? { signal } : {}),
  }).catch(offeringForce);
  const [buffer] = buffers;
  if (buffer?.class !== "weight" || buffer.tensor.kind !== "ternary")
    throw new BitNetError("INTERNAL", `convert: ${name} was not bound as a ternary weight`);
  const { scale, source, offset } = buffer.tensor;
  const length = rows * computeRowBytes(cols);
  const where = sources[source];
  const bytes =
    where?.kind === "bytes"
      ? where.bytes.subarray(offset, offset + length)
      : await fileTensor(files, name).source.read(offset, length);
  return { bytes, scale };
}

/** @throws BitNetError as `bindWeights`; FORMAT_INVALID for weights beyond −1, 0, +1. */
export async function readTernary(
  files: WeightFiles,
  name: string,
  shape: TernaryShape,
  signal?: AbortSignal,
): Promise<TernaryWeights> {
  return tritsOf(await readComputeRows(files, name, shape, signal), files.fileName(name), shape);
}

/** @throws BitNetError FORMAT_INVALID for weights beyond −1, 0, +1. */
export function tritsOf(
  { bytes, scale }: ComputeRows,
  fileName: string,
  { rows, cols }: TernaryShape,
): TernaryWeights {
  const rowBytes = computeRowBytes(cols);
  const trits = new Int8Array(rows * cols);
  for (let row = 0; row < rows; row++)
    unpackComputeRow(bytes, row * rowBytes, cols, trits.subarray(row * cols, (row + 1) * cols));
  const wrong = trits.indexOf(2);
  if (wrong >= 0) {
    throw new BitNetError(
      "FORMAT_INVALID",
      `tensor "${fileName}": weight ${wrong} has code 3, which no valid file contains; the file is corrupt or its layout is another one (--i2s-layout)`,
    );
  }
  return { rows, cols, trits, scale };
}

/** Full-precision weights that nobody trained to be ternary can be converted, but not by accident. */
function offeringForce(error: unknown): never {
  if (!(error instanceof BitNetError) || error.code !== "MODEL_UNSUPPORTED") throw error;
  const message = `${error.message}; --force (force) converts the model all the same`;
  throw new BitNetError(error.code, message, { cause: error, details: error.details });
}

function fileTensor(files: WeightFiles, name: string): TensorInfo {
  const tensor = files.tensors.get(files.fileName(name));
  if (tensor !== undefined) return tensor;
  throw new BitNetError("MODEL_INVALID", `tensor "${files.fileName(name)}" is missing from the model file`);
}

/** The stored type of a dense weight. @throws BitNetError FORMAT_UNSUPPORTED for one that is not dense. */
export function denseTypeOf(tensor: TensorInfo): StoredDenseType {
  checkReadable(tensor);
  const { type } = tensor;
  if (typeof type === "string" && !isPackingId(type) && type !== "u8" && type !== "i8") return type;
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `tensor "${tensor.name}" is stored as ${String(type)}, which cannot be converted as an ordinary matrix`,
  );
}

/** A tensor as it is stored, in slices. */
export async function* storedSlices({ source, offset, byteLength }: TensorInfo): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < byteLength; at += sliceBytes)
    yield source.read(offset + at, Math.min(sliceBytes, byteLength - at));
}

/** A dense weight widened to f32, in slices of whole rows. A slice is overwritten by the next one. */
export async function* widenedSlices(tensor: TensorInfo, shape: TernaryShape): AsyncGenerator<Float32Array> {
  const { rows, cols } = shape;
  const type = denseTypeOf(tensor);
  const rowBytes = denseByteLength(type, cols);
  const step = Math.max(1, Math.min(rows, Math.floor(sliceElements / cols)));
  const values = new Float32Array(step * cols);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const bytes = await tensor.source.read(tensor.offset + first * rowBytes, count * rowBytes);
    const slice = values.subarray(0, count * cols);
    widenRows(type, bytes, cols, 0, count, slice);
    yield slice;
  }
}
