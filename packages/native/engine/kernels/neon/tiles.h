// Matrix products by the byte products of ARMv8.6 (i8mm): 2 × 8 values by 8 × 2. Both factors lie as pairs of rows, 8 columns of each: a strip
// of activations holds 8 pairs for every 8 columns, a span of weights 4. Include after blocks.h.
#pragma once
#include <arm_neon.h>

#include <cstring>

#include "../kernels.h"

namespace bitnet {
namespace {

inline constexpr int groupColumns = 8;
inline constexpr int spanPairs = 4;
inline constexpr int spanRows = 2 * spanPairs;                     // rows of weights that go together
inline constexpr int spanGroupBytes = spanRows * groupColumns;     // of 8 columns
inline constexpr int stripGroupBytes = stripRows * groupColumns;
inline constexpr int spanColumns = 2048;                              // of a span: 16 KiB
inline constexpr int sumRows = 128;                                   // rows of activations whose sums are kept beside each other

inline int leastOf(int a, int b) { return a < b ? a : b; }

void arrange(const Int8Matrix& x, int8_t* strips) {
  for (int first = 0; first < x.rows; first += stripRows) {
    for (int k = 0; k < x.cols; k += groupColumns) {
      for (int i = first; i < first + stripRows; i++, strips += groupColumns) {
        if (i < x.rows) {
          std::memcpy(strips, x.row(i) + k, groupColumns);
        } else {
          std::memset(strips, 0, groupColumns);
        }
      }
    }
  }
}

// 16 columns of a pair of rows; the next 8 columns lie a group further.
inline void storePair(int8x16_t a, int8x16_t b, int8_t* span) {
  const int64x2_t first = vreinterpretq_s64_s8(a), second = vreinterpretq_s64_s8(b);
  vst1q_s8(span, vreinterpretq_s8_s64(vzip1q_s64(first, second)));
  vst1q_s8(span + spanGroupBytes, vreinterpretq_s8_s64(vzip2q_s64(first, second)));
}

// sums[i · 8 + r] += Σ span row r · row i over nGroups · 8 columns, for 8 rows of a strip.
void addPairs(const int8_t* span, const int8_t* x, int nGroups, int32_t* sums) {
  int32x4_t tile[spanPairs][spanPairs];
  for (auto& ofPair : tile) {
    for (auto& sum : ofPair) sum = vdupq_n_s32(0);
  }
  for (int g = 0; g < nGroups; g++, span += spanGroupBytes, x += stripGroupBytes) {
    int8x16_t weights[spanPairs], rows[spanPairs];
    for (int p = 0; p < spanPairs; p++) weights[p] = vld1q_s8(span + 16 * p);
    for (int p = 0; p < spanPairs; p++) rows[p] = vld1q_s8(x + 16 * p);
    for (int p = 0; p < spanPairs; p++) {
      for (int q = 0; q < spanPairs; q++) tile[p][q] = vmmlaq_s32(tile[p][q], weights[p], rows[q]);
    }
  }
  for (int p = 0; p < spanPairs; p++) {
    for (int q = 0; q < spanPairs; q++) {
      // [first weight · first x, first · second, second · first, second · second]
      int32_t four[4];
      vst1q_s32(four, tile[p][q]);
      int32_t* to = sums + 2 * q * spanRows + 2 * p;
      to[0] += four[0];
      to[spanRows] += four[1];
      to[1] += four[2];
      to[spanRows + 1] += four[3];
    }
  }
}

// `fill(row, nRows, column, nColumns, span)` lays out at most 8 rows of weights, the last of them again where rows are missing;
// `put(i, r, sum)` gets each sum.
template <class Fill, class Put>
void multiplyPairs(int nRows, const StripMatrix& x, const int32_t* xSums, Fill fill, Put put) {
  const int nX = x.rows, cols = x.cols;
  alignas(64) int8_t span[spanRows * spanColumns];
  int32_t sums[sumRows * spanRows];
  for (int i = 0; i < nX; i += sumRows) {
    const int count = leastOf(nX - i, sumRows);
    for (int r = 0; r < nRows; r += spanRows) {
      const int some = leastOf(nRows - r, spanRows);
      std::memset(sums, 0, sizeof sums);
      for (int first = 0; first < cols; first += spanColumns) {
        const int n = leastOf(cols - first, spanColumns);
        fill(r, some, first, n, span);
        for (int j = 0; j < count; j += spanRows) {
          const int8_t* strip = x.data + (i + j) / stripRows * x.stride + (i + j) % stripRows * groupColumns;
          addPairs(span, strip + static_cast<size_t>(first) * stripRows, n / groupColumns, sums + j * spanRows);
        }
      }
      for (int j = 0; j < count; j++) {
        const int32_t bias = xSums ? xSums[i + j] : 0;
        for (int k = 0; k < some; k++) put(i + j, r + k, sums[j * spanRows + k] - bias);
      }
    }
  }
}

// A block of 128 columns of a pair of rows.
inline void unpackPair(const uint8_t* a, const uint8_t* b, int8_t* span) {
  for (int half = 0; half < 2; half++) {
    const Bytes first = loadPacked(a + 16 * half, nullptr), second = loadPacked(b + 16 * half, nullptr);
    // Plane s begins at column 32 s + 16 half.
    int8_t* to = span + 2 * half * spanGroupBytes;
    storePair(plane<0>(first), plane<0>(second), to);
    storePair(plane<1>(first), plane<1>(second), to + 4 * spanGroupBytes);
    storePair(plane<2>(first), plane<2>(second), to + 8 * spanGroupBytes);
    storePair(plane<3>(first), plane<3>(second), to + 12 * spanGroupBytes);
  }
}

template <class Put>
void ternaryProduct(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, Put put) {
  const auto fill = [&](int row, int some, int first, int n, int8_t* span) {
    for (int p = 0; p < spanPairs; p++) {
      const uint8_t *a = weights.row(row + leastOf(2 * p, some - 1)), *b = weights.row(row + leastOf(2 * p + 1, some - 1));
      for (int k = 0; k < n; k += 128) unpackPair(a + (first + k) / 4, b + (first + k) / 4, span + k * spanRows + 16 * p);
    }
  };
  multiplyPairs(weights.rows, x, xSums, fill, put);
}

void ternaryPairs(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const SumMatrix& acc) {
  const auto put = [&](int i, int r, int32_t sum) { acc.row(i)[r] = sum; };
  ternaryProduct(weights, x, xSums, put);
}

void scaledPairs(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
  const auto put = [&](int i, int r, int32_t sum) {
    float& out = to.out[i * to.stride + r];
    const float scaled = static_cast<float>(sum) * to.factors[i];
    out = to.adds ? out + scaled : scaled;
  };
  ternaryProduct(weights, x, xSums, put);
}

void screenPairs(const Int8Matrix& table, const StripMatrix& x, const SumMatrix& acc) {
  const auto fill = [&](int row, int some, int first, int n, int8_t* span) {
    for (int p = 0; p < spanPairs; p++) {
      const int8_t *a = table.row(row + leastOf(2 * p, some - 1)) + first, *b = table.row(row + leastOf(2 * p + 1, some - 1)) + first;
      for (int k = 0; k < n; k += 16) storePair(vld1q_s8(a + k), vld1q_s8(b + k), span + k * spanRows + 16 * p);
    }
  };
  const auto put = [&](int i, int r, int32_t sum) { acc.row(i)[r] = sum; };
  multiplyPairs(table.rows, x, nullptr, fill, put);
}

}  // namespace
}  // namespace bitnet
