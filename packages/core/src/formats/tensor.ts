/**
 * What every model file format is read into: tensors by reference. Nothing of a tensor's data is read until it is asked
 * for; readers guarantee that its bytes lie inside the source.
 */
import type { ByteSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";
import type { PackingId, StoredDenseType, TernaryShape } from "../packing/packing.ts";
import { packings } from "../packing/registry.ts";

/** A type that is listed but not read: the number or name that the format gives it, and why it is not read. */
interface UnreadType {
  unknown: number | string;
  reason: string;
}

/** `u8` and `i8` are plain integers of safetensors files; nothing here widens them. */
export type TensorType = StoredDenseType | PackingId | "u8" | "i8" | UnreadType;

export interface TensorInfo {
  readonly name: string;
  /** Row-major: [rows, cols] for a matrix. Of `hf_u8`, the shape of the weights: four times the stored rows. */
  readonly shape: readonly number[];
  readonly type: TensorType;
  readonly source: ByteSource;
  /** Position in `source`, in bytes. */
  readonly offset: number;
  /** Bytes at `offset`, inside the source. Of a type of unknown size, the room up to the next tensor. */
  readonly byteLength: number;
}

export function isPackingId(type: TensorType): type is PackingId {
  return typeof type === "string" && Object.hasOwn(packings, type);
}

/** A tensor as a matrix: leading dimensions are rows, the last one columns. */
export function matrixShape(shape: readonly number[]): TernaryShape {
  return { rows: shape.slice(0, -1).reduce((product, n) => product * n, 1), cols: shape.at(-1) ?? 1 };
}

/** The name of a type, for messages and listings. */
export function typeName(type: TensorType): string {
  return typeof type === "string"
    ? type
    : typeof type.unknown === "number"
      ? `type ${type.unknown}`
      : type.unknown;
}

/** @throws BitNetError FORMAT_UNSUPPORTED, with the reason, for a type that is only listed. */
export function checkReadable(tensor: TensorInfo): void {
  if (typeof tensor.type === "string") return;
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `tensor "${tensor.name}" is of ${typeName(tensor.type)}, which is not read here: ${tensor.type.reason}`,
    { details: { tensor: tensor.name, type: tensor.type.unknown } },
  );
}

/**
 * Reads all bytes of a tensor, in the layout of its type. The result may be a view of shared memory: do not modify it.
 * @throws BitNetError FORMAT_UNSUPPORTED for a type that is only listed, FORMAT_TRUNCATED or IO_FAILED from the source.
 */
export async function readTensor(tensor: TensorInfo): Promise<Uint8Array> {
  checkReadable(tensor);
  return tensor.source.read(tensor.offset, tensor.byteLength);
}
