// int8 products in AVX2 registers, for avx2/ and avxvnni/: everything that screen.inl.h asks for but the multiplication.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

using ScreenSum = __m256i;  // 8 × int32
inline constexpr int screenBytes = 32;
inline constexpr int screenRows = 4;

inline ScreenSum zeroScreenSum() { return _mm256_setzero_si256(); }

inline void reduceScreen4(const ScreenSum sums[4], int32_t* out) {
  const __m256i abcd = _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1)));
}

}  // namespace
}  // namespace bitnet
