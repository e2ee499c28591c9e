// Blocks of I2_S weights in AVX2 registers, for avx2/ and avxvnni/: everything that ternary.inl.h asks for but the multiplication.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

using Bytes = __m256i;
using Total = __m256i;  // 8 × int32

inline Bytes loadBytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// ---- along the row: one vector is one block of one row ----

inline constexpr int rowVectorBytes = 32;
inline constexpr int rowsPerVector = 1;

inline Bytes loadPacked(const uint8_t* row, const uint8_t*) { return loadBytes(row); }
inline Bytes loadActivations(const int8_t* x) { return loadBytes(x); }

template <int s>
inline Bytes plane(Bytes packed) {
  return _mm256_and_si256(_mm256_srli_epi16(packed, 6 - 2 * s), _mm256_set1_epi8(3));
}

inline Total zeroTotal() { return _mm256_setzero_si256(); }

inline void reduce4(const Total totals[4], int32_t* out) {
  const __m256i ab = _mm256_hadd_epi32(totals[0], totals[1]), cd = _mm256_hadd_epi32(totals[2], totals[3]);
  const __m256i abcd = _mm256_hadd_epi32(ab, cd);
  const __m128i sums = _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), sums);
}

// ---- in groups ----

inline constexpr int groupRowsAtOnce = 2;
inline constexpr int groupActivations = 2;

struct PairCodes {
  Bytes planes[2][4];
};

inline PairCodes unpackPair(const uint8_t* codes) {
  const Bytes even = loadBytes(codes), odd = loadBytes(codes + 32);
  return {{{plane<0>(even), plane<1>(even), plane<2>(even), plane<3>(even)}, {plane<0>(odd), plane<1>(odd), plane<2>(odd), plane<3>(odd)}}};
}

// ---- by tiles: one vector is 4 codes of each of 8 rows ----

inline constexpr int tileRows = 8;
inline constexpr int tileVectors = 2;
inline constexpr int spanBlocks = 8;

inline Bytes loadCodes(const uint8_t* codes) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(codes)); }

inline Bytes broadcast(const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}

// Turns 8 rows of 8 words of 4 bytes: put(j, words) gets word j of every row.
template <class Put>
inline void turnWords(const __m256i rows[8], Put put) {
  __m256i pairs[8];  // [words 0, 1 | 4, 5] and [2, 3 | 6, 7] of two rows
  for (int r = 0; r < 8; r += 2) {
    pairs[r] = _mm256_unpacklo_epi32(rows[r], rows[r + 1]);
    pairs[r + 1] = _mm256_unpackhi_epi32(rows[r], rows[r + 1]);
  }
  for (int j = 0; j < 4; j++) {
    const int half = j / 2;
    const auto fourRows = [&](int r) {
      return j % 2 == 0 ? _mm256_unpacklo_epi64(pairs[r + half], pairs[r + 2 + half])
                        : _mm256_unpackhi_epi64(pairs[r + half], pairs[r + 2 + half]);
    };
    const __m256i upper = fourRows(0), lower = fourRows(4);  // rows 0 … 3 and 4 … 7, words j and j + 4
    put(j, _mm256_permute2x128_si256(upper, lower, 0x20));
    put(j + 4, _mm256_permute2x128_si256(upper, lower, 0x31));
  }
}

// Word j of a block holds the codes of weights 4j … 4j + 3 of each plane.
inline void unpackBlock(const uint8_t* const rows[tileRows], size_t offset, uint8_t* out) {
  __m256i packed[8];
  for (int r = 0; r < 8; r++) packed[r] = loadBytes(rows[r] + offset);
  turnWords(packed, [&](int j, __m256i words) {
    auto* to = reinterpret_cast<__m256i*>(out) + j;
    _mm256_store_si256(to, plane<0>(words));
    _mm256_store_si256(to + 8, plane<1>(words));
    _mm256_store_si256(to + 16, plane<2>(words));
    _mm256_store_si256(to + 24, plane<3>(words));
  });
}

inline void addTotal(__m256i sums, int32_t* acc) {
  auto* to = reinterpret_cast<__m256i*>(acc);
  _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), sums));
}

}  // namespace
}  // namespace bitnet
