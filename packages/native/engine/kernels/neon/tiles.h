// Matrix products by the byte products of ARMv8.6 (i8mm): 2 × 8 values by 8 × 2. Both factors lie as pairs of rows, 8 columns of each: a strip
// of activations holds 8 pairs for every 8 columns, a panel of weights 4. Include after blocks.h.
#pragma once
#include <arm_neon.h>

#include <cstring>

#include "../kernels.h"

namespace bitnet {
namespace {

inline constexpr int groupColumns = 8;
inline constexpr int panelPairs = 4;
inline constexpr int panelRows8 = 2 * panelPairs;                     // rows of weights that go together
inline constexpr int panelGroupBytes = panelRows8 * groupColumns;     // of 8 columns
inline constexpr int stripGroupBytes = stripRows * groupColumns;
inline constexpr int spanColumns = 2048;                              // of a panel: 16 KiB
inline constexpr int sumRows = 128;                                   // rows of activations whose sums are kept beside each other

inline int leastOf(int a, int b) { return a < b ? a : b; }

void arrange(const int8_t* x, size_t xStride, int nX, int cols, int8_t* strips) {
  for (int first = 0; first < nX; first += stripRows) {
    for (int k = 0; k < cols; k += groupColumns) {
      for (int i = first; i < first + stripRows; i++, strips += groupColumns) {
        if (i < nX) {
          std::memcpy(strips, x + i * xStride + k, groupColumns);
        } else {
          std::memset(strips, 0, groupColumns);
        }
      }
    }
  }
}

// 16 columns of a pair of rows; the next 8 columns lie a group further.
inline void storePair(int8x16_t a, int8x16_t b, int8_t* panel) {
  const int64x2_t first = vreinterpretq_s64_s8(a), second = vreinterpretq_s64_s8(b);
  vst1q_s8(panel, vreinterpretq_s8_s64(vzip1q_s64(first, second)));
  vst1q_s8(panel + panelGroupBytes, vreinterpretq_s8_s64(vzip2q_s64(first, second)));
}

// sums[i · 8 + r] += Σ panel row r · row i over nGroups · 8 columns, for 8 rows of a strip.
void addPairs(const int8_t* panel, const int8_t* x, int nGroups, int32_t* sums) {
  int32x4_t tile[panelPairs][panelPairs];
  for (auto& ofPair : tile) {
    for (auto& sum : ofPair) sum = vdupq_n_s32(0);
  }
  for (int g = 0; g < nGroups; g++, panel += panelGroupBytes, x += stripGroupBytes) {
    int8x16_t weights[panelPairs], rows[panelPairs];
    for (int p = 0; p < panelPairs; p++) weights[p] = vld1q_s8(panel + 16 * p);
    for (int p = 0; p < panelPairs; p++) rows[p] = vld1q_s8(x + 16 * p);
    for (int p = 0; p < panelPairs; p++) {
      for (int q = 0; q < panelPairs; q++) tile[p][q] = vmmlaq_s32(tile[p][q], weights[p], rows[q]);
    }
  }
  for (int p = 0; p < panelPairs; p++) {
    for (int q = 0; q < panelPairs; q++) {
      // [first weight · first x, first · second, second · first, second · second]
      int32_t four[4];
      vst1q_s32(four, tile[p][q]);
      int32_t* to = sums + 2 * q * panelRows8 + 2 * p;
      to[0] += four[0];
      to[panelRows8] += four[1];
      to[1] += four[2];
      to[panelRows8 + 1] += four[3];
    }
  }
}

// `fill(row, nRows, column, nColumns, panel)` lays out at most 8 rows of weights, the last of them again where rows are missing;
// `put(i, r, sum)` gets each sum.
template <class Fill, class Put>
void multiplyPairs(int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX, int cols, Fill fill, Put put) {
  alignas(64) int8_t panel[panelRows8 * spanColumns];
  int32_t sums[sumRows * panelRows8];
  for (int i = 0; i < nX; i += sumRows) {
    const int count = leastOf(nX - i, sumRows);
    for (int r = 0; r < nRows; r += panelRows8) {
      const int some = leastOf(nRows - r, panelRows8);
      std::memset(sums, 0, sizeof sums);
      for (int first = 0; first < cols; first += spanColumns) {
        const int n = leastOf(cols - first, spanColumns);
        fill(r, some, first, n, panel);
        for (int j = 0; j < count; j += panelRows8) {
          const int8_t* strip = strips + (i + j) / stripRows * stripBytes + (i + j) % stripRows * groupColumns;
          addPairs(panel, strip + static_cast<size_t>(first) * stripRows, n / groupColumns, sums + j * panelRows8);
        }
      }
      for (int j = 0; j < count; j++) {
        const int32_t bias = xSums ? xSums[i + j] : 0;
        for (int k = 0; k < some; k++) put(i + j, r + k, sums[j * panelRows8 + k] - bias);
      }
    }
  }
}

// A block of 128 columns of a pair of rows.
inline void unpackPair(const uint8_t* a, const uint8_t* b, int8_t* panel) {
  for (int half = 0; half < 2; half++) {
    const Bytes first = loadPacked(a + 16 * half, nullptr), second = loadPacked(b + 16 * half, nullptr);
    // Plane s begins at column 32 s + 16 half.
    int8_t* to = panel + 2 * half * panelGroupBytes;
    storePair(plane<0>(first), plane<0>(second), to);
    storePair(plane<1>(first), plane<1>(second), to + 4 * panelGroupBytes);
    storePair(plane<2>(first), plane<2>(second), to + 8 * panelGroupBytes);
    storePair(plane<3>(first), plane<3>(second), to + 12 * panelGroupBytes);
  }
}

template <class Put>
void ternaryProduct(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                    int cols, Put put) {
  const auto fill = [&](int row, int some, int first, int n, int8_t* panel) {
    const auto rowOf = [&](int j) { return weights + (row + leastOf(j, some - 1)) * rowBytes; };
    for (int p = 0; p < panelPairs; p++) {
      const uint8_t *a = rowOf(2 * p), *b = rowOf(2 * p + 1);
      for (int k = 0; k < n; k += 128) unpackPair(a + (first + k) / 4, b + (first + k) / 4, panel + k * panelRows8 + 16 * p);
    }
  };
  multiplyPairs(nRows, strips, stripBytes, xSums, nX, cols, fill, put);
}

void ternaryPairs(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                  int cols, int32_t* acc, size_t accStride) {
  const auto put = [&](int i, int r, int32_t sum) { acc[i * accStride + r] = sum; };
  ternaryProduct(weights, rowBytes, nRows, strips, stripBytes, xSums, nX, cols, put);
}

void scaledPairs(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                 int cols, const ScaledRows& to) {
  const auto put = [&](int i, int r, int32_t sum) {
    float& out = to.out[i * to.stride + r];
    const float scaled = static_cast<float>(sum) * to.factors[i];
    out = to.adds ? out + scaled : scaled;
  };
  ternaryProduct(weights, rowBytes, nRows, strips, stripBytes, xSums, nX, cols, put);
}

void screenPairs(const int8_t* rows, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, int32_t* acc,
                 size_t accStride) {
  const auto fill = [&](int row, int some, int first, int n, int8_t* panel) {
    const auto rowOf = [&](int j) { return rows + (row + leastOf(j, some - 1)) * rowBytes + first; };
    for (int p = 0; p < panelPairs; p++) {
      const int8_t *a = rowOf(2 * p), *b = rowOf(2 * p + 1);
      for (int k = 0; k < n; k += 16) storePair(vld1q_s8(a + k), vld1q_s8(b + k), panel + k * panelRows8 + 16 * p);
    }
  };
  const auto put = [&](int i, int r, int32_t sum) { acc[i * accStride + r] = sum; };
  multiplyPairs(nRows, strips, stripBytes, nullptr, nX, cols, fill, put);
}

}  // namespace
}  // namespace bitnet
