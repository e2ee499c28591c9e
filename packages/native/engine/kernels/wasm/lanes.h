// 16 lanes in four vectors of WebAssembly. With BITNET_RELAXED_MADD the multiply-add is relaxed_madd, which rounds once where the engine fuses
// (that is proved before it is used); otherwise it goes by f64, exactly.
#pragma once
#include <wasm_simd128.h>

#include <cstdint>
#include <cstring>

#include "../elementary.h"

namespace bitnet {
namespace {

// Of 16 registers, as engines have them on x86.
inline constexpr int registerVectors = 4;

struct F32x16 {
  v128_t v[4];
};
struct I32x16 {
  v128_t v[4];
};
struct Mask16 {
  v128_t v[4];
};

// One vector after another.
template <class Result, class Fn>
inline Result eachQuad(Fn fn) {
  return {{fn(0), fn(1), fn(2), fn(3)}};
}

inline F32x16 load(const float* p) {
  return eachQuad<F32x16>([&](int i) { return wasm_v128_load(p + 4 * i); });
}
inline I32x16 loadInt(const int32_t* p) {
  return eachQuad<I32x16>([&](int i) { return wasm_v128_load(p + 4 * i); });
}
// There is no instruction for f16: its bits make an f32 that is 2¹¹² too small, subnormal ones too; infinities and NaN end up at 2¹⁶ or more.
inline v128_t widenHalves(v128_t signExtended) {
  const v128_t bits = wasm_v128_and(wasm_i32x4_shl(signExtended, 13), wasm_i32x4_const_splat(static_cast<int32_t>(0x8fffe000u)));
  const v128_t value = wasm_f32x4_mul(bits, wasm_f32x4_const_splat(0x1p112f));
  const v128_t isLarge = wasm_f32x4_ge(wasm_f32x4_abs(value), wasm_f32x4_const_splat(65536.0f));
  return wasm_v128_or(value, wasm_v128_and(isLarge, wasm_i32x4_const_splat(0x7f800000)));
}
inline F32x16 loadHalf(const uint16_t* p) {
  return eachQuad<F32x16>([&](int i) { return widenHalves(wasm_i32x4_load16x4(p + 4 * i)); });
}
inline F32x16 loadBrain(const uint16_t* p) {
  return eachQuad<F32x16>([&](int i) { return wasm_i32x4_shl(wasm_u32x4_load16x4(p + 4 * i), 16); });
}
inline I32x16 loadSignedBytes(const int8_t* p) {
  const v128_t low = wasm_i16x8_load8x8(p), high = wasm_i16x8_load8x8(p + 8);
  return {{wasm_i32x4_extend_low_i16x8(low), wasm_i32x4_extend_high_i16x8(low), wasm_i32x4_extend_low_i16x8(high),
           wasm_i32x4_extend_high_i16x8(high)}};
}
inline I32x16 loadUnsignedBytes(const uint8_t* p) {
  const v128_t low = wasm_u16x8_load8x8(p), high = wasm_u16x8_load8x8(p + 8);
  return {{wasm_u32x4_extend_low_u16x8(low), wasm_u32x4_extend_high_u16x8(low), wasm_u32x4_extend_low_u16x8(high),
           wasm_u32x4_extend_high_u16x8(high)}};
}
inline void store(float* p, F32x16 x) {
  for (int i = 0; i < 4; i++) wasm_v128_store(p + 4 * i, x.v[i]);
}
// f16 by rne, saturating, each in the low half of a lane: half.h, four at a time.
inline v128_t narrowHalves(v128_t x) {
  const v128_t sign = wasm_v128_and(wasm_u32x4_shr(x, 16), wasm_i32x4_const_splat(0x8000));
  const v128_t magnitude = wasm_i32x4_min(wasm_v128_and(x, wasm_i32x4_const_splat(0x7fffffff)), wasm_i32x4_const_splat(0x477fe000));
  const v128_t odd = wasm_v128_and(wasm_u32x4_shr(magnitude, 13), wasm_i32x4_const_splat(1));
  const v128_t rounded = wasm_i32x4_add(wasm_i32x4_add(magnitude, wasm_i32x4_const_splat(0xfff)), odd);
  const v128_t normal = wasm_i32x4_sub(wasm_u32x4_shr(rounded, 13), wasm_i32x4_const_splat(0x1c000));
  const v128_t half = wasm_f32x4_const_splat(0.5f);
  const v128_t subnormal = wasm_i32x4_sub(wasm_f32x4_add(magnitude, half), half);
  const v128_t isNormal = wasm_i32x4_ge(magnitude, wasm_i32x4_const_splat(0x38800000));
  return wasm_v128_or(sign, wasm_v128_bitselect(normal, subnormal, isNormal));
}
inline void storeHalf(uint16_t* p, F32x16 x) {
  for (int i = 0; i < 4; i += 2)
    wasm_v128_store(p + 4 * i, wasm_u16x8_narrow_i32x4(narrowHalves(x.v[i]), narrowHalves(x.v[i + 1])));
}
inline void storeBytes(int8_t* p, I32x16 x) {
  wasm_v128_store(p, wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(x.v[0], x.v[1]), wasm_i16x8_narrow_i32x4(x.v[2], x.v[3])));
}

inline F32x16 loadSome(const float* p, int n, float fill) {
  float copy[16];
  for (int i = 0; i < 16; i++) copy[i] = i < n ? p[i] : fill;
  return load(copy);
}
inline I32x16 loadIntSome(const int32_t* p, int n) {
  int32_t copy[16];
  for (int i = 0; i < 16; i++) copy[i] = i < n ? p[i] : 0;
  return loadInt(copy);
}
inline F32x16 loadHalfSome(const uint16_t* p, int n) {
  uint16_t copy[16];
  for (int i = 0; i < 16; i++) copy[i] = i < n ? p[i] : 0;
  return loadHalf(copy);
}
inline F32x16 loadBrainSome(const uint16_t* p, int n) {
  uint16_t copy[16];
  for (int i = 0; i < 16; i++) copy[i] = i < n ? p[i] : 0;
  return loadBrain(copy);
}
inline void storeSome(float* p, int n, F32x16 x) {
  float copy[16];
  store(copy, x);
  for (int i = 0; i < n; i++) p[i] = copy[i];
}
inline void storeHalfSome(uint16_t* p, int n, F32x16 x) {
  uint16_t copy[16];
  storeHalf(copy, x);
  for (int i = 0; i < n; i++) p[i] = copy[i];
}

inline F32x16 splat(float x) {
  const v128_t all = wasm_f32x4_splat(x);
  return {{all, all, all, all}};
}
inline F32x16 splatHalves(float low, float high) {
  const v128_t a = wasm_f32x4_splat(low), b = wasm_f32x4_splat(high);
  return {{a, a, b, b}};
}
inline I32x16 splatInt(int32_t x) {
  const v128_t all = wasm_i32x4_splat(x);
  return {{all, all, all, all}};
}
inline I32x16 laneIds() {
  const int32_t ids[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return loadInt(ids);
}

inline F32x16 add(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return wasm_f32x4_add(a.v[i], b.v[i]); });
}
inline F32x16 subtract(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return wasm_f32x4_sub(a.v[i], b.v[i]); });
}
inline F32x16 multiply(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return wasm_f32x4_mul(a.v[i], b.v[i]); });
}
inline F32x16 divide(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return wasm_f32x4_div(a.v[i], b.v[i]); });
}

