// 16 lanes in one AVX-512 register; needs AVX-512 F, BW, DQ and VL. Serves avx512/ and amx/.
#pragma once
#include "intrinsics.h"

#include <cstdint>

namespace bitnet {
namespace {

using F32x16 = __m512;
using I32x16 = __m512i;
using Mask16 = __mmask16;

inline constexpr int registerVectors = 32;

// 0 < n < 16.
inline __mmask16 lanesBelow(int n) { return static_cast<__mmask16>((1u << n) - 1); }

// Lane i is four[codes >> 2i & 3].
#define BITNET_LANES_CHOOSE
inline F32x16 choose(const float four[4], uint32_t codes) {
  const __m512i shifts = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  // Of each word of the choice two bits count.
  return _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(four)), _mm512_srlv_epi32(_mm512_set1_epi32(static_cast<int>(codes)), shifts));
}

inline F32x16 load(const float* p) { return _mm512_loadu_ps(p); }
inline F32x16 loadSome(const float* p, int n, float fill) {
  return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), lanesBelow(n), p);
}
inline I32x16 loadInt(const int32_t* p) { return _mm512_loadu_si512(p); }
inline I32x16 loadIntSome(const int32_t* p, int n) { return _mm512_maskz_loadu_epi32(lanesBelow(n), p); }
inline __m128i loadSixteenBytes(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline I32x16 loadSignedBytes(const int8_t* p) { return _mm512_cvtepi8_epi32(loadSixteenBytes(p)); }
inline I32x16 loadUnsignedBytes(const uint8_t* p) { return _mm512_cvtepu8_epi32(loadSixteenBytes(p)); }
inline void store(float* p, F32x16 x) { _mm512_storeu_ps(p, x); }
inline void storeSome(float* p, int n, F32x16 x) { _mm512_mask_storeu_ps(p, lanesBelow(n), x); }

inline __m256i loadWords(const uint16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline __m256i loadWordsSome(const uint16_t* p, int n) { return _mm256_maskz_loadu_epi16(lanesBelow(n), p); }
inline F32x16 brainsToFloat(__m256i words) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
}
inline F32x16 loadHalf(const uint16_t* p) { return _mm512_cvtph_ps(loadWords(p)); }
inline F32x16 loadHalfSome(const uint16_t* p, int n) { return _mm512_cvtph_ps(loadWordsSome(p, n)); }
inline F32x16 loadBrain(const uint16_t* p) { return brainsToFloat(loadWords(p)); }
inline F32x16 loadBrainSome(const uint16_t* p, int n) { return brainsToFloat(loadWordsSome(p, n)); }
inline __m256i halvesOf(F32x16 x) {
  const __m512 bounded = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(65504.0f)), _mm512_set1_ps(-65504.0f));
  return _mm512_cvtps_ph(bounded, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline void storeHalf(uint16_t* p, F32x16 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), halvesOf(x)); }
inline void storeHalfSome(uint16_t* p, int n, F32x16 x) { _mm256_mask_storeu_epi16(p, lanesBelow(n), halvesOf(x)); }
inline void storeBytes(int8_t* p, I32x16 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(x));
}

inline F32x16 splat(float x) { return _mm512_set1_ps(x); }
inline F32x16 splatHalves(float low, float high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_set1_ps(low)), _mm256_set1_ps(high), 1);
}
inline I32x16 splatInt(int32_t x) { return _mm512_set1_epi32(x); }
inline I32x16 laneIds() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

