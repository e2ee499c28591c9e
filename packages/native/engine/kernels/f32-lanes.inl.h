// 16 lanes of f32 (or int32), on which every kernel but the ternary one is written once, to be compiled once per instruction set: exp, log
// and the types of elements. One vector is one step of the 16 stripes of docs/numerics.md, so that every instruction set gives the same
// bits by construction.
//
// Include after a lanes.h, which defines in an anonymous namespace: the types F32x16, I32x16 and Mask16; load, store, loadInt and their
// ...Some forms, which touch only the first n elements (a load fills the other lanes with `fill` or 0); splat, splatInt, laneIds (0 … 15);
// add, subtract, multiply, divide, mulAdd (one rounding), timesPower (p · 2ⁿ for whole n, −126 ≤ n ≤ 127), minimum, maximum, greater, less,
// select; bitsOf, floatOf; toFloat, toInt (to nearest, ties to even); addInt, andInt, orInt, xorInt, maxInt, shiftLeft<k>, shiftRight<k> (logical), shiftRightSigned<k>; loadHalf,
// loadBrain, storeHalf (f16 and bf16); loadSignedBytes, loadUnsignedBytes; storeBytes (int8 of lanes that fit); sumOfInts, maxOfInts,
// maxOf; fold, and fold4 of four vectors at once; registerVectors, the number of F32x16 that all registers hold; where that is 32 or
// more, fold16 of sixteen vectors.
#pragma once
#include "elementary.h"
#include "half.h"
#include "kernels.h"

namespace bitnet {
namespace {

inline constexpr int lanes = 16;

// Whole vectors where 16 or more elements are left: masked forms are slow on some machines.
F32x16 loadUpTo(const float* p, int n) { return n >= lanes ? load(p) : loadSome(p, n, 0.0f); }

void storeUpTo(float* p, int n, F32x16 x) {
  if (n >= lanes) return store(p, x);
  storeSome(p, n, x);
}

// ---- elements of a row as f32, by type ----

struct F32Elements {
  using Type = float;
  static F32x16 get(const Type* p) { return load(p); }
  static F32x16 getSome(const Type* p, int n) { return loadSome(p, n, 0.0f); }
};

struct F16Elements {
  using Type = uint16_t;
  static F32x16 get(const Type* p) { return loadHalf(p); }
  static F32x16 getSome(const Type* p, int n) { return loadHalfSome(p, n); }
};

struct Bf16Elements {
  using Type = uint16_t;
  static F32x16 get(const Type* p) { return loadBrain(p); }
  static F32x16 getSome(const Type* p, int n) { return loadBrainSome(p, n); }
};

// ---- elementary functions ----

// x at most expHighest, or NaN.
F32x16 expOfBounded(F32x16 x) {
  using namespace constants;
  const F32x16 magic = splat(roundingMagic);
  const F32x16 n = subtract(add(multiply(x, splat(log2e)), magic), magic);
  F32x16 r = mulAdd(n, splat(-ln2High), x);
  r = mulAdd(n, splat(-ln2Low), r);
  F32x16 p = splat(expPolynomial[6]);
  for (int i = 5; i >= 0; i--) p = mulAdd(p, r, splat(expPolynomial[i]));
  // Lanes outside the range hold rubbish here and are replaced.
  return select(less(x, splat(expLowest)), splat(0.0f), timesPower(p, n));
}

F32x16 expLanes(F32x16 x) {
  return select(greater(x, splat(constants::expHighest)), splat(std::numeric_limits<float>::infinity()), expOfBounded(x));
}

// x > 0, not subnormal.
F32x16 logLanes(F32x16 x) {
  using namespace constants;
  const I32x16 shifted = addInt(bitsOf(x), splatInt(-sqrtHalfBits));
  const F32x16 exponent = toFloat(shiftRightSigned<23>(shifted));
  const I32x16 bits = addInt(andInt(shifted, splatInt(0x007fffff)), splatInt(sqrtHalfBits));
  const F32x16 f = subtract(floatOf(bits), splat(1.0f));
  F32x16 q = splat(logPolynomial[8]);
  for (int i = 7; i >= 0; i--) q = mulAdd(q, f, splat(logPolynomial[i]));
  const F32x16 z = multiply(f, f);
  F32x16 y = multiply(multiply(f, z), q);
  y = mulAdd(exponent, splat(ln2Low), y);
  y = mulAdd(splat(-0.5f), z, y);
  y = add(f, y);
  return mulAdd(exponent, splat(ln2High), y);
}

F32x16 negate(F32x16 x) { return floatOf(xorInt(bitsOf(x), splatInt(INT32_MIN))); }

I32x16 magnitudeBits(F32x16 x) { return andInt(bitsOf(x), splatInt(0x7fffffff)); }

F32x16 magnitude(F32x16 x) { return floatOf(magnitudeBits(x)); }

template <int k>
I32x16 rotateLeft(I32x16 x) {
  return orInt(shiftLeft<k>(x), shiftRight<32 - k>(x));
}

}  // namespace
}  // namespace bitnet
