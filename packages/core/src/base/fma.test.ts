import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fma } from "./fma.ts";

const f32 = Math.fround;

/** value = mantissa · 2^exponent exactly. */
function decompose(x: number): { mantissa: bigint; exponent: number } {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, x);
  const bits = view.getUint32(0);
  const field = (bits >>> 23) & 0xff;
  const fraction = BigInt(bits & 0x7fffff);
  const mantissa = field === 0 ? fraction : fraction | 0x800000n;
  return { mantissa: bits >>> 31 ? -mantissa : mantissa, exponent: Math.max(field, 1) - 150 };
}

/** a · b + c in exact integers, rounded once to f32 (ties to even). */
function exactFma(a: number, b: number, c: number): number {
  const [x, y, z] = [decompose(a), decompose(b), decompose(c)];
  const exponent = Math.min(x.exponent + y.exponent, z.exponent);
  const product = (x.mantissa * y.mantissa) << BigInt(x.exponent + y.exponent - exponent);
  const sum = product + (z.mantissa << BigInt(z.exponent - exponent));
  if (sum === 0n) return a * b + c; // only the sign of zero is left to decide
  const magnitude = sum < 0n ? -sum : sum;
  const length = magnitude.toString(2).length;
  const drop = Math.max(length - 24, -149 - exponent);
  let rounded = drop > 0 ? magnitude >> BigInt(drop) : magnitude;
  if (drop > 0) {
    const rest = magnitude - (rounded << BigInt(drop));
    const half = 1n << BigInt(drop - 1);
    if (rest > half || (rest === half && (rounded & 1n) === 1n)) rounded += 1n;
  }
  const result = Number(rounded) * 2 ** Math.max(exponent + Math.max(drop, 0), -1070);
  return (sum < 0n ? -1 : 1) * (result > 3.4028234663852886e38 ? Number.POSITIVE_INFINITY : result);
}

describe("fma", () => {
  it.each([
    // 1 + 2⁻²⁴ + 2⁻⁷⁰: f64 drops the last term and Math.fround then ties down to 1
    [2 ** -35, 2 ** -35, f32(1 + 2 ** -23) * 2 ** -24 + 0, "tail"],
    [f32(1 + 2 ** -12), f32(1 + 2 ** -12), 2 ** -60, "square"],
    [f32(1 + 2 ** -23), f32(1 - 2 ** -23), 2 ** -70, "difference"],
  ] as const)("%f · %f + %f (%s)", (a, b, c, _name) => {
    expect(fma(a, b, f32(c))).toBe(exactFma(a, b, f32(c)));
  });

  it("rounds once where Math.fround(a · b + c) rounds twice", () => {
    const a = f32(1 + 2 ** -12);
    const b = f32(1 + 2 ** -12); // a · b = 1 + 2⁻¹¹ + 2⁻²⁴, half way between two f32
    const c = 2 ** -80; // pushes it above half way, but is lost in f64
    expect(f32(a * b + c)).toBe(f32(1 + 2 ** -11));
    expect(fma(a, b, c)).toBe(f32(1 + 2 ** -11 + 2 ** -23));
    expect(fma(a, b, -c)).toBe(f32(1 + 2 ** -11));
    expect(fma(-a, b, -c)).toBe(-f32(1 + 2 ** -11 + 2 ** -23));
  });

  it("equals exact arithmetic on any finite f32", () => {
    const value = fc.float({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(value, value, value, (a, b, c) => Object.is(fma(a, b, c), exactFma(a, b, c))),
      { numRuns: 20_000, seed: 1 },
    );
  });

  it("equals exact arithmetic near cancellation and half-way points", () => {
    const near = fc.integer({ min: -(2 ** 24), max: 2 ** 24 });
    fc.assert(
      fc.property(near, near, fc.integer({ min: -30, max: 30 }), near, (m, n, shift, offset) => {
        const a = f32(m);
        const b = f32(n * 2 ** -24);
        const c = f32(-(a * b) + offset * 2 ** shift);
        return Object.is(fma(a, b, c), exactFma(a, b, c));
      }),
      { numRuns: 20_000, seed: 2 },
    );
  });

  it("follows IEEE on infinities and NaN", () => {
    expect(fma(Number.POSITIVE_INFINITY, 1, -1)).toBe(Number.POSITIVE_INFINITY);
    expect(fma(Number.POSITIVE_INFINITY, 0, 1)).toBeNaN();
    expect(fma(3e38, 3e38, 0)).toBe(Number.POSITIVE_INFINITY);
  });
});
