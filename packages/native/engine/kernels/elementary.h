// Scalar fma, exp and log: line for line packages/core/src/base/{fma,elementary}.ts. Needs no library and no instruction set, so that
// the scalar kernels give the same bits wherever they are compiled.
#pragma once
#include <cstdint>
#include <cstring>
#include <limits>

#include "constants.generated.h"

namespace bitnet {

static inline int32_t floatBits(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float bitsFloat(int32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// a · b + c with one rounding.
static inline float fmaF32(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  const double product = static_cast<double>(a) * static_cast<double>(b);  // exact
  const double sum = product + c;
  const double bb = sum - product;
  const double error = (product - (sum - bb)) + (c - bb);
  if (error == 0 || error != error) return static_cast<float>(sum);
  // Round to odd, so that the rounding to f32 is the only one that counts.
  int64_t bits;
  std::memcpy(&bits, &sum, sizeof bits);
  if ((bits & 1) == 0) bits += (error > 0) == (sum > 0) ? 1 : -1;
  double odd;
  std::memcpy(&odd, &bits, sizeof odd);
  return static_cast<float>(odd);
#endif
}

// Nearest integer, ties to even; |x| < 2²².
static inline float roundTiesToEven(float x) {
  return (x + constants::roundingMagic) - constants::roundingMagic;
}

static inline float expF32(float x) {
  using namespace constants;
  if (x < expLowest) return 0.0f;
  if (x > expHighest) return std::numeric_limits<float>::infinity();
  const float n = roundTiesToEven(x * log2e);
  float r = fmaF32(n, -ln2High, x);
  r = fmaF32(n, -ln2Low, r);
  float p = expPolynomial[6];
  for (int i = 5; i >= 0; i--) p = fmaF32(p, r, expPolynomial[i]);
  // A NaN must not reach the conversion.
  const int32_t exponent = n == n ? static_cast<int32_t>(n) : 0;
  return p * bitsFloat((exponent + 127) << 23);
}

// x ≥ 0, not subnormal.
static inline float logF32(float x) {
  using namespace constants;
  if (x == 0.0f) return -std::numeric_limits<float>::infinity();
  const int32_t shifted = floatBits(x) - sqrtHalfBits;
  const float exponent = static_cast<float>(shifted >> 23);
  const float f = bitsFloat((shifted & 0x007fffff) + sqrtHalfBits) - 1.0f;
  float q = logPolynomial[8];
  for (int i = 7; i >= 0; i--) q = fmaF32(q, f, logPolynomial[i]);
  const float z = f * f;
  float y = (f * z) * q;
  y = fmaF32(exponent, ln2Low, y);
  y = fmaF32(-0.5f, z, y);
  y = f + y;
  return fmaF32(exponent, ln2High, y);
}

}  // namespace bitnet
