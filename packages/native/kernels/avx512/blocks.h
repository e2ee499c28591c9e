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
// Measured on Zen 5, like tileFrom below.
inline constexpr int decodeChains = 2;
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

// ---- by tiles: one vector is 4 codes of each of 16 rows ----

inline constexpr int tileRows = 16;
inline constexpr int tileVectors = 2;
inline constexpr int tileActivations = 8;
inline constexpr int tileFrom = 32;

inline Bytes loadCodes(const uint8_t* panel) { return _mm512_load_si512(panel); }

inline Bytes broadcast(const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}

inline void addRunning(Running sums, int32_t* acc) {
  _mm512_storeu_si512(acc, _mm512_add_epi32(_mm512_loadu_si512(acc), sums));
}

// Transposes 16 rows × 8 words of 4 bytes; word j of a block holds the codes of weights 4j … 4j + 3 of each plane.
inline void unpackBlock(const uint8_t* const rows[tileRows], size_t offset, uint8_t* out) {
  // Vector r < 4 holds rows r and r + 4, vector r + 4 holds rows r + 8 and r + 12.
  __m512i pairs[8];  // [words 0, 1 | 4, 5] and [2, 3 | 6, 7] of two rows, and of the two rows that are 4 further
  for (int v = 0; v < 8; v += 2) {
    const uint8_t* const* r = rows + (v < 4 ? v : v + 4);
    const __m512i a = joinHalves(r[0] + offset, r[4] + offset), b = joinHalves(r[1] + offset, r[5] + offset);
    pairs[v] = _mm512_unpacklo_epi32(a, b);
    pairs[v + 1] = _mm512_unpackhi_epi32(a, b);
  }
  for (int j = 0; j < 4; j++) {
    const int half = j / 2;
    const auto eightRows = [&](int v) {
      return j % 2 == 0 ? _mm512_unpacklo_epi64(pairs[v + half], pairs[v + 2 + half])
                        : _mm512_unpackhi_epi64(pairs[v + half], pairs[v + 2 + half]);
    };
    const __m512i upper = eightRows(0), lower = eightRows(4);  // rows 0 … 7 and 8 … 15, words j and j + 4
    const __m512i words[2] = {_mm512_shuffle_i64x2(upper, lower, 0x88), _mm512_shuffle_i64x2(upper, lower, 0xdd)};
    for (int h = 0; h < 2; h++) {
      auto* to = reinterpret_cast<__m512i*>(out) + j + 4 * h;
      _mm512_store_si512(to, plane<0>(words[h]));
      _mm512_store_si512(to + 8, plane<1>(words[h]));
      _mm512_store_si512(to + 16, plane<2>(words[h]));
      _mm512_store_si512(to + 24, plane<3>(words[h]));
    }
  }
}

}  // namespace
}  // namespace bitnet
