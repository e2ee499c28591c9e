/**
 * Trits and a scale as bf16 master weights that ternarise to exactly these trits and this scale: weights of ±v and ±v′, neighbouring
 * values in bf16, as many of each as make the mean magnitude the scale.
 */
import { BitNetError } from "../base/errors.ts";
import { bf16ToF32, f32ToBf16 } from "../base/float16.ts";

/**
 * @param trits A whole tensor, in {−1, 0, +1}.
 * @returns bf16, little-endian.
 * @throws BitNetError FORMAT_UNSUPPORTED when the scale is not a bf16 number: the mean of what is written would be rounded to another one.
 */
export function masterWeights(trits: Int8Array, scale: number): Uint8Array {
  const out = new Uint8Array(2 * trits.length);
  const view = new DataView(out.buffer);
  let nNonzero = 0;
  for (const trit of trits) if (trit !== 0) nNonzero++;
  if (nNonzero === 0) return out;
  if (!(scale > 0) || bf16ToF32(f32ToBf16(scale)) !== scale) {
    throw new BitNetError(
      "FORMAT_UNSUPPORTED",
      `the scale ${scale} is not a positive bf16 number (the nearest is ${bf16ToF32(f32ToBf16(scale))}), and bf16 masters cannot give any other; convert to hf-packed`,
    );
  }
  const wanted = (scale * trits.length) / nNonzero; // mean magnitude of the nonzero ones
  let lowBits = f32ToBf16(wanted);
  if (bf16ToF32(lowBits) > wanted) lowBits--;
  const low = bf16ToF32(lowBits);
  const high = bf16ToF32(lowBits + 1);
  const nHigh = Math.round((nNonzero * (wanted - low)) / (high - low));
  let seen = 0;
  for (let i = 0; i < trits.length; i++) {
    const trit = trits[i] ?? 0;
    if (trit === 0) continue;
    // The larger ones are spread evenly.
    const isHigh = Math.floor(((seen + 1) * nHigh) / nNonzero) > Math.floor((seen * nHigh) / nNonzero);
    seen++;
    view.setUint16(2 * i, (isHigh ? lowBits + 1 : lowBits) | (trit < 0 ? 0x8000 : 0), true);
  }
  return out;
}
