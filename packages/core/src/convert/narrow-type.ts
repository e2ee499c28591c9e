/** The narrowest float type that holds every value of some weights exactly. */
import { BitNetError } from "../base/errors.ts";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../base/float16.ts";
import { patternValues } from "../packing/dense.ts";
import type { StoredDenseType } from "../packing/packing.ts";
import { isLookedUp, storedWords } from "./pattern-tables.ts";
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
    const stored = denseTypeOf(weight.tensor);
    if (stored === type && shift === 0) continue;
    const isExact = (value: number) => round(value - shift) === value - shift;
    if (isLookedUp(stored, weight)) {
      const areExact = Uint8Array.from(patternValues(stored), (value) => Number(isExact(value)));
      for await (const words of storedWords(weight.tensor))
        for (let i = 0; i < words.length; i++) if (areExact[words[i] ?? 0] === 0) return false;
      continue;
    }
    for await (const values of widenedSlices(weight.tensor, weight))
      for (const value of values) if (!isExact(value)) return false;
  }
  return true;
}

/** Norms are what some families' folders hold less 1, those inside of linear layers apart. */
export function isNorm(ggufName: string): boolean {
  return /norm\.weight$/.test(ggufName);
}
