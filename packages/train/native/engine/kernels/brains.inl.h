// Products of bf16: both operands are rounded, pairs of products are added to chains in f32, which stay as long as those of product.inl.h.
// For the way back only. Include after product.inl.h where `dotBrains` is known, with AVX-512 BF16.
#pragma once
#include <algorithm>
#include <cstring>

#include "train-kernels.h"

namespace bitnet::train {
namespace {

// Lane j: low[j] and high[j], a pair of what is summed over.
inline I32x16 pairOf(F32x16 low, F32x16 high) {
  const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
  alignas(64) static constexpr uint16_t order[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(order), both);
}

// a [k, m] → [tiles][pairs][tileRows][2], pairs [first, end).
void packBrainsA(const Product& p, int first, int end) {
  const int nTiles = (p.m + tileRows - 1) / tileRows, pairs = (p.k + 1) / 2;
  for (int tile = 0; tile < nTiles; tile++) {
    const int row = tile * tileRows, rows = std::min(tileRows, p.m - row);
    float* out = p.packedA + (static_cast<size_t>(tile) * pairs + first) * tileRows;
    for (int pair = first; pair < end; pair++) {
      F32x16 halves[2];
      for (int i = 0; i < 2; i++) {
        const int k = 2 * pair + i;
        halves[i] = k < p.k ? loadUpTo(p.a + static_cast<size_t>(k) * p.m + row, rows) : splat(0.0f);
        if (p.innerDivisors && k < p.k) halves[i] = multiply(halves[i], splat(p.innerFactors[k]));
      }
      storeUpTo(out, tileRows, floatOf(pairOf(halves[0], halves[1])));
      out += tileRows;
    }
  }
}

// b [k, n] → [panels][pairs][panelCols][2].
void packBrainsB(const Product& p, int panel) {
  const int first = panel * panelCols, pairs = (p.k + 1) / 2;
  float* out = p.packedB + static_cast<size_t>(panel) * panelCols * pairs;
  for (int pair = 0; pair < pairs; pair++)
    for (int v = 0; v < panelVectors; v++) {
      const int at = first + 16 * v, cols = p.n - at, k = 2 * pair;
      const float* from = p.b + static_cast<size_t>(k) * p.n + at;
      const F32x16 low = cols > 0 ? loadUpTo(from, cols) : splat(0.0f);
      const F32x16 high = cols > 0 && k + 1 < p.k ? loadUpTo(from + p.n, cols) : splat(0.0f);
      store(out, floatOf(pairOf(low, high)));
      out += 16;
    }
}

// A row as bf16, with a zero more where k is odd.
inline void brainsOfRow(const float* from, int k, uint16_t* to) {
  for (int c = 0; c < k; c += 16) {
    const int n = std::min(16, k - c);
    const __m256i brains = (__m256i)_mm512_cvtneps_pbh(loadUpTo(from + c, n));
    _mm256_mask_storeu_epi16(to + c, static_cast<__mmask16>((1u << ((n + 1) / 2 * 2)) - 1), brains);
  }
}

inline __attribute__((always_inline)) void tileOfBrains(int pairs, const float* a, size_t rowStride, size_t pairStride, const float* b,
                                                        F32x16 (&sums)[tileRows][panelVectors]) {
#pragma GCC unroll 12
  for (int i = 0; i < tileRows; i++)
#pragma GCC unroll 2
    for (int v = 0; v < panelVectors; v++) sums[i][v] = splat(0.0f);
  constexpr int nStarts = tileRows / 3;
  const float* rows[nStarts];
#pragma GCC unroll 4
  for (int i = 0; i < nStarts; i++) rows[i] = a + static_cast<size_t>(3 * i) * rowStride;
  for (int pair = 0; pair < pairs; pair++) {
    F32x16 columns[panelVectors];
#pragma GCC unroll 2
    for (int v = 0; v < panelVectors; v++) columns[v] = load(b + 16 * v);
    b += panelCols;
#pragma GCC unroll 12
    for (int i = 0; i < tileRows; i++) {
      const F32x16 x = splat(rows[i / 3][(i % 3) * rowStride]);
#pragma GCC unroll 2
      for (int v = 0; v < panelVectors; v++) sums[i][v] = dotBrains(sums[i][v], x, columns[v]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < nStarts; i++) rows[i] += pairStride;
  }
}

void multiplyBrains(const Product& p, int first, int end) {
  const int nPanels = (p.n + panelCols - 1) / panelCols, pairs = (p.k + 1) / 2;
  float factors[rowsPerTask];
  for (int i = first; i < end; i++) {
    factors[i - first] = p.rowDivisors ? p.factor / p.rowDivisors[i] : p.factor;
    if (!p.transA) brainsOfRow(p.a + static_cast<size_t>(i) * p.k, p.k, reinterpret_cast<uint16_t*>(p.packedA + static_cast<size_t>(i) * pairs));
  }
  for (int k0 = 0; k0 < p.k; k0 += chainLength) {
    const int n = std::min(chainLength, p.k - k0);
    const bool isFirst = k0 == 0, isLast = k0 + n == p.k;
    const Ending ending = p.adds ? Ending::adds : isFirst ? (isLast ? Ending::whole : Ending::first) : isLast ? Ending::last : Ending::middle;
    for (int panel = 0; panel < nPanels; panel++) {
      const float* b = p.packedB + (static_cast<size_t>(panel) * pairs + k0 / 2) * panelCols;
      const int cols = std::min(panelCols, p.n - panel * panelCols);
      for (int row = first; row < end; row += tileRows) {
        F32x16 sums[tileRows][panelVectors];
        if (p.transA) tileOfBrains((n + 1) / 2, p.packedA + (static_cast<size_t>(row / tileRows) * pairs + k0 / 2) * tileRows, 1, tileRows, b, sums);
        // A tile may reach past the last row: there is memory, and nobody stores what comes of it.
        else tileOfBrains((n + 1) / 2, p.packedA + static_cast<size_t>(row) * pairs + k0 / 2, static_cast<size_t>(pairs), 1, b, sums);
        float* out = p.out + static_cast<size_t>(row) * p.n + panel * panelCols;
        finishTile(sums, out, static_cast<size_t>(p.n), std::min(tileRows, end - row), cols, factors + (row - first), ending);
      }
    }
  }
}

}  // namespace
}  // namespace bitnet::train