#if defined(BITNET_RELAXED_MADD)
inline v128_t mulAddQuad(v128_t a, v128_t b, v128_t c) { return wasm_f32x4_relaxed_madd(a, b, c); }
#else
// One by one with fmaF32: called for the few in a hundred million that need it.
__attribute__((noinline)) v128_t mulAddSlowly(v128_t a, v128_t b, v128_t c) {
  float x[4], y[4], z[4];
  wasm_v128_store(x, a);
  wasm_v128_store(y, b);
  wasm_v128_store(z, c);
  for (int i = 0; i < 4; i++) z[i] = fmaF32(x[i], y[i], z[i]);
  return wasm_v128_load(z);
}

// A product of two f32 is exact in f64. The sum is rounded to f64 and then to f32, which differs from rounding once only where the first
// leaves the very middle between two f32, or where the result is subnormal and has fewer places.
inline v128_t mulAddQuad(v128_t a, v128_t b, v128_t c) {
  const auto high = [](v128_t x) { return wasm_f64x2_promote_low_f32x4(wasm_i64x2_shuffle(x, x, 1, 1)); };
  const v128_t low = wasm_f64x2_add(wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(a), wasm_f64x2_promote_low_f32x4(b)), wasm_f64x2_promote_low_f32x4(c));
  const v128_t up = wasm_f64x2_add(wasm_f64x2_mul(high(a), high(b)), high(c));
  const v128_t places = wasm_i64x2_const_splat(0x1fffffff), middle = wasm_i64x2_const_splat(0x10000000);
  const v128_t isMiddle =
      wasm_v128_or(wasm_i64x2_eq(wasm_v128_and(low, places), middle), wasm_i64x2_eq(wasm_v128_and(up, places), middle));
  const v128_t least = wasm_f64x2_const_splat(0x1p-126), zero = wasm_f64x2_const_splat(0.0);
  const auto isSmall = [&](v128_t x) { return wasm_v128_and(wasm_f64x2_lt(wasm_f64x2_abs(x), least), wasm_f64x2_ne(x, zero)); };
  if (__builtin_expect(wasm_v128_any_true(wasm_v128_or(isMiddle, wasm_v128_or(isSmall(low), isSmall(up)))), 0)) return mulAddSlowly(a, b, c);
  return wasm_i64x2_shuffle(wasm_f32x4_demote_f64x2_zero(low), wasm_f32x4_demote_f64x2_zero(up), 0, 2);
}
#endif

