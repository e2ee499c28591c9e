// 16 lanes in two AVX registers; needs AVX2, FMA and F16C. Serves avx2/ and avxvnni/.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace bitnet {
namespace {

inline constexpr int registerVectors = 8;

struct F32x16 {
  __m256 low, high;
};
struct I32x16 {
  __m256i low, high;
};
struct Mask16 {
  __m256 low, high;
};

// All ones in the lanes below n.
inline __m256i lanesBelow(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

inline __m256 loadMasked(const float* p, int n, float fill) {
  const __m256i mask = lanesBelow(n);
  return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}

// Lane i is four[codes >> 2i & 3].
#define BITNET_LANES_CHOOSE
inline F32x16 choose(const float four[4], uint32_t codes) {
  const __m256 choices = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(four));
  const __m256i all = _mm256_set1_epi32(static_cast<int>(codes));
  // Of each word of the choice two bits count.
  return {_mm256_permutevar_ps(choices, _mm256_srlv_epi32(all, _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14))),
          _mm256_permutevar_ps(choices, _mm256_srlv_epi32(all, _mm256_setr_epi32(16, 18, 20, 22, 24, 26, 28, 30)))};
}

inline F32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline F32x16 loadSome(const float* p, int n, float fill) {
  return {loadMasked(p, n, fill), loadMasked(p + 8, n - 8, fill)};
}
inline I32x16 loadInt(const int32_t* p) {
  const auto* words = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}
inline I32x16 loadIntSome(const int32_t* p, int n) {
  return {_mm256_maskload_epi32(p, lanesBelow(n)), _mm256_maskload_epi32(p + 8, lanesBelow(n - 8))};
}
inline __m128i loadEightBytes(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
inline I32x16 loadSignedBytes(const int8_t* p) {
  return {_mm256_cvtepi8_epi32(loadEightBytes(p)), _mm256_cvtepi8_epi32(loadEightBytes(p + 8))};
}
inline I32x16 loadUnsignedBytes(const uint8_t* p) {
  return {_mm256_cvtepu8_epi32(loadEightBytes(p)), _mm256_cvtepu8_epi32(loadEightBytes(p + 8))};
}
inline void store(float* p, F32x16 x) {
  _mm256_storeu_ps(p, x.low);
  _mm256_storeu_ps(p + 8, x.high);
}
inline void storeSome(float* p, int n, F32x16 x) {
  _mm256_maskstore_ps(p, lanesBelow(n), x.low);
  _mm256_maskstore_ps(p + 8, lanesBelow(n - 8), x.high);
}

inline __m128i loadWords(const uint16_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline F32x16 loadHalf(const uint16_t* p) {
  return {_mm256_cvtph_ps(loadWords(p)), _mm256_cvtph_ps(loadWords(p + 8))};
}
inline __m256 brainsToFloat(__m128i words) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}
inline F32x16 loadBrain(const uint16_t* p) { return {brainsToFloat(loadWords(p)), brainsToFloat(loadWords(p + 8))}; }
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
inline __m128i halvesOf(__m256 x) {
  const __m256 bounded = _mm256_max_ps(_mm256_min_ps(x, _mm256_set1_ps(65504.0f)), _mm256_set1_ps(-65504.0f));
  return _mm256_cvtps_ph(bounded, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline void storeHalf(uint16_t* p, F32x16 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halvesOf(x.low));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), halvesOf(x.high));
}
inline void storeHalfSome(uint16_t* p, int n, F32x16 x) {
  uint16_t copy[16];
  storeHalf(copy, x);
  std::memcpy(p, copy, n * sizeof(uint16_t));
}
inline void storeBytes(int8_t* p, I32x16 x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.low, x.high), 0xd8);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}

inline F32x16 splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F32x16 splatHalves(float low, float high) { return {_mm256_set1_ps(low), _mm256_set1_ps(high)}; }
inline I32x16 splatInt(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline I32x16 laneIds() {
  return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)};
}

inline F32x16 add(F32x16 a, F32x16 b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline F32x16 subtract(F32x16 a, F32x16 b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline F32x16 multiply(F32x16 a, F32x16 b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline F32x16 divide(F32x16 a, F32x16 b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
inline F32x16 mulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline F32x16 minimum(F32x16 a, F32x16 b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
inline F32x16 maximum(F32x16 a, F32x16 b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline Mask16 greater(F32x16 a, F32x16 b) {
  return {_mm256_cmp_ps(a.low, b.low, _CMP_GT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_GT_OQ)};
}
inline Mask16 less(F32x16 a, F32x16 b) { return greater(b, a); }
inline F32x16 select(Mask16 mask, F32x16 yes, F32x16 no) {
  return {_mm256_blendv_ps(no.low, yes.low, mask.low), _mm256_blendv_ps(no.high, yes.high, mask.high)};
}

inline I32x16 bitsOf(F32x16 x) { return {_mm256_castps_si256(x.low), _mm256_castps_si256(x.high)}; }
inline F32x16 floatOf(I32x16 x) { return {_mm256_castsi256_ps(x.low), _mm256_castsi256_ps(x.high)}; }
inline F32x16 toFloat(I32x16 x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
inline I32x16 toInt(F32x16 x) { return {_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)}; }
inline I32x16 addInt(I32x16 a, I32x16 b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
inline I32x16 andInt(I32x16 a, I32x16 b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
inline I32x16 orInt(I32x16 a, I32x16 b) { return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)}; }
inline I32x16 xorInt(I32x16 a, I32x16 b) {
  return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
inline I32x16 maxInt(I32x16 a, I32x16 b) {
  return {_mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high)};
}
template <int k>
inline I32x16 shiftLeft(I32x16 x) {
  return {_mm256_slli_epi32(x.low, k), _mm256_slli_epi32(x.high, k)};
}
template <int k>
inline I32x16 shiftRight(I32x16 x) {
  return {_mm256_srli_epi32(x.low, k), _mm256_srli_epi32(x.high, k)};
}
template <int k>
inline I32x16 shiftRightSigned(I32x16 x) {
  return {_mm256_srai_epi32(x.low, k), _mm256_srai_epi32(x.high, k)};
}

inline F32x16 timesPower(F32x16 p, F32x16 n) { return multiply(p, floatOf(shiftLeft<23>(addInt(toInt(n), splatInt(127))))); }

inline int32_t sumOfInts(I32x16 x) {
  const __m256i eight = _mm256_add_epi32(x.low, x.high);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
inline int32_t maxOfInts(I32x16 x) {
  const __m256i eight = _mm256_max_epi32(x.low, x.high);
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
inline float maxOf(F32x16 x) {
  const __m256 eight = _mm256_max_ps(x.low, x.high);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

// The first two steps of the fold: 16 chains to 4.
inline __m128 foldToFour(F32x16 x) {
  const __m256 eight = _mm256_add_ps(x.low, x.high);
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

}  // namespace
}  // namespace bitnet