inline F32x16 add(F32x16 a, F32x16 b) { return _mm512_add_ps(a, b); }
inline F32x16 subtract(F32x16 a, F32x16 b) { return _mm512_sub_ps(a, b); }
inline F32x16 multiply(F32x16 a, F32x16 b) { return _mm512_mul_ps(a, b); }
inline F32x16 divide(F32x16 a, F32x16 b) { return _mm512_div_ps(a, b); }
inline F32x16 mulAdd(F32x16 a, F32x16 b, F32x16 c) { return _mm512_fmadd_ps(a, b, c); }
inline F32x16 timesPower(F32x16 p, F32x16 n) { return _mm512_scalef_ps(p, n); }
inline F32x16 minimum(F32x16 a, F32x16 b) { return _mm512_min_ps(a, b); }
inline F32x16 maximum(F32x16 a, F32x16 b) { return _mm512_max_ps(a, b); }
inline Mask16 greater(F32x16 a, F32x16 b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
inline Mask16 less(F32x16 a, F32x16 b) { return greater(b, a); }
inline F32x16 select(Mask16 mask, F32x16 yes, F32x16 no) { return _mm512_mask_blend_ps(mask, no, yes); }

inline I32x16 bitsOf(F32x16 x) { return _mm512_castps_si512(x); }
inline F32x16 floatOf(I32x16 x) { return _mm512_castsi512_ps(x); }
inline F32x16 toFloat(I32x16 x) { return _mm512_cvtepi32_ps(x); }
inline I32x16 toInt(F32x16 x) { return _mm512_cvtps_epi32(x); }
inline I32x16 addInt(I32x16 a, I32x16 b) { return _mm512_add_epi32(a, b); }
inline I32x16 andInt(I32x16 a, I32x16 b) { return _mm512_and_si512(a, b); }
inline I32x16 orInt(I32x16 a, I32x16 b) { return _mm512_or_si512(a, b); }
inline I32x16 xorInt(I32x16 a, I32x16 b) { return _mm512_xor_si512(a, b); }
inline I32x16 maxInt(I32x16 a, I32x16 b) { return _mm512_max_epi32(a, b); }
template <int k>
inline I32x16 shiftLeft(I32x16 x) {
  return _mm512_slli_epi32(x, k);
}
template <int k>
inline I32x16 shiftRight(I32x16 x) {
  return _mm512_srli_epi32(x, k);
}
template <int k>
inline I32x16 shiftRightSigned(I32x16 x) {
  return _mm512_srai_epi32(x, k);
}

inline int32_t sumOfInts(I32x16 x) { return _mm512_reduce_add_epi32(x); }
inline int32_t maxOfInts(I32x16 x) { return _mm512_reduce_max_epi32(x); }
inline float maxOf(F32x16 x) { return _mm512_reduce_max_ps(x); }

// The first two steps of the fold: 16 chains to 4.
inline __m128 foldToFour(F32x16 x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}
inline float fold(F32x16 x) {
  __m128 four = foldToFour(x);
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  four = _mm_add_ss(four, _mm_movehdup_ps(four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_setzero_ps()));
}
inline void fold4(F32x16 a, F32x16 b, F32x16 c, F32x16 d, float* out) {
  const __m128 a4 = foldToFour(a), b4 = foldToFour(b), c4 = foldToFour(c), d4 = foldToFour(d);
  // Two chains each of a and b, of c and d; then one chain each of all.
  const __m128 ab = _mm_add_ps(_mm_movelh_ps(a4, b4), _mm_movehl_ps(b4, a4));
  const __m128 cd = _mm_add_ps(_mm_movelh_ps(c4, d4), _mm_movehl_ps(d4, c4));
  const __m128 sums = _mm_add_ps(_mm_shuffle_ps(ab, cd, 0x88), _mm_shuffle_ps(ab, cd, 0xdd));
  _mm_storeu_ps(out, _mm_add_ps(sums, _mm_setzero_ps()));
}
// Two vectors of 16 chains to one of 8 + 8: x in the lower half, y in the upper.
inline F32x16 foldToEights(F32x16 x, F32x16 y) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
}
// out[i · stride + j] = fold(x[4 · i + j]), i, j < 4.
inline void fold16(const F32x16* x, float* out, size_t stride) {
  // Vectors i, i + 4, i + 8 and i + 12 go together, so that every quarter ends with the four that belong together.
  __m512 ones[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const __m512 low = foldToEights(x[i], x[4 + i]), high = foldToEights(x[8 + i], x[12 + i]);
    ones[i] = _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
  }
  const auto twoOfEach = [](__m512 a, __m512 b) {
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  };
  const __m512 ab = twoOfEach(ones[0], ones[1]), cd = twoOfEach(ones[2], ones[3]);
  const __m512 sums = _mm512_add_ps(_mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x88), _mm512_shuffle_ps(ab, cd, 0xdd)), _mm512_setzero_ps());
  _mm_storeu_ps(out, _mm512_castps512_ps128(sums));
  _mm_storeu_ps(out + stride, _mm512_extractf32x4_ps(sums, 1));
  _mm_storeu_ps(out + 2 * stride, _mm512_extractf32x4_ps(sums, 2));
  _mm_storeu_ps(out + 3 * stride, _mm512_extractf32x4_ps(sums, 3));
}

}  // namespace
}  // namespace bitnet
