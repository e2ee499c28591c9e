// 16 lanes in four NEON registers; needs no more than ARMv8-A.
#pragma once
#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace bitnet {
namespace {

inline constexpr int registerVectors = 8;

struct F32x16 {
  float32x4_t v[4];
};
struct I32x16 {
  int32x4_t v[4];
};
struct Mask16 {
  uint32x4_t v[4];
};

// One register after another.
template <class Result, class Fn>
inline Result eachQuad(Fn fn) {
  return {{fn(0), fn(1), fn(2), fn(3)}};
}

inline F32x16 load(const float* p) {
  return eachQuad<F32x16>([&](int i) { return vld1q_f32(p + 4 * i); });
}
inline I32x16 loadInt(const int32_t* p) {
  return eachQuad<I32x16>([&](int i) { return vld1q_s32(p + 4 * i); });
}
inline F32x16 loadHalf(const uint16_t* p) {
  return eachQuad<F32x16>([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
}
inline F32x16 loadBrain(const uint16_t* p) {
  return eachQuad<F32x16>([&](int i) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)); });
}
inline I32x16 widenWords(int16x8_t low, int16x8_t high) {
  return {{vmovl_s16(vget_low_s16(low)), vmovl_s16(vget_high_s16(low)), vmovl_s16(vget_low_s16(high)),
           vmovl_s16(vget_high_s16(high))}};
}
inline I32x16 loadSignedBytes(const int8_t* p) {
  const int8x16_t bytes = vld1q_s8(p);
  return widenWords(vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes)));
}
inline I32x16 loadUnsignedBytes(const uint8_t* p) {
  const uint8x16_t bytes = vld1q_u8(p);
  return widenWords(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes))), vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(bytes))));
}
inline void store(float* p, F32x16 x) {
  for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.v[i]);
}
inline void storeHalf(uint16_t* p, F32x16 x) {
  const float32x4_t most = vdupq_n_f32(65504.0f), least = vdupq_n_f32(-65504.0f);
  for (int i = 0; i < 4; i++) {
    const float32x4_t bounded = vmaxq_f32(vminq_f32(x.v[i], most), least);
    vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(bounded)));
  }
}
inline void storeBytes(int8_t* p, I32x16 x) {
  const int16x8_t low = vcombine_s16(vqmovn_s32(x.v[0]), vqmovn_s32(x.v[1]));
  const int16x8_t high = vcombine_s16(vqmovn_s32(x.v[2]), vqmovn_s32(x.v[3]));
  vst1q_s8(p, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}

inline F32x16 loadSome(const float* p, int n, float fill) {
  float copy[16];
  for (float& x : copy) x = fill;
  std::memcpy(copy, p, n * sizeof(float));
  return load(copy);
}
inline I32x16 loadIntSome(const int32_t* p, int n) {
  int32_t copy[16] = {};
  std::memcpy(copy, p, n * sizeof(int32_t));
  return loadInt(copy);
}
inline F32x16 loadHalfSome(const uint16_t* p, int n) {
  uint16_t copy[16] = {};
  std::memcpy(copy, p, n * sizeof(uint16_t));
  return loadHalf(copy);
}
inline F32x16 loadBrainSome(const uint16_t* p, int n) {
  uint16_t copy[16] = {};
  std::memcpy(copy, p, n * sizeof(uint16_t));
  return loadBrain(copy);
}
inline void storeSome(float* p, int n, F32x16 x) {
  float copy[16];
  store(copy, x);
  std::memcpy(p, copy, n * sizeof(float));
}
inline void storeHalfSome(uint16_t* p, int n, F32x16 x) {
  uint16_t copy[16];
  storeHalf(copy, x);
  std::memcpy(p, copy, n * sizeof(uint16_t));
}

inline F32x16 splat(float x) {
  return eachQuad<F32x16>([&](int) { return vdupq_n_f32(x); });
}
inline F32x16 splatHalves(float low, float high) {
  return eachQuad<F32x16>([&](int i) { return vdupq_n_f32(i < 2 ? low : high); });
}
inline I32x16 splatInt(int32_t x) {
  return eachQuad<I32x16>([&](int) { return vdupq_n_s32(x); });
}
inline I32x16 laneIds() {
  const int32_t ids[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return loadInt(ids);
}

inline F32x16 add(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
}
inline F32x16 subtract(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
}
inline F32x16 multiply(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
}
inline F32x16 divide(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
}
inline F32x16 mulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return eachQuad<F32x16>([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
}
inline F32x16 minimum(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return vminq_f32(a.v[i], b.v[i]); });
}
inline F32x16 maximum(F32x16 a, F32x16 b) {
  return eachQuad<F32x16>([&](int i) { return vmaxq_f32(a.v[i], b.v[i]); });
}
inline Mask16 greater(F32x16 a, F32x16 b) {
  return eachQuad<Mask16>([&](int i) { return vcgtq_f32(a.v[i], b.v[i]); });
}
inline Mask16 less(F32x16 a, F32x16 b) { return greater(b, a); }
inline F32x16 select(Mask16 mask, F32x16 yes, F32x16 no) {
  return eachQuad<F32x16>([&](int i) { return vbslq_f32(mask.v[i], yes.v[i], no.v[i]); });
}

inline I32x16 bitsOf(F32x16 x) {
  return eachQuad<I32x16>([&](int i) { return vreinterpretq_s32_f32(x.v[i]); });
}
inline F32x16 floatOf(I32x16 x) {
  return eachQuad<F32x16>([&](int i) { return vreinterpretq_f32_s32(x.v[i]); });
}
inline F32x16 toFloat(I32x16 x) {
  return eachQuad<F32x16>([&](int i) { return vcvtq_f32_s32(x.v[i]); });
}
inline I32x16 toInt(F32x16 x) {
  return eachQuad<I32x16>([&](int i) { return vcvtnq_s32_f32(x.v[i]); });
}
inline I32x16 addInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return vaddq_s32(a.v[i], b.v[i]); });
}
inline I32x16 andInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return vandq_s32(a.v[i], b.v[i]); });
}
inline I32x16 orInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return vorrq_s32(a.v[i], b.v[i]); });
}
inline I32x16 xorInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return veorq_s32(a.v[i], b.v[i]); });
}
inline I32x16 maxInt(I32x16 a, I32x16 b) {
  return eachQuad<I32x16>([&](int i) { return vmaxq_s32(a.v[i], b.v[i]); });
}
template <int k>
inline I32x16 shiftLeft(I32x16 x) {
  return eachQuad<I32x16>([&](int i) { return vshlq_n_s32(x.v[i], k); });
}
template <int k>
inline I32x16 shiftRight(I32x16 x) {
  // The instruction has no form that shifts by 0.
  if constexpr (k == 0) return x;
  if constexpr (k > 0) {
    return eachQuad<I32x16>(
        [&](int i) { return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(x.v[i]), k)); });
  }
}
template <int k>
inline I32x16 shiftRightSigned(I32x16 x) {
  return eachQuad<I32x16>([&](int i) { return vshrq_n_s32(x.v[i], k); });
}

