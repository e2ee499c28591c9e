/** Scales of ternary weights as files keep them: in a tensor beside, in a tail, by groups; read and checked. */
import { BitNetError } from "../base/errors.ts";
import { readTensor, type TensorInfo, typeName } from "../formats/tensor.ts";
import { widenRows } from "../packing/dense.ts";
import { i2sTailBytes, readI2sScale } from "../packing/i2-s.ts";
import type { Scale } from "../packing/packing.ts";
import type { MasterType } from "../packing/ternarise.ts";

/** Types of master weights, and of single numbers beside weights. */
export const masterTypes: readonly string[] = ["f32", "f16", "bf16"] satisfies MasterType[];

/** Groups of 64 in which pairs have one scale are groups of 128, in which blocks of weights are computed. */
export function inWholeBlocks(tensor: TensorInfo, scale: Scale): Scale {
  if (scale.kind !== "group" || scale.size !== 64) return scale;
  const values = new Float32Array(scale.values.length / 2);
  for (let i = 0; i < values.length; i++) {
    const [low = 0, high = 0] = scale.values.subarray(2 * i, 2 * i + 2);
    if (low !== high && low !== 0 && high !== 0) {
      throw new BitNetError(
        "FORMAT_UNSUPPORTED",
        `tensor "${tensor.name}" has a scale for each 64 weights, and those of group ${i} of 128 differ (${low} and ${high}); only pairs of equal scales can be computed with`,
        { details: { tensor: tensor.name } },
      );
    }
    values[i] = low || high;
  }
  return { kind: "group", size: 128, values };
}

/** The single number of a scale tensor. */
export async function readNumber(scaleTensor: TensorInfo | undefined, weight: TensorInfo): Promise<number> {
  const [number = Number.NaN] = await readNumbers(scaleTensor, weight, 1);
  return number;
}

/** The numbers of a scale tensor: one, or one for each of `rows` ([rows], [rows, 1]). */
export async function readNumbers(
  scaleTensor: TensorInfo | undefined,
  weight: TensorInfo,
  rows: number,
): Promise<Float32Array> {
  const shape = scaleTensor?.shape ?? [];
  const count = shape.reduce((product, n) => product * n, 1);
  const isOne = count === 1;
  const isPerRow = count === rows && shape[0] === rows;
  if (!scaleTensor || !isOneOf<MasterType>(scaleTensor.type, masterTypes) || !(isOne || isPerRow)) {
    const name = scaleTensor?.name ?? scaleName(weight);
    const wanted = rows === 1 ? "a single number" : "a single number, or one for each row,";
    throw new BitNetError(
      "MODEL_INVALID",
      `tensor "${weight.name}" needs ${wanted} "${name}" beside it, found ${scaleTensor ? `${typeName(scaleTensor.type)} [${shape.join(", ")}]` : "nothing"}`,
      { details: { tensor: name } },
    );
  }
  const values = new Float32Array(count);
  widenRows(scaleTensor.type, await readTensor(scaleTensor), count, 0, 1, values);
  return values;
}

export function scaleName({ name }: TensorInfo): string {
  return name.replace(/\.weight$/, ".weight_scale");
}

/** The scale in the tail of an I2_S tensor, without reading its weights. */
export async function readTailScale({ source, offset, byteLength }: TensorInfo): Promise<Scale> {
  const tail = await source.read(offset + byteLength - i2sTailBytes, i2sTailBytes);
  return { kind: "tensor", value: readI2sScale(tail, i2sTailBytes) };
}

export function checkScale(tensor: TensorInfo, scale: Scale): void {
  const values = scale.kind === "tensor" ? [scale.value] : scale.values;
  for (const value of values) {
    if (Number.isFinite(value)) continue;
    throw new BitNetError(
      "MODEL_INVALID",
      `tensor "${tensor.name}" has a scale of ${value}; the file may be corrupt`,
      {
        details: { tensor: tensor.name },
      },
    );
  }
}

export function isOneOf<T extends string>(type: unknown, list: readonly string[]): type is T {
  return typeof type === "string" && list.includes(type);
}
