// Many rows of activations with AVX2 (strips.inl.h). Activations are operands in memory, so that 12 sums fit the registers, of 3 rows of weights
// and 4 vectors, 4 and 3, 6 and 2 or 12 and 1: 27 … 36 instructions a step.
#pragma once
#include <immintrin.h>

#include <cstring>

#include "../kernels.h"

namespace bitnet {
namespace {

inline constexpr int vectorRows = 8;
inline constexpr int mostVectors = 4;
inline constexpr int tileSums = 12;
inline constexpr bool keepsVectors = false;
inline constexpr int laidOutRows = 24;
inline constexpr int spanColumns = 512;  // 12 KiB, beside which two strips fit a first-level cache

// Columns of a row, and a request for the same ones of a row that is laid out later.
inline void unpackRow(const uint8_t* row, size_t aheadBytes, int nColumns, uint8_t* out) {
  auto* to = reinterpret_cast<__m256i*>(out);
  for (int k = 0; k < nColumns / 4; k += 32, to += 4) {
    if (k % 64 == 0) __builtin_prefetch(row + k + aheadBytes);
    const Bytes packed = loadBytes(row + k);
    _mm256_store_si256(to, plane<0>(packed));
    _mm256_store_si256(to + 1, plane<1>(packed));
    _mm256_store_si256(to + 2, plane<2>(packed));
    _mm256_store_si256(to + 3, plane<3>(packed));
  }
}

}  // namespace
}  // namespace bitnet

#include "../strips.inl.h"

namespace bitnet {
namespace {

void arrange(const Int8Matrix& x, int8_t* strips) {
  for (int first = 0; first < x.rows; first += stripRows) {
    for (int k = 0; k < x.cols; k += 32, strips += 8 * lineBytes) {
      for (int half = 0; half < 2; half++) {
        __m256i rows[vectorRows];
        for (int r = 0; r < vectorRows; r++) {
          const int i = first + vectorRows * half + r;
          rows[r] = i < x.rows ? loadBytes(x.row(i) + k) : _mm256_setzero_si256();
        }
        auto* to = reinterpret_cast<__m256i*>(strips) + half;
        turnWords(rows, [&](int j, __m256i words) { _mm256_store_si256(to + 2 * j, words); });
      }
    }
  }
}

inline __m256i sumsOf(const int32_t* sums, int row) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(sums + row * sumRows)); }

// `finish(i, sums)` makes results of a row's sums with rows i … i + 7 of activations. `put(i, r, n, results)` gets those of row i of activations
// from row r of weights on, n of them.
template <class Finish, class Put>
auto turned(int nX, Finish finish, Put put) {
  return [=](int r, int i, int n, const int32_t* sums) {
    for (int j = 0; j < n; j += 8) {
      __m256i eight[8];
      for (int h = 0; h < 8; h++) eight[h] = finish(i, sumsOf(sums, leastOf(j + h, n - 1)));
      turnWords(eight, [&](int h, __m256i results) {
        if (i + h < nX) put(i + h, r + j, leastOf(8, n - j), results);
      });
    }
  };
}

// Eight of the nX values of 32 bits from the i-th on, 0 where there are none.
inline __m256i eightOf(const void* values, int i, int nX) {
  if (i + 8 <= nX) return loadBytes(static_cast<const int32_t*>(values) + i);
  alignas(32) int32_t eight[8] = {};
  std::memcpy(eight, static_cast<const int32_t*>(values) + i, sizeof(int32_t) * static_cast<size_t>(nX - i));
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(eight));
}

void ternaryTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const SumMatrix& acc) {
  const auto finish = [&](int i, __m256i sums) { return _mm256_sub_epi32(sums, eightOf(xSums, i, x.rows)); };
  const auto put = [&](int i, int r, int n, __m256i sums) {
    int32_t* const to = acc.row(i) + r;
    if (n == 8) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums);
    alignas(32) int32_t eight[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(eight), sums);
    std::memcpy(to, eight, sizeof(int32_t) * static_cast<size_t>(n));
  };
  multiplyStrips(weights, x, turned(x.rows, finish, put));
}

// float(Σ code · x − Σ x) · factor for rows i … i + 7 of activations.
struct ScaledEight {
  __m256i xSums;
  __m256 factors;
  __m256 of(__m256i sums) const { return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(sums, xSums)), factors); }
};

inline ScaledEight scaledEight(const int32_t* xSums, const float* factors, int i, int nX) {
  return {eightOf(xSums, i, nX), _mm256_castsi256_ps(eightOf(factors, i, nX))};
}

void scaledTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
  const auto finish = [&](int i, __m256i sums) { return _mm256_castps_si256(scaledEight(xSums, to.factors, i, x.rows).of(sums)); };
  const auto put = [&](int i, int r, int n, __m256i results) {
    float* const out = to.out + i * to.stride + r;
    const __m256 values = _mm256_castsi256_ps(results);
    if (n == 8) return _mm256_storeu_ps(out, to.adds ? _mm256_add_ps(_mm256_loadu_ps(out), values) : values);
    alignas(32) float eight[8];
    _mm256_store_ps(eight, values);
    for (int j = 0; j < n; j++) out[j] = to.adds ? out[j] + eight[j] : eight[j];
  };
  multiplyStrips(weights, x, turned(x.rows, finish, put));
}

void laneTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
  multiplyStrips(weights, x, [&](int r, int i, int n, const int32_t* sums) {
    const ScaledEight eight = scaledEight(xSums, to.factors, i, x.rows);
    float* out = to.out + i / stripRows * stripRows * to.stride + r * stripRows + i % stripRows;
    for (int j = 0; j < n; j++, out += stripRows) {
      const __m256 results = eight.of(sumsOf(sums, j));
      _mm256_storeu_ps(out, to.adds ? _mm256_add_ps(_mm256_loadu_ps(out), results) : results);
    }
  });
}

}  // namespace
}  // namespace bitnet
