import { describe, expect, test } from "vitest";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16, f32ToF16Saturating } from "./float16.ts";

const words = new Uint32Array(1);
const floats = new Float32Array(words.buffer);

function f32Of(bits: number): number {
  words[0] = bits;
  return floats[0] ?? 0;
}

function bitsOf(x: number): number {
  floats[0] = x;
  return words[0] ?? 0;
}

/** The definition in IEEE 754 §3.4, in f64 arithmetic, sharing nothing with the code under test. */
function definition(bits: number, exponentBits: number, fractionBits: number): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits & 0x7fff) >> fractionBits;
  const fraction = bits & (2 ** fractionBits - 1);
  if (exponent === 2 ** exponentBits - 1)
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - fractionBits);
  return sign * (1 + fraction / 2 ** fractionBits) * 2 ** (exponent - bias);
}

/** Collects at most one line per failing pattern, so that 65536 cases cost one assertion. */
function failures(check: (bits: number) => string | null): string[] {
  const found: string[] = [];
  for (let bits = 0; bits < 0x10000; bits++) {
    const problem = check(bits);
    if (problem !== null) found.push(`0x${bits.toString(16)}: ${problem}`);
  }
  return found.slice(0, 5);
}

const formats = [
  {
    name: "f16",
    exponentBits: 5,
    fractionBits: 10,
    widen: f16ToF32,
    narrow: f32ToF16,
    nan: 0x7e00,
    inf: 0x7c00,
  },
  {
    name: "bf16",
    exponentBits: 8,
    fractionBits: 7,
    widen: bf16ToF32,
    narrow: f32ToBf16,
    nan: 0x7fc0,
    inf: 0x7f80,
  },
] as const;

describe.each(formats)("$name", ({ exponentBits, fractionBits, widen, narrow, nan, inf }) => {
  test("every pattern widens to its definition", () => {
    const wrong = failures((bits) => {
      const expected = definition(bits, exponentBits, fractionBits);
      return Object.is(widen(bits), expected) ? null : `expected ${expected}, got ${widen(bits)}`;
    });
    expect(wrong).toEqual([]);
  });

  test("every pattern survives widening and narrowing; NaN becomes canonical", () => {
    const wrong = failures((bits) => {
      const expected = (bits & 0x7fff) > inf ? nan : bits;
      const actual = narrow(widen(bits));
      return actual === expected ? null : `expected ${expected}, got ${actual}`;
    });
    expect(wrong).toEqual([]);
  });

  test("between every two neighbours: the middle goes to the even one, everything else to the nearer", () => {
    const wrong = failures((bits) => {
      if ((bits & 0x7fff) >= inf) return null;
      const low = widen(bits);
      const next = bits + 1;
      // The neighbour of the largest finite value is where the next binade would begin.
      const high = (next & 0x7fff) === inf ? 2 * low - widen(bits - 1) : widen(next);
      const middle = low + (high - low) / 2;
      const even = bits % 2 === 0 ? bits : next;
      if (Math.fround(middle) !== middle) return `middle ${middle} is not an f32`;
      const cases: [number, number][] = [
        [middle, even],
        [f32Of(bitsOf(middle) - 1), bits],
        [f32Of(bitsOf(middle) + 1), next],
      ];
      for (const [x, expected] of cases) {
        if (narrow(x) !== expected) return `${x}: expected ${expected}, got ${narrow(x)}`;
      }
      return null;
    });
    expect(wrong).toEqual([]);
  });

  test("infinity, overflow, and underflow keep the sign", () => {
    expect(narrow(Number.POSITIVE_INFINITY)).toBe(inf);
    expect(narrow(Number.NEGATIVE_INFINITY)).toBe(inf | 0x8000);
    expect(narrow(3.4028234663852886e38)).toBe(inf);
    expect(narrow(2 ** -149)).toBe(0);
    expect(narrow(-(2 ** -149))).toBe(0x8000);
    expect(narrow(-0)).toBe(0x8000);
    expect(narrow(Number.NaN)).toBe(nan);
  });
});

describe("saturating f16", () => {
  test("clamps at ±65504 and equals plain narrowing everywhere else", () => {
    for (const x of [65504, 65519, 65520, 1e9, Number.POSITIVE_INFINITY]) {
      expect(f16ToF32(f32ToF16Saturating(x))).toBe(65504);
      expect(f16ToF32(f32ToF16Saturating(-x))).toBe(-65504);
    }
    const wrong = failures((bits) => {
      if ((bits & 0x7fff) === 0x7c00) return null;
      const x = f16ToF32(bits);
      return f32ToF16Saturating(x) === f32ToF16(x) ? null : `got ${f32ToF16Saturating(x)}`;
    });
    expect(wrong).toEqual([]);
    expect(f32ToF16Saturating(Number.NaN)).toBe(0x7e00);
  });
});
