// Many rows of activations with AVX2. A line of a strip is two vectors, 4 columns of 8 rows of activations each, which meet 4 codes of a row of
// weights in every lane. So weights unpack without being turned, and the operand that can stay in memory is the one that is used once:
// a register tile is 12 sums, of 3 rows of weights and 4 vectors, 4 and 3, 6 and 2 or 12 and 1, and takes 27 … 36 instructions a step. Include
// after the definitions that ternary.inl.h asks for.
#pragma once
#include <immintrin.h>

#include <cstring>

#include "../kernels.h"

namespace bitnet {
namespace {

inline constexpr int vectorRows = 8;     // rows of activations of one vector
inline constexpr int lineBytes = 4 * stripRows;
inline constexpr int laidOutRows = 24;   // rows of weights that are laid out at a time
inline constexpr int spanColumns = 512;  // so many columns of them: 12 KiB, beside which two strips fit a first-level cache
inline constexpr int sumRows = 128;      // rows of activations whose sums are kept beside each other

inline int leastOf(int a, int b) { return a < b ? a : b; }

void arrange(const int8_t* x, size_t xStride, int nX, int cols, int8_t* strips) {
  for (int first = 0; first < nX; first += stripRows) {
    for (int k = 0; k < cols; k += 32, strips += 8 * lineBytes) {
      for (int half = 0; half < 2; half++) {
        __m256i rows[vectorRows];
        for (int r = 0; r < vectorRows; r++) {
          const int i = first + vectorRows * half + r;
          rows[r] = i < nX ? loadBytes(x + i * xStride + k) : _mm256_setzero_si256();
        }
        auto* to = reinterpret_cast<__m256i*>(strips) + half;
        turnWords(rows, [&](int j, __m256i words) { _mm256_store_si256(to + 2 * j, words); });
      }
    }
  }
}

// sums[r · sumRows + i] += Σ row r · activations i over nSteps · 4 columns, for nRows rows, which lie spanColumns bytes apart. The third and
// fourth vector are those of the strip after the first, stripBytes further. nSteps is a multiple of 32.
template <int nRows, int nVectors>
void addTile(const uint8_t* rows, const int8_t* strip, size_t stripBytes, int nSteps, int32_t* sums) {
  const int8_t* second = strip + stripBytes;
  constexpr int spanSteps = maxSteps / 32 * 32;
  for (int left = nSteps; left > 0; left -= spanSteps) {
    Running tile[nRows][nVectors];
    for (auto& ofRow : tile) {
      for (auto& sum : ofRow) sum = zeroRunning();
    }
    const uint8_t* const end = rows + 4 * leastOf(spanSteps, left);
    for (; rows < end; rows += 16, strip += 4 * lineBytes, second += 4 * lineBytes) {
#pragma GCC unroll 4
      for (int step = 0; step < 4; step++) {
#pragma GCC unroll 12
        for (int r = 0; r < nRows; r++) {
          const Bytes four = broadcast(reinterpret_cast<const int8_t*>(rows + r * spanColumns + 4 * step));
          // Compilers would load the vectors once for all rows, for which there are no registers,
          __asm__("" : "+r"(strip), "+r"(second));
#pragma GCC unroll 4
          for (int v = 0; v < nVectors; v++) {
            const int8_t* from = (v < 2 ? strip : second) + 32 * (v % 2) + step * lineBytes;
            tile[r][v] = multiplyAdd(tile[r][v], four, loadBytes(from));
            // and add the products of several steps first, likewise.
            __asm__("" : "+x"(tile[r][v]));
          }
        }
      }
    }
    for (int r = 0; r < nRows; r++) {
      for (int v = 0; v < nVectors; v++) {
        auto* to = reinterpret_cast<__m256i*>(sums + r * sumRows + v * vectorRows);
        _mm256_store_si256(to, _mm256_add_epi32(_mm256_load_si256(to), widenPairs(tile[r][v])));
      }
    }
  }
}

// Rows that are left over go by ever smaller tiles.
template <int nVectors, int nRows = 12 / nVectors>
void addRows(const uint8_t* rows, int some, const int8_t* strip, size_t stripBytes, int nSteps, int32_t* sums) {
  int r = 0;
  for (; r + nRows <= some; r += nRows) addTile<nRows, nVectors>(rows + r * spanColumns, strip, stripBytes, nSteps, sums + r * sumRows);
  if constexpr (nRows > 1)
    addRows<nVectors, (nRows > 3 ? nRows / 2 : 1)>(rows + r * spanColumns, some - r, strip, stripBytes, nSteps, sums + r * sumRows);
}

constexpr decltype(&addRows<4>) addRowsBySize[] = {nullptr, addRows<1>, addRows<2>, addRows<3>, addRows<4>};

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

// `leave(r, i, n, sums)` gets the sums of n ≤ laidOutRows rows of weights, from row r on, with rows i … i + 7 of activations: those of a row are
// sumRows further than those of the row before.
template <class Leave>
void multiplyStrips(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, Leave leave) {
  alignas(64) uint8_t rows[laidOutRows * spanColumns];
  alignas(64) int32_t sums[laidOutRows * sumRows];
  for (int first = 0; first < nX; first += sumRows) {
    const int count = leastOf(nX - first, sumRows);
    for (int r = 0; r < nRows; r += laidOutRows) {
      const int some = leastOf(nRows - r, laidOutRows);
      std::memset(sums, 0, sizeof sums);
      for (int k = 0; k < cols; k += spanColumns) {
        const int n = leastOf(cols - k, spanColumns);
        for (int j = 0; j < some; j++) unpackRow(weights + (r + j) * rowBytes + k / 4, laidOutRows * rowBytes, n, rows + j * spanColumns);
        for (int i = 0; i < count; i += 2 * stripRows) {
          const int8_t* strip = strips + (first + i) / stripRows * stripBytes + static_cast<size_t>(k) * stripRows;
          const int nVectors = leastOf((count - i + vectorRows - 1) / vectorRows, 4);
          addRowsBySize[nVectors](rows, some, strip, stripBytes, n / 4, sums + i);
        }
      }
      for (int i = 0; i < count; i += vectorRows) leave(r, first + i, some, sums + i);
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

void ternaryTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                  int cols, int32_t* acc, size_t accStride) {
  const auto finish = [&](int i, __m256i sums) { return _mm256_sub_epi32(sums, eightOf(xSums, i, nX)); };
  const auto put = [&](int i, int r, int n, __m256i sums) {
    int32_t* const to = acc + i * accStride + r;
    if (n == 8) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums);
    alignas(32) int32_t eight[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(eight), sums);
    std::memcpy(to, eight, sizeof(int32_t) * static_cast<size_t>(n));
  };
  multiplyStrips(weights, rowBytes, nRows, strips, stripBytes, nX, cols, turned(nX, finish, put));
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

void scaledTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                 int cols, const ScaledRows& to) {
  const auto finish = [&](int i, __m256i sums) { return _mm256_castps_si256(scaledEight(xSums, to.factors, i, nX).of(sums)); };
  const auto put = [&](int i, int r, int n, __m256i results) {
    float* const out = to.out + i * to.stride + r;
    const __m256 values = _mm256_castsi256_ps(results);
    if (n == 8) return _mm256_storeu_ps(out, to.adds ? _mm256_add_ps(_mm256_loadu_ps(out), values) : values);
    alignas(32) float eight[8];
    _mm256_store_ps(eight, values);
    for (int j = 0; j < n; j++) out[j] = to.adds ? out[j] + eight[j] : eight[j];
  };
  multiplyStrips(weights, rowBytes, nRows, strips, stripBytes, nX, cols, turned(nX, finish, put));
}

void laneTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX, int cols,
               const ScaledRows& to) {
  multiplyStrips(weights, rowBytes, nRows, strips, stripBytes, nX, cols, [&](int r, int i, int n, const int32_t* sums) {
    const ScaledEight eight = scaledEight(xSums, to.factors, i, nX);
    float* out = to.out + i / stripRows * stripRows * to.stride + r * stripRows + i % stripRows;
    for (int j = 0; j < n; j++, out += stripRows) {
      const __m256 results = eight.of(sumsOf(sums, j));
      _mm256_storeu_ps(out, to.adds ? _mm256_add_ps(_mm256_loadu_ps(out), results) : results);
    }
  });
}

}  // namespace
}  // namespace bitnet
