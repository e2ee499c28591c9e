// Blocks of I2_S weights in AVX-512 registers, for avx512/ and amx/: everything that ternary.inl.h asks for.
#pragma once
#include "intrinsics.h"

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

using Bytes = __m512i;
using Total = __m512i;    // 16 × int32
using Running = __m512i;  // the same: safe for as many steps as columns are allowed
inline constexpr int maxSteps = INT32_MAX;

inline Running zeroRunning() { return _mm512_setzero_si512(); }
inline Running multiplyAdd(Running sums, Bytes codes, Bytes x) { return _mm512_dpbusd_epi32(sums, codes, x); }
inline Total zeroTotal() { return _mm512_setzero_si512(); }
inline Total widenAdd(Total total, Running sums) { return _mm512_add_epi32(total, sums); }

inline __m256i loadHalfVector(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline Bytes joinHalves(const void* low, const void* high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(loadHalfVector(low)), loadHalfVector(high), 1);
}

template <int s>
inline Bytes plane(Bytes packed) {
  return _mm512_and_si512(_mm512_srli_epi16(packed, 6 - 2 * s), _mm512_set1_epi8(3));
}

// ---- along the row: one vector is one block of two rows, so that a row may end in an odd block ----

inline constexpr int rowVectorBytes = 32;
inline constexpr int rowsPerVector = 2;
// Measured on Zen 5.
inline constexpr int decodeChains = 4;
inline constexpr int rowActivations = 4;
inline constexpr int vectorsAtOnce = 4;

inline Bytes loadPacked(const uint8_t* row, const uint8_t* nextRow) { return joinHalves(row, nextRow); }
inline Bytes loadActivations(const int8_t* x) { return _mm512_broadcast_i64x4(loadHalfVector(x)); }

inline void reduce4(const Total totals[4], int32_t* out) {
  const auto pairs = [](__m512i a, __m512i b) {
    return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  };
  const __m512i ab = pairs(totals[0], totals[1]), cd = pairs(totals[2], totals[3]);
  // Quarters of 4 vectors: [first rows, first rows, second rows, second rows].
  const __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m512i sums = _mm512_add_epi32(abcd, _mm512_shuffle_i64x2(abcd, abcd, 0xb1));
  const __m128i first = _mm512_castsi512_si128(sums), second = _mm512_extracti64x2_epi64(sums, 2);
  auto* to = reinterpret_cast<__m128i*>(out);
  _mm_storeu_si128(to, _mm_unpacklo_epi32(first, second));
  _mm_storeu_si128(to + 1, _mm_unpackhi_epi32(first, second));
}

// ---- in groups: two blocks at once, one in each half ----

struct PairCodes {
  Bytes planes[4];
};

inline PairCodes pairCodesOf(Bytes packed) { return {{plane<0>(packed), plane<1>(packed), plane<2>(packed), plane<3>(packed)}}; }

// ---- by strips ----

inline Bytes loadCodes(const uint8_t* codes) { return _mm512_load_si512(codes); }

inline Bytes broadcast(const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}

inline void addRunning(Running sums, int32_t* acc) {
  _mm512_storeu_si512(acc, _mm512_add_epi32(_mm512_loadu_si512(acc), sums));
}

}  // namespace
}  // namespace bitnet
