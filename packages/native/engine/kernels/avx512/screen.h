// int8 products in AVX-512 VNNI registers, for avx512/ and amx/: everything that screen.inl.h asks for. The instruction multiplies
// unsigned by signed bytes, so rows are read with their sign bit turned: q + 128.
#pragma once
#include "intrinsics.h"

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

using ScreenRow = __m512i;
using ScreenX = __m512i;
using ScreenSum = __m512i;  // 16 × int32
inline constexpr int screenBytes = 64;
inline constexpr int screenRows = 8;
inline constexpr int screenActivations = 2;
inline constexpr uint32_t screenBias = 128;

inline ScreenRow loadScreenRow(const int8_t* row) {
  return _mm512_xor_si512(_mm512_loadu_si512(row), _mm512_set1_epi8(static_cast<char>(0x80)));
}
inline ScreenX loadScreenX(const int8_t* x) { return _mm512_loadu_si512(x); }
inline ScreenSum zeroScreenSum() { return _mm512_setzero_si512(); }
inline ScreenSum screenAdd(ScreenSum sum, ScreenRow row, ScreenX x) { return _mm512_dpbusd_epi32(sum, row, x); }

inline void reduceScreen4(const ScreenSum sums[4], int32_t* out) {
  const auto pairs = [](__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  };
  const __m512i ab = pairs(sums[0], sums[1]), cd = pairs(sums[2], sums[3]);
  const __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
}

}  // namespace
}  // namespace bitnet