inline F32x16 timesPower(F32x16 p, F32x16 n) { return multiply(p, floatOf(shiftLeft<23>(addInt(toInt(n), splatInt(127))))); }

inline int32_t sumOfInts(I32x16 x) {
  return vaddvq_s32(vaddq_s32(vaddq_s32(x.v[0], x.v[1]), vaddq_s32(x.v[2], x.v[3])));
}
inline int32_t maxOfInts(I32x16 x) {
  return vmaxvq_s32(vmaxq_s32(vmaxq_s32(x.v[0], x.v[1]), vmaxq_s32(x.v[2], x.v[3])));
}
inline float maxOf(F32x16 x) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[1]), vmaxq_f32(x.v[2], x.v[3])));
}

// The first two steps of the fold: 16 chains to 4.
inline float32x4_t foldToFour(F32x16 x) {
  return vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
}
inline float fold(F32x16 x) {
  const float32x4_t four = foldToFour(x);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1) + 0.0f;
}
inline void fold4(F32x16 a, F32x16 b, F32x16 c, F32x16 d, float* out) {
  const auto twoOfEach = [](float32x4_t x, float32x4_t y) {
    return vaddq_f32(vcombine_f32(vget_low_f32(x), vget_low_f32(y)), vcombine_f32(vget_high_f32(x), vget_high_f32(y)));
  };
  const float32x4_t ab = twoOfEach(foldToFour(a), foldToFour(b)), cd = twoOfEach(foldToFour(c), foldToFour(d));
  vst1q_f32(out, vaddq_f32(vpaddq_f32(ab, cd), vdupq_n_f32(0.0f)));
}

}  // namespace
}  // namespace bitnet
