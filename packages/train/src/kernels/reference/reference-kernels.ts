/** The reference kernels: plain TypeScript, in f32 what every other implementation must equal bit for bit, in f64 for gradient checks. */
import type { Kernels } from "../kernels.ts";
import { attentionKernels } from "./attention.ts";
import { f32Numbers, f64Numbers } from "./numbers.ts";
import { productKernels } from "./products.ts";
import { rowKernels } from "./rows.ts";

export function referenceKernels(precision: "f32" | "f64"): Kernels {
  const numbers = precision === "f32" ? f32Numbers : f64Numbers;
  return {
    name: `reference ${precision}`,
    hasBrains: true,
    allocate: numbers.array,
    ...rowKernels(numbers),
    ...productKernels(numbers),
    ...attentionKernels(numbers),
    dispose() {},
  };
}