inline F32x16 mulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return eachQuad<F32x16>([&](int i) { return mulAddQuad(a.v[i], b.v[i], c.v[i]); });
}
// One instruction on x86 each, where min and max take several.
inline F32x16 minimum(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return wasm_f32x4_pmin(b.v[i], a.v[i]); });
}
inline F32x16 maximum(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return wasm_f32x4_pmax(b.v[i], a.v[i]); });
}
inline Mask16 greater(F32x16 a, F32x16 b) {
  return eachQuad<Mask16>([&](int i) { return wasm_f32x4_gt(a.v[i], b.v[i]); });
}
inline Mask16 less(F32x16 a, F32x16 b) { return greater(b, a); }
inline F32x16 select(Mask16 mask, F32x16 yes, F32x16 no) {
  return eachQuad<F32x16>([&](int i) { return wasm_v128_bitselect(yes.v[i], no.v[i], mask.v[i]); });
}

inline I32x16 bitsOf(F32x16 x) {
  return eachQuad<I32x16>([&](int i) { return x.v[i]; });
}
inline F32x16 floatOf(I32x16 x) {
  return eachQuad<F32x16>([&](int i) { return x.v[i]; });
}
inline F32x16 toFloat(I32x16 x) {
  return eachQuad<F32x16>([&](int i) { return wasm_f32x4_convert_i32x4(x.v[i]); });
}
// |x| < 2²²; lanes beyond that hold anything.
inline I32x16 toInt(F32x16 x) {
  const v128_t magic = wasm_f32x4_const_splat(constants::roundingMagic);
  return eachQuad<I32x16>([&](int i) { return wasm_i32x4_sub(wasm_f32x4_add(x.v[i], magic), magic); });
}
inline I32x16 addInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return wasm_i32x4_add(a.v[i], b.v[i]); });
}
inline I32x16 andInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return wasm_v128_and(a.v[i], b.v[i]); });
}
inline I32x16 orInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return wasm_v128_or(a.v[i], b.v[i]); });
}
inline I32x16 xorInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return wasm_v128_xor(a.v[i], b.v[i]); });
}
inline I32x16 maxInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return wasm_i32x4_max(a.v[i], b.v[i]); });
}
template <int k>
inline I32x16 shiftLeft(I32x16 x) {
  return eachQuad<I32x16>([&](int i) { return wasm_i32x4_shl(x.v[i], k); });
}
template <int k>
inline I32x16 shiftRight(I32x16 x) {
  return eachQuad<I32x16>([&](int i) { return wasm_u32x4_shr(x.v[i], k); });
}
template <int k>
inline I32x16 shiftRightSigned(I32x16 x) {
  return eachQuad<I32x16>([&](int i) { return wasm_i32x4_shr(x.v[i], k); });
}

