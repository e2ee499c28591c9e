/**
 * bitLinear: ternary weights in the compute layout times int8 activations, exact in int32, then scaled. Rows are unpacked one
 * at a time, so that a loaded model takes no more memory than its file.
 */
import { fma } from "../../base/fma.ts";
import { computeRowBytes, unpackComputeRow } from "../../packing/compute-layout.ts";
import type { TernaryTensor } from "../program.ts";

const f32 = Math.fround;

/** int8 rows with one scale each, q = x · s. */
export interface QuantisedRows {
  values: Int8Array; // [nRows, cols]
  scales: Float32Array; // [nRows]
}

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
  for (let r = 0; r < rows; r++) {
    unpackComputeRow(bytes, r * rowBytes, cols, trits);
    for (let i = 0; i < nRows; i++) {
      const s = x.scales[i] as number;
      const base = i * cols;
      let value: number;
      if (scale.kind === "group") {
        const nGroups = cols / scale.size;
        let sum = 0;
        for (let g = 0; g < nGroups; g++) {
          const acc = integerDot(trits, x.values, base, g * scale.size, (g + 1) * scale.size);
          sum = fma(f32(acc), scale.values[r * nGroups + g] as number, sum);
        }
        value = sum * f32(1 / s);
      } else {
        const own = scale.kind === "tensor" ? scale.value : (scale.values[r] as number);
        value = f32(integerDot(trits, x.values, base, 0, cols)) * f32(f32(own) / s);
      }
      out[i * rows + r] = value;
    }
  }
}

function integerDot(trits: Int8Array, values: Int8Array, base: number, from: number, to: number): number {
  let acc = 0;
  for (let k = from; k < to; k++) acc = (acc + (trits[k] as number) * (values[base + k] as number)) | 0;
  return acc;
}
