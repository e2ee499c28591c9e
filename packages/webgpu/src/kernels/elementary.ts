/** exp and f16 in WGSL of our own: what the language offers is less exact, or rounds as the driver likes. */
import { elementaryConstants } from "@bitnet.ts/core";

const { log2e, ln2High, ln2Low, expLowest, expHighest, expPolynomial, logPolynomial, sqrtHalfBits } =
  elementaryConstants;
const [horner0, ...horner] = expPolynomial.toReversed().map(literal);
const [logHorner0, ...logHorner] = logPolynomial.toReversed().map(literal);

/** A constant that reads back as the same f32. */
export function literal(value: number): string {
  const text = String(value);
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
}

/** As base/elementary.ts, but for what is fused; within 3 units in the last place. */
export const expFunction = `
fn expOf(x: f32) -> f32 {
  if (x < ${literal(expLowest)}) { return 0.0; }
  if (x > ${literal(expHighest)}) { return bitcast<f32>(infinityBits()); }
  let n = round(x * ${literal(log2e)});
  var r = fma(n, -${literal(ln2High)}, x);
  r = fma(n, -${literal(ln2Low)}, r);
  var p = ${horner0};
  ${horner.map((coefficient) => `p = fma(p, r, ${coefficient});`).join("\n  ")}
  return p * bitcast<f32>(u32(i32(n) + 127) << 23u);
}
// Not a constant, which the language would refuse.
fn infinityBits() -> u32 { return select(0x7f800000u, 0u, step.nRows == 0xffffffffu); }
`;

/** As base/elementary.ts, but for what is fused. Of positive normal values; relative to the larger of result and ln 2 within 8 units of the last place. */
export const logFunction = `
fn logOf(x: f32) -> f32 {
  let shifted = bitcast<i32>(x) - ${sqrtHalfBits};
  let exponent = f32(shifted >> 23u);
  let f = bitcast<f32>((shifted & 0x007fffff) + ${sqrtHalfBits}) - 1.0;
  var q = ${logHorner0};
  ${logHorner.map((coefficient) => `q = fma(q, f, ${coefficient});`).join("\n  ")}
  let z = f * f;
  var y = (f * z) * q;
  y = fma(exponent, ${literal(ln2Low)}, y);
  y = fma(-0.5, z, y);
  y = f + y;
  return fma(exponent, ${literal(ln2High)}, y);
}
`;

/** Nearest, ties to even, saturating at ±65504, and back; subnormals are kept whatever the device does with those of f32. */
export const f16Functions = `
fn toF16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let sign = (bits >> 16u) & 0x8000u;
  let a = bits & 0x7fffffffu;
  if (a >= 0x477fe000u) { return sign | 0x7bffu; }
  if (a < 0x38800000u) { return sign | u32(round(bitcast<f32>(a) * 16777216.0)); }
  return sign | ((a + 0x0fffu + ((a >> 13u) & 1u) - 0x38000000u) >> 13u);
}
`;

export const fromF16Function = `
fn fromF16(h: u32) -> f32 {
  let sign = (h & 0x8000u) << 16u;
  let exponent = (h >> 10u) & 31u;
  let small = bitcast<u32>(f32(h & 0x3ffu) * 5.9604644775390625e-8);
  let large = ((h & 0x7fffu) << 13u) + 0x38000000u;
  let special = large + 0x38000000u;
  return bitcast<f32>(sign | select(select(large, special, exponent == 31u), small, exponent == 0u));
}
`;
