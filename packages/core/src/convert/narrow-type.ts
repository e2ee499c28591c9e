/** The narrowest float type that holds every value of some weights exactly. */
import { BitNetError } from "../base/errors.ts";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../base/float16.ts";
import type { StoredDenseType } from "../packing/packing.ts";
import type { SourceWeight } from "./source.ts";
import { denseTypeOf, widenedSlices } from "./weights.ts";

const rounders: Readonly<Partial<Record<StoredDenseType, (value: number) => number>>> = {
  bf16: (value) => bf16ToF32(f32ToBf16(value)),
  f16: (value) => f16ToF32(f32ToF16(value)),
  f32: (value) => value,
};

/**
 * @param candidates In order of preference; the last one is taken without looking.
 * @param shiftOf What is taken away from a weight's values before they are written.
 */
export async function narrowestExact(
  weights: readonly SourceWeight[],
  candidates: readonly StoredDenseType[],
  shiftOf: (weight: SourceWeight) => number = () => 0,
): Promise<StoredDenseType> {
  for (const candidate of candidates.slice(0, -1))
    if (await holdsAll(candidate, weights, shiftOf)) return candidate;
  const last = candidates.at(-1);
  if (last === undefined) throw new BitNetError("INTERNAL", "convert: no type to choose from");
  return last;
}

async function holdsAll(
  type: StoredDenseType,
  weights: readonly SourceWeight[],
  shiftOf: (weight: SourceWeight) => number,
): Promise<boolean> {
  const round = rounders[type];
  if (round === undefined) return false;
  for (const weight of weights) {
    const shift = shiftOf(weight);
    if (denseTypeOf(weight.tensor) === type && shift === 0) continue;
    for await (const values of widenedSlices(weight.tensor, weight))
      for (const value of values) if (round(value - shift) !== value - shift) return false;
  }
  return true;
}

/** Norms are what some families' folders hold less 1. */
export function isNorm(ggufName: string): boolean {
  return /norm(_in)?\.weight$/.test(ggufName);
}
