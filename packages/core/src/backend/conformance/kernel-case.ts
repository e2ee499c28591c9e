/** What the vectors of all kernels are made of: a case, and random bytes of dense elements. */
import { f32ToBf16, f32ToF16 } from "../../base/float16.ts";
import type { DenseType } from "../../packing/packing.ts";
import type { Draw } from "./case.ts";

export type Vector = Float32Array | Int32Array | Int8Array | Uint8Array | Uint16Array | Uint32Array;

export interface KernelCase {
  kernel: string;
  params: readonly number[];
  /** Inputs, then answers. */
  arrays: readonly Vector[];
}

/** Finite random elements of a plain type, as its bytes. */
export function denseBytes(draw: Draw, type: DenseType, n: number): Uint8Array {
  const values = draw.floats(n);
  if (type === "f32") return new Uint8Array(values.buffer);
  return new Uint8Array(Uint16Array.from(values, type === "f16" ? f32ToF16 : f32ToBf16).buffer);
}