inline F32x16 timesPower(F32x16 p, F32x16 n) { return multiply(p, floatOf(shiftLeft<23>(addInt(toInt(n), splatInt(127))))); }

// Sums of the lanes of four vectors, one each.
inline v128_t sumEach(v128_t a, v128_t b, v128_t c, v128_t d) {
  const v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
  const v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
  return wasm_i32x4_add(wasm_i64x2_shuffle(ab, cd, 0, 2), wasm_i64x2_shuffle(ab, cd, 1, 3));
}

inline int32_t sumOfInts(I32x16 x) {
  const v128_t four = wasm_i32x4_add(wasm_i32x4_add(x.v[0], x.v[1]), wasm_i32x4_add(x.v[2], x.v[3]));
  const v128_t two = wasm_i32x4_add(four, wasm_i64x2_shuffle(four, four, 1, 1));
  return wasm_i32x4_extract_lane(two, 0) + wasm_i32x4_extract_lane(two, 1);
}
inline int32_t maxOfInts(I32x16 x) {
  const v128_t four = wasm_i32x4_max(wasm_i32x4_max(x.v[0], x.v[1]), wasm_i32x4_max(x.v[2], x.v[3]));
  const v128_t two = wasm_i32x4_max(four, wasm_i64x2_shuffle(four, four, 1, 1));
  const int32_t a = wasm_i32x4_extract_lane(two, 0), b = wasm_i32x4_extract_lane(two, 1);
  return a > b ? a : b;
}
inline float maxOf(F32x16 x) {
  const v128_t four = wasm_f32x4_pmax(wasm_f32x4_pmax(x.v[0], x.v[1]), wasm_f32x4_pmax(x.v[2], x.v[3]));
  const v128_t two = wasm_f32x4_pmax(four, wasm_i64x2_shuffle(four, four, 1, 1));
  const float a = wasm_f32x4_extract_lane(two, 0), b = wasm_f32x4_extract_lane(two, 1);
  return a > b ? a : b;
}

// The first two steps of the fold: 16 chains to 4.
inline v128_t foldToFour(F32x16 x) { return wasm_f32x4_add(wasm_f32x4_add(x.v[0], x.v[2]), wasm_f32x4_add(x.v[1], x.v[3])); }
inline float fold(F32x16 x) {
  const v128_t four = foldToFour(x);
  const v128_t two = wasm_f32x4_add(four, wasm_i64x2_shuffle(four, four, 1, 1));
  return wasm_f32x4_extract_lane(two, 0) + wasm_f32x4_extract_lane(two, 1) + 0.0f;
}
inline void fold4(F32x16 a, F32x16 b, F32x16 c, F32x16 d, float* out) {
  const auto twoOfEach = [](v128_t x, v128_t y) { return wasm_f32x4_add(wasm_i64x2_shuffle(x, y, 0, 2), wasm_i64x2_shuffle(x, y, 1, 3)); };
  const v128_t ab = twoOfEach(foldToFour(a), foldToFour(b)), cd = twoOfEach(foldToFour(c), foldToFour(d));
  const v128_t sums = wasm_f32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 2, 4, 6), wasm_i32x4_shuffle(ab, cd, 1, 3, 5, 7));
  wasm_v128_store(out, wasm_f32x4_add(sums, wasm_f32x4_const_splat(0.0f)));
}

}  // namespace
}  // namespace bitnet
