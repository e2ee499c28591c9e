/**
 * bitLinear: ternary weights in the compute layout times int8 activations, exact in int32, then scaled. Rows are unpacked one
 * at a time, so that a loaded model takes no more memory than its file.
 */
import { fma } from "../../base/fma.ts";
import { computeRowBytes, unpackComputeRow } from "../../packing/compute-layout.ts";
import type { TernaryTensor } from "../program.ts";
import { foldStripes } from "./rows.ts";

const f32 = Math.fround;

/** int8 rows with one scale each, q = x · s, or one for each group of 128 columns. */
export interface QuantisedRows {
  values: Int8Array | Float32Array; // [nRows, cols]; floats where activations stay what they are
  scales: Float32Array; // [nRows], or [nRows, groups]
  isGrouped: boolean;
}

const groupSize = 128;

/** out[i, r] = W[r] · x[i], out [nRows, tensor.rows]. `bytes` holds the tensor's rows and nothing else. */
export function bitLinear(
  tensor: TernaryTensor,
  bytes: Uint8Array,
  x: QuantisedRows,
  nRows: number,
  out: Float32Array,
): void {
  const { rows, cols, scale } = tensor;
  const rowBytes = computeRowBytes(cols);
  const trits = new Int8Array(cols);
  const { values } = x;
  for (let r = 0; r < rows; r++) {
    unpackComputeRow(bytes, r * rowBytes, cols, trits);
    if (values instanceof Float32Array) {
      for (let i = 0; i < nRows; i++)
        out[i * rows + r] = floatDot(trits, values.subarray(i * cols, (i + 1) * cols), scale, r);
      continue;
    }
    for (let i = 0; i < nRows; i++) {
      const s = x.scales[i] as number;
      const base = i * cols;
      let value: number;
      if (x.isGrouped) {
        value = groupedDot(trits, x, i, tensor, r);
      } else if (scale.kind === "group") {
        const nGroups = cols / scale.size;
        let sum = 0;
        for (let g = 0; g < nGroups; g++) {
          const acc = integerDot(trits, values, base, g * scale.size, (g + 1) * scale.size);
          sum = fma(f32(acc), scale.values[r * nGroups + g] as number, sum);
        }
        value = sum * f32(1 / s);
      } else {
        const own = scale.kind === "tensor" ? scale.value : (scale.values[r] as number);
        value = f32(integerDot(trits, values, base, 0, cols)) * f32(f32(own) / s);
      }
      out[i * rows + r] = value;
    }
  }
}

/** In f64 and rounded once: what nothing was rounded for. */
function floatDot(trits: Int8Array, x: Float32Array, scale: TernaryTensor["scale"], r: number): number {
  const { length } = trits;
  const size = scale.kind === "group" ? scale.size : length;
  let sum = 0;
  for (let from = 0, g = 0; from < length; from += size, g++) {
    let own = 0;
    for (let k = from; k < Math.min(length, from + size); k++) own += (trits[k] as number) * (x[k] as number);
    const factor =
      scale.kind === "tensor"
        ? scale.value
        : (scale.values[scale.kind === "row" ? r : r * (length / size) + g] as number);
    sum += own * factor;
  }
  return f32(sum);
}

/** Chains of integers that become floats group by group: chain 8 · (group mod 2) + ⌊(column mod 32) / 4⌋. */
function groupedDot(
  trits: Int8Array,
  x: QuantisedRows,
  i: number,
  { cols, scale }: TernaryTensor,
  r: number,
): number {
  const nGroups = Math.ceil(cols / groupSize);
  const chains = new Float32Array(16);
  for (let g = 0; g < nGroups; g++) {
    const reciprocal = f32(1 / (x.scales[i * nGroups + g] as number));
    const own =
      scale.kind === "group"
        ? (scale.values[r * (cols / scale.size) + Math.floor((g * groupSize) / scale.size)] as number)
        : 1;
    const factor = f32(own * reciprocal);
    const sums = new Int32Array(8);
    for (let k = g * groupSize; k < Math.min(cols, (g + 1) * groupSize); k++) {
      const chain = (k % 32) >> 2;
      sums[chain] = (sums[chain] as number) + (trits[k] as number) * (x.values[i * cols + k] as number);
    }
    for (const [j, sum] of sums.entries()) {
      const chain = 8 * (g % 2) + j;
      chains[chain] = fma(sum, factor, chains[chain] as number);
    }
  }
  const sum = foldStripes(chains);
  if (scale.kind === "group") return sum;
  return sum * f32(scale.kind === "tensor" ? scale.value : (scale.values[r] as number));
}

function integerDot(trits: Int8Array, values: Int8Array, base: number, from: number, to: number): number {
  let acc = 0;
  for (let k = from; k < to; k++) acc = (acc + (trits[k] as number) * (values[base + k] as number)) | 0;
  return acc;
}
