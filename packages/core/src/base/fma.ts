/**
 * Correctly rounded f32 fused multiply-add from f64 arithmetic: the exact product, TwoSum with the addend, rounding to odd,
 * then one rounding to f32. (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008.)
 */

const f64 = new Float64Array(1);
const words = new Int32Array(f64.buffer);
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const low = littleEndian ? 0 : 1;
const high = 1 - low;

/** f32(a · b + c) with one rounding. All three must be f32 values; the result is one. */
export function fma(a: number, b: number, c: number): number {
  const product = a * b; // exact: 48 bits of significand at most
  const sum = product + c;
  const bb = sum - product;
  const error = product - (sum - bb) + (c - bb);
  // Infinite operands make the error NaN, which must not disturb the sum.
  if (error === 0 || Number.isNaN(error)) return Math.fround(sum);
  f64[0] = sum;
  const lowWord = words[low] as number;
  if ((lowWord & 1) === 0) {
    if (error > 0 === sum > 0) {
      words[low] = lowWord | 1;
    } else {
      if (lowWord === 0) words[high] = (words[high] as number) - 1;
      words[low] = lowWord - 1;
    }
  }
  return Math.fround(f64[0] as number);
}
