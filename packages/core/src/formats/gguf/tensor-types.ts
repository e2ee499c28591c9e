/**
 * GGUF tensor types: number → our type and size. Numbers of llama.cpp, bitnet.cpp and ik_llama.cpp; where the forks gave
 * one number to two types, the size in the file decides. Types that are not read keep their number and the reason.
 */
import { BitNetError } from "../../base/errors.ts";
import { denseByteLength } from "../../packing/dense.ts";
import type { PackingId, StoredDenseType } from "../../packing/packing.ts";
import { packings } from "../../packing/registry.ts";
import { matrixShape, type TensorType } from "../tensor.ts";

/** Which of three layouts the I2_S tensors of a file have; nothing in the file tells. Published files are 128/32. */
export type I2sLayout = "128/32" | "64/16" | "rows4";

const i2sPackings: Readonly<Record<I2sLayout, PackingId>> = {
  "128/32": "i2_s",
  "64/16": "i2_s_64",
  rows4: "i2_s_rows4",
};

const denseTypes: Readonly<Record<number, StoredDenseType>> = {
  0: "f32",
  1: "f16",
  2: "q4_0",
  3: "q4_1",
  6: "q5_0",
  7: "q5_1",
  8: "q8_0",
  12: "q4_k",
  13: "q5_k",
  14: "q6_k",
  30: "bf16",
};

const i2sTypeId = 36;
const ternaryTypes: Readonly<Record<number, PackingId>> = {
  34: "tq1_0",
  35: "tq2_0",
  41: "q1_0",
  134: "iq1_bn",
  135: "iq2_bn",
  142: "pq2_0",
  143: "ptq1_0",
};

/** Types whose size is known although they are not read: [name, elements per block, bytes per block]. */
const listedTypes: Readonly<Record<number, readonly [string, number, number]>> = {
  9: ["Q8_1", 32, 36],
  10: ["Q2_K", 256, 84],
  11: ["Q3_K", 256, 110],
  15: ["Q8_K", 256, 292],
  16: ["IQ2_XXS", 256, 66],
  17: ["IQ2_XS", 256, 74],
  18: ["IQ3_XXS", 256, 98],
  19: ["IQ1_S", 256, 50],
  20: ["IQ4_NL", 32, 18],
  21: ["IQ3_S", 256, 110],
  22: ["IQ2_S", 256, 82],
  23: ["IQ4_XS", 256, 136],
  24: ["I8", 1, 1],
  25: ["I16", 1, 2],
  26: ["I32", 1, 4],
  27: ["I64", 1, 8],
  28: ["F64", 1, 8],
  29: ["IQ1_M", 256, 56],
};

/** Numbers that several forks use: the candidate whose size fills the room up to the next tensor is meant. */
const sharedNumbers: Readonly<Record<number, readonly (readonly [string, number, number])[]>> = {
  39: [["MXFP4", 32, 17]],
};

/** Q2_0, in blocks of 64 or, in older files, of 128: the one whose size fills the room is meant. */
const q2TypeId = 42;
const q2Packings = ["q2_0", "q2_0_128"] as const satisfies PackingId[];
type Q2Packing = (typeof q2Packings)[number];

const lookupTable =
  "a tiled lookup layout of bitnet.cpp, which can only be decoded with the tile sizes it was built with; " +
  "use an I2_S file of the model";

interface ResolvedType {
  type: TensorType;
  /** Null where the number does not tell the size. */
  byteLength: number | null;
}

/**
 * The one Q2_0 of a file whose sizes fill the rooms of all its tensors; null where neither does, and of both the newer one. A small tensor alone does
 * not tell: padding hides the difference.
 */
export function q2PackingOf(
  tensors: readonly { typeId: number; shape: readonly number[]; room: number }[],
  alignment: number,
): Q2Packing | null {
  const own = tensors.filter(({ typeId }) => typeId === q2TypeId);
  const fillsAll = (packing: Q2Packing) =>
    own.every(({ shape, room }) => {
      const { byteLength } = sized(q2TypeId, packing, shape);
      return byteLength !== null && byteLength <= room && room - byteLength < alignment;
    });
  return own.length === 0 ? null : (q2Packings.find(fillsAll) ?? null);
}

/** `room` is the distance to the next tensor or the end of the file, padding included, in bytes. */
export function resolveTensorType(
  id: number,
  shape: readonly number[],
  room: number,
  options: { i2sLayout: I2sLayout; alignment: number; q2?: Q2Packing | null },
): ResolvedType {
  const known = id === i2sTypeId ? i2sPackings[options.i2sLayout] : (ternaryTypes[id] ?? denseTypes[id]);
  if (known !== undefined) return sized(id, known, shape);
  const listed = listedTypes[id];
  if (listed !== undefined)
    return unread(id, `${listed[0]} is not a type of ternary models`, blockBytes(shape, listed));
  if (id === 38) return unread(id, `TL1 is ${lookupTable}`, null);
  const fills = (bytes: number | null) => bytes !== null && bytes <= room && room - bytes < options.alignment;
  if (id === q2TypeId) {
    const q2 = (options.q2 ? [options.q2] : q2Packings)
      .map((packing) => sized(id, packing, shape))
      .find(({ byteLength }) => fills(byteLength));
    if (q2 !== undefined) return q2;
  }
  for (const candidate of sharedNumbers[id] ?? []) {
    const bytes = blockBytes(shape, candidate);
    if (fills(bytes)) {
      return unread(id, `${candidate[0]} is not supported yet`, bytes);
    }
  }
  if (id === 39 || id === q2TypeId) return unread(id, `TL2 is ${lookupTable}`, null);
  return unread(id, "an unknown GGUF tensor type", null);
}

/** Bytes of a tensor of a type that is read. @throws BitNetError FORMAT_UNSUPPORTED for a shape that it cannot hold. */
export function tensorByteLength(type: StoredDenseType | PackingId, shape: readonly number[]): number {
  const matrix = matrixShape(shape);
  return type in packings
    ? packings[type as PackingId].byteLength(matrix)
    : matrix.rows * denseByteLength(type as StoredDenseType, matrix.cols);
}

/** The number of a type that GGUF can hold; undefined for `hf_u8`. */
export function typeIdOf(type: StoredDenseType | PackingId): number | undefined {
  if (Object.values(i2sPackings).includes(type as PackingId)) return i2sTypeId;
  if (q2Packings.some((packing) => packing === type)) return q2TypeId;
  const known = Object.entries({ ...denseTypes, ...ternaryTypes }).find(([, name]) => name === type);
  return known === undefined ? undefined : Number(known[0]);
}

function sized(id: number, type: StoredDenseType | PackingId, shape: readonly number[]): ResolvedType {
  try {
    return { type, byteLength: tensorByteLength(type, shape) };
  } catch (error) {
    if (error instanceof BitNetError && error.code === "FORMAT_UNSUPPORTED")
      return unread(id, error.message, null);
    throw error;
  }
}

function unread(id: number, reason: string, byteLength: number | null): ResolvedType {
  return { type: { unknown: id, reason }, byteLength };
}

function blockBytes(
  shape: readonly number[],
  [, elements, bytes]: readonly [string, number, number],
): number | null {
  const { rows, cols } = matrixShape(shape);
  return cols % elements === 0 ? rows * (cols / elements) * bytes : null;
}
