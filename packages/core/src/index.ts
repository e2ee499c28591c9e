/** Everything of core that runs anywhere. */
export * from "./backend/backend.ts";
export * from "./backend/program.ts";
export { createReferenceBackend, type ReferenceOptions } from "./backend/reference/reference-backend.ts";
export * from "./backend/step.ts";
export { validateProgram, validateStep } from "./backend/validate.ts";
export * from "./base/byte-source.ts";
export { elementaryConstants } from "./base/elementary.ts";
export * from "./base/errors.ts";
export { denseByteLength } from "./packing/dense.ts";
export type { DenseType, PackingId, Scale, TernaryShape } from "./packing/packing.ts";
