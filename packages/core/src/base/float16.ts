/**
 * Scalar conversions between f32 and the two 16-bit float formats: IEEE binary16 (f16) and bfloat16 (bf16). Widening is
 * exact; narrowing rounds to nearest, ties to even, subnormals kept. A 16-bit value travels as its bit pattern, an
 * unsigned integer. NaN narrows to one canonical pattern, because a JavaScript number does not keep a NaN's bits.
 */

const scratch = new DataView(new ArrayBuffer(4));

/** 2⁻¹⁴, the smallest normal f16. */
const minNormalF16 = 0x38800000;
/** 65520 as f32 bits: from here on rounding to f16 overflows to infinity. */
const overflowF16 = 0x477ff000;
const infinityF32 = 0x7f800000;
const nanF16 = 0x7e00;
const nanBf16 = 0x7fc0;

function bitsOfF32(x: number): number {
  scratch.setFloat32(0, x);
  return scratch.getInt32(0);
}

function f32OfBits(bits: number): number {
  scratch.setInt32(0, bits);
  return scratch.getFloat32(0);
}

/** The exact value of an f16 bit pattern. */
export function f16ToF32(bits: number): number {
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  const sign = (bits & 0x8000) << 16;
  if (exponent === 0x1f) return f32OfBits(sign | infinityF32 | (fraction << 13));
  if (exponent === 0) return sign === 0 ? fraction * 2 ** -24 : -fraction * 2 ** -24;
  return f32OfBits(sign | ((exponent + 112) << 23) | (fraction << 13));
}

/** The f16 bit pattern nearest to `x` taken as f32; beyond ±65520 it is ±infinity. */
export function f32ToF16(x: number): number {
  const bits = bitsOfF32(x);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > infinityF32) return nanF16;
  if (magnitude >= overflowF16) return sign | 0x7c00;
  if (magnitude >= minNormalF16) {
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | ((rounded - (112 << 23)) >>> 13);
  }
  // Units of 2⁻²⁴: adding 2⁵² leaves no fraction bits, so this one f64 addition rounds to the nearest even integer.
  const units = f32OfBits(magnitude) * 2 ** 24 + 2 ** 52 - 2 ** 52;
  return sign | units;
}

/** Like `f32ToF16`, but finite and infinite values beyond the range become ±65504: the KV cache's rule. */
export function f32ToF16Saturating(x: number): number {
  const bits = f32ToF16(x);
  return (bits & 0x7fff) === 0x7c00 ? bits - 1 : bits;
}

/** The exact value of a bf16 bit pattern. */
export function bf16ToF32(bits: number): number {
  return f32OfBits(bits << 16);
}

/** The bf16 bit pattern nearest to `x` taken as f32. */
export function f32ToBf16(x: number): number {
  const bits = bitsOfF32(x);
  if ((bits & 0x7fffffff) > infinityF32) return nanBf16;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}
