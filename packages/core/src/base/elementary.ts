/**
 * exp and log in f32 from fma, +, × and integer steps only, so that every engine and every ISA gives the same bits. The
 * constants here are the only ones: the C++ header is generated from `elementaryConstants`.
 *
 * exp: n = rne(x · log₂e), two-step reduction r = x − n·ln2, polynomial of degree 6 (minimax in relative error for the
 * terms from r² on), × 2ⁿ. log: x = 2ᵉ·m with m in [√½, √2), f = m − 1, f − f²/2 + f³·Q(f) with Q of degree 8.
 */
import { fma } from "./fma.ts";

const f32 = Math.fround;

export const elementaryConstants = {
  log2e: f32(Math.LOG2E),
  /** ln 2 to 15 bits, so that n · ln2High is exact for the exponents of f32. */
  ln2High: f32(0.693145751953125),
  ln2Low: f32(0.0000014286068203094173),
  /** exp gives 0 below and +Infinity above. */
  expLowest: f32(-87.3),
  expHighest: f32(88.37),
  /** Coefficients of r⁰ … r⁶. */
  expPolynomial: [
    1,
    1,
    f32(0.4999999403953552),
    f32(0.1666652113199234),
    f32(0.04166838899254799),
    f32(0.00836874544620514),
    f32(0.001381453825160861),
  ],
  /** Coefficients of f⁰ … f⁸ in Q. */
  logPolynomial: [
    f32(0.3333331346511841),
    f32(-0.25000008940696716),
    f32(0.2000211924314499),
    f32(-0.16667994856834412),
    f32(0.14219549298286438),
    f32(-0.12405595183372498),
    f32(0.11888185143470764),
    f32(-0.11675625294446945),
    f32(0.06746559590101242),
  ],
  /** 1.5 · 2²³: adding and subtracting it rounds |x| < 2²² to the nearest integer, ties to even. */
  roundingMagic: 12582912,
  /** Bits of √½. */
  sqrtHalfBits: 0x3f3504f3,
  /** gelu(g) = g / (1 + exp(−geluScale · (g + geluCubic · g³))). */
  geluScale: f32(1.5957691216057308),
  geluCubic: f32(0.044715),
} as const;

const c = elementaryConstants;
const [e0, e1, e2, e3, e4, e5, e6] = c.expPolynomial;
const logHorner = c.logPolynomial.toReversed();

const scratch = new Float32Array(1);
const scratchBits = new Int32Array(scratch.buffer);

/** Nearest integer, ties to even, as f32; |x| < 2²². */
export function roundTiesToEven(x: number): number {
  return f32(f32(x + c.roundingMagic) - c.roundingMagic);
}

/** e^x in f32; relative error below 1.2·10⁻⁷. 0 below −87.3, +Infinity above 88.37. `x` is an f32 value. */
export function expF32(x: number): number {
  if (x < c.expLowest) return 0;
  if (x > c.expHighest) return Number.POSITIVE_INFINITY;
  const n = roundTiesToEven(f32(x * c.log2e));
  let r = fma(n, -c.ln2High, x);
  r = fma(n, -c.ln2Low, r);
  let p = fma(e6, r, e5);
  p = fma(p, r, e4);
  p = fma(p, r, e3);
  p = fma(p, r, e2);
  p = fma(p, r, e1);
  p = fma(p, r, e0);
  scratchBits[0] = (n + 127) << 23;
  return f32(p * (scratch[0] as number));
}

/** Natural logarithm in f32 of a positive normal f32 value; log 0 = −Infinity. */
export function logF32(x: number): number {
  if (x === 0) return Number.NEGATIVE_INFINITY;
  scratch[0] = x;
  const shifted = (scratchBits[0] as number) - c.sqrtHalfBits;
  const exponent = shifted >> 23;
  scratchBits[0] = (shifted & 0x007fffff) + c.sqrtHalfBits;
  const f = f32((scratch[0] as number) - 1);
  let q = 0;
  for (const coefficient of logHorner) q = fma(q, f, coefficient);
  const z = f32(f * f);
  let y = f32(f32(f * z) * q);
  y = fma(exponent, c.ln2Low, y);
  y = fma(-0.5, z, y);
  y = f32(f + y);
  return fma(exponent, c.ln2High, y);
}
