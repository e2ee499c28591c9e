/**
 * Between the scales as formats store them (one per block or row) and the `Scale` that the rest of the system uses.
 * Knows no layout.
 */

import { BitNetError } from "../base/errors.ts";
import { f16ToF32, f32ToF16 } from "../base/float16.ts";
import type { PackingId, Scale, TernaryShape } from "./packing.ts";

/**
 * True when all weights of block `index` are zero. Quantisers store scale 0 for such a block, which must not cost a
 * tensor its single scale: zero times any scale is zero.
 */
type IsEmpty = (index: number) => boolean;

/** One scale per `size` columns, or one for the tensor where all are equal. `values` is kept. */
export function groupScale(values: Float32Array, size: number, isEmpty: IsEmpty): Scale {
  return tensorScaleIfUniform(values, isEmpty) ?? { kind: "group", size, values };
}

/** One scale per row, or one for the tensor where all are equal. `values` is kept. */
export function rowScale(values: Float32Array, isEmpty: IsEmpty): Scale {
  return tensorScaleIfUniform(values, isEmpty) ?? { kind: "row", values };
}

function tensorScaleIfUniform(values: Float32Array, isEmpty: IsEmpty): Scale | null {
  const common = values.find((value) => value !== 0) ?? 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (!Object.is(value, common) && (value !== 0 || !isEmpty(i))) return null;
  }
  return { kind: "tensor", value: common };
}

/** The single scale of a tensor. @throws BitNetError FORMAT_UNSUPPORTED for a layout that holds no finer one. */
export function tensorScaleValue(id: PackingId, scale: Scale): number {
  if (scale.kind !== "tensor") {
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `${id}: holds one scale per tensor, found one per ${scale.kind}`,
    );
  }
  return scale.value;
}

/** The scale of each run of `size` columns, [rows, cols / size]; `size` divides cols. */
export function scalePerGroup(id: PackingId, scale: Scale, shape: TernaryShape, size: number): Float32Array {
  const perRow = shape.cols / size;
  const spread = new Float32Array(shape.rows * perRow);
  if (scale.kind === "group" && (scale.size % size !== 0 || shape.cols % scale.size !== 0)) {
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `${id}: holds one scale per ${size} of ${shape.cols} columns, found one per ${scale.size}`,
    );
  }
  for (let i = 0; i < spread.length; i++) {
    spread[i] = scaleAt(scale, shape.cols, Math.floor(i / perRow), (i % perRow) * size);
  }
  return spread;
}

function scaleAt(scale: Scale, cols: number, row: number, col: number): number {
  if (scale.kind === "tensor") return scale.value;
  const index = scale.kind === "row" ? row : row * (cols / scale.size) + Math.floor(col / scale.size);
  const value = scale.values[index];
  if (value === undefined) {
    throw new BitNetError("INVALID_ARGUMENT", `scale: no value for row ${row}, column ${col}`);
  }
  return value;
}

/** The f16 pattern of a scale. @throws BitNetError FORMAT_UNSUPPORTED when it is too large for f16. */
export function scaleToF16(id: PackingId, scale: number): number {
  const bits = f32ToF16(scale);
  if (Number.isFinite(scale) && !Number.isFinite(f16ToF32(bits))) {
    throw new BitNetError("FORMAT_UNSUPPORTED", `${id}: scale ${scale} does not fit f16 (at most 65504)`);
  }
  return bits;
}
