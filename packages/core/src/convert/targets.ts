/** What a model can be converted to. */
import type { DenseType, PackingId } from "../packing/packing.ts";

export const conversionTargets = [
  "i2_s",
  "tq1_0",
  "tq2_0",
  "q1_0",
  "q2_0",
  "pq2_0",
  "ptq1_0",
  "hf-packed",
  "hf-bf16",
] as const;

/** A GGUF file with its ternary tensors in a packing, or a Hugging Face folder: packed, or as bf16 masters. */
export type ConversionTarget = (typeof conversionTargets)[number];

export const embeddingTypes = ["f16", "bf16", "q8_0", "q6_k", "q4_0"] as const satisfies DenseType[];
export type EmbeddingType = (typeof embeddingTypes)[number];

export type GgufTarget = Exclude<ConversionTarget, "hf-packed" | "hf-bf16">;

export function isGgufTarget(target: ConversionTarget): target is GgufTarget {
  return !target.startsWith("hf-");
}

/** Columns that share a scale; null: the whole tensor. */
export const groupSizes: Readonly<Record<GgufTarget, number | null>> = {
  i2_s: null,
  tq1_0: 256,
  tq2_0: 256,
  q1_0: 128,
  q2_0: 64,
  pq2_0: 128,
  ptq1_0: 128,
} satisfies Partial<Record<PackingId, number | null>>;

/** `general.file_type`, where a number is agreed upon. */
export const fileTypes: Readonly<Partial<Record<GgufTarget, number>>> = { i2_s: 40, tq1_0: 36, tq2_0: 37 };
