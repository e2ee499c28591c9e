/** The operations that native/engine runs; fused ones that it lacked would be run as their definitions. */
import type { OpName } from "../operations.ts";

export const engineOperations: readonly OpName[] = [
  "embed",
  "rmsNormQuant",
  "rmsNorm",
  "quantise",
  "bitLinear",
  "ropeKv",
  "rope",
  "writeKv",
  "attention",
  "gatedActivation",
  "activation",
  "multiply",
  "bias",
  "lora",
  "scale",
  "residual",
  "head",
];
