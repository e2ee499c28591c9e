// Matrix products in tiles of registers: every element is one chain of fused multiply-adds per 256 columns, so that the size of tiles
// changes no bit. Include after a lanes.h and f32-lanes.inl.h.
#pragma once
#include <algorithm>

#include "train-kernels.h"

namespace bitnet::train {
namespace {

constexpr int panelVectors = registerVectors >= 32 ? 2 : 1;
constexpr int panelCols = 16 * panelVectors;
constexpr int tileRows = registerVectors >= 32 ? 12 : 6;
static_assert(rowsPerTask % tileRows == 0);

void packA(const Product& p, int first, int end) {
  const int nTiles = (p.m + tileRows - 1) / tileRows;
  for (int tile = 0; tile < nTiles; tile++) {
    const int row = tile * tileRows, rows = std::min(tileRows, p.m - row);
    float* out = p.packedA + (static_cast<size_t>(tile) * p.k + first) * tileRows;
    for (int k = first; k < end; k++) {
      const F32x16 share = splat(p.innerDivisors ? p.innerFactors[k] : 1.0f);
      storeUpTo(out, tileRows, multiply(loadUpTo(p.a + static_cast<size_t>(k) * p.m + row, rows), share));
      out += tileRows;
    }
  }
}

void packB(const Product& p, int panel) {
  const int first = panel * panelCols, cols = std::min(panelCols, p.n - first);
  float* out = p.packedB + static_cast<size_t>(panel) * panelCols * p.k;
  if (!p.transB) {
    for (int k = 0; k < p.k; k++) {
      const float* from = p.b + static_cast<size_t>(k) * p.n + first;
      for (int j = 0; j < cols; j++) out[j] = from[j];
      for (int j = cols; j < panelCols; j++) out[j] = 0.0f;
      out += panelCols;
    }
    return;
  }
  constexpr int block = 16;
  for (int k0 = 0; k0 < p.k; k0 += block) {
    const int end = std::min(p.k, k0 + block);
    for (int j = 0; j < panelCols; j++) {
      const float* from = p.b + static_cast<size_t>(first + j) * p.k;
      for (int k = k0; k < end; k++) out[static_cast<size_t>(k) * panelCols + j] = j < cols ? from[k] : 0.0f;
    }
  }
}

enum class Ending { whole, first, middle, last, adds };

// A tile's chains over `n` columns; element (i, k) of a stands at a[i · rowStride + k · colStride].
template <bool isPacked>
inline __attribute__((always_inline)) void tileChains(int n, const float* a, size_t rowStride, const float* b, F32x16 (&sums)[tileRows][panelVectors]) {
#pragma GCC unroll 12
  for (int i = 0; i < tileRows; i++)
#pragma GCC unroll 2
    for (int v = 0; v < panelVectors; v++) sums[i][v] = splat(0.0f);
  constexpr int groups = tileRows / 3;
  const float* rows[groups];
#pragma GCC unroll 4
  for (int g = 0; g < groups; g++) rows[g] = a + static_cast<size_t>(3 * g) * rowStride;
  for (int k = 0; k < n; k++) {
    F32x16 cols[panelVectors];
#pragma GCC unroll 2
    for (int v = 0; v < panelVectors; v++) cols[v] = load(b + 16 * v);
    b += panelCols;
#pragma GCC unroll 12
    for (int i = 0; i < tileRows; i++) {
      const F32x16 x = splat(isPacked ? a[i] : rows[i / 3][(i % 3) * rowStride + k]);
#pragma GCC unroll 2
      for (int v = 0; v < panelVectors; v++) sums[i][v] = mulAdd(x, cols[v], sums[i][v]);
    }
    if (isPacked) a += tileRows;
  }
}

inline void finishTile(const F32x16 (&sums)[tileRows][panelVectors], float* out, size_t stride, int rows, int cols, const float* factors, Ending ending) {
#pragma GCC unroll 12
  for (int i = 0; i < tileRows; i++) {
    if (i >= rows) break;
    const F32x16 factor = splat(factors[i]);
#pragma GCC unroll 2
    for (int v = 0; v < panelVectors; v++) {
      const int n = cols - 16 * v;
      if (n <= 0) break;
      float* to = out + i * stride + 16 * v;
      F32x16 x = sums[i][v];
      if (ending == Ending::adds) x = add(loadUpTo(to, n), multiply(x, factor));
      if (ending == Ending::middle || ending == Ending::last) x = add(loadUpTo(to, n), x);
      if (ending == Ending::whole || ending == Ending::last) x = multiply(x, factor);
      storeUpTo(to, n, x);
    }
  }
}

template <bool isPacked>
void multiplyRows(const Product& p, int first, int end) {
  const int nPanels = (p.n + panelCols - 1) / panelCols;
  float factors[rowsPerTask];
  for (int i = first; i < end; i++) factors[i - first] = p.rowDivisors ? p.factor / p.rowDivisors[i] : p.factor;
  for (int k0 = 0; k0 < p.k; k0 += chainLength) {
    const int n = std::min(chainLength, p.k - k0);
    const bool isFirst = k0 == 0, isLast = k0 + n == p.k;
    const Ending ending = p.adds ? Ending::adds : isFirst ? (isLast ? Ending::whole : Ending::first) : isLast ? Ending::last : Ending::middle;
    for (int panel = 0; panel < nPanels; panel++) {
      const float* b = p.packedB + (static_cast<size_t>(panel) * p.k + k0) * panelCols;
      const int cols = std::min(panelCols, p.n - panel * panelCols);
      for (int row = first; row < end; row += tileRows) {
        const int rows = std::min(tileRows, end - row);
        F32x16 sums[tileRows][panelVectors];
        if constexpr (isPacked) {
          const float* a = p.packedA + (static_cast<size_t>(row / tileRows) * p.k + k0) * tileRows;
          tileChains<true>(n, a, 1, b, sums);
        } else if (rows == tileRows) {
          tileChains<false>(n, p.a + static_cast<size_t>(row) * p.k + k0, static_cast<size_t>(p.k), b, sums);
        } else {
          // Fewer rows than a tile: the missing ones are copies that nobody stores.
          alignas(64) float some[tileRows * chainLength];
          for (int i = 0; i < tileRows; i++)
            std::copy_n(p.a + static_cast<size_t>(row + std::min(i, rows - 1)) * p.k + k0, n, some + i * chainLength);
          tileChains<false>(n, some, chainLength, b, sums);
        }
        finishTile(sums, p.out + static_cast<size_t>(row) * p.n + panel * panelCols, static_cast<size_t>(p.n), rows, cols, factors + (row - first), ending);
      }
    }
  }
}

void multiplyTask(const Product& p, int first, int end) {
  if (p.transA) multiplyRows<true>(p, first, end);
  else multiplyRows<false>(p, first, end);
}

// Four rows by four columns at a time: 16 vectors of chains.
void stripedDots(const float* a, const float* b, float* out, int first, int end, int n, int k) {
  for (int j = 0; j < n; j += 4) {
    const int cols = std::min(4, n - j);
    const float* column[4];
    for (int v = 0; v < 4; v++) column[v] = b + static_cast<size_t>(j + std::min(v, cols - 1)) * k;
    for (int i = first; i < end; i += 4) {
      const int rows = std::min(4, end - i);
      const float* row[4];
      for (int u = 0; u < 4; u++) row[u] = a + static_cast<size_t>(i + std::min(u, rows - 1)) * k;
      F32x16 sums[16];
      for (auto& sum : sums) sum = splat(0.0f);
      for (int c = 0; c < k; c += 16) {
        const int left = k - c;
        F32x16 y[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) y[v] = loadUpTo(column[v] + c, left);
#pragma GCC unroll 4
        for (int u = 0; u < 4; u++) {
          const F32x16 x = loadUpTo(row[u] + c, left);
#pragma GCC unroll 4
          for (int v = 0; v < 4; v++) sums[4 * u + v] = mulAdd(x, y[v], sums[4 * u + v]);
        }
      }
      float results[16];
      for (int u = 0; u < 4; u++) fold4(sums[4 * u], sums[4 * u + 1], sums[4 * u + 2], sums[4 * u + 3], results + 4 * u);
      for (int u = 0; u < rows; u++)
        for (int v = 0; v < cols; v++) out[static_cast<size_t>(i + u) * n + j + v] = results[4 * u + v];
    }
  }
}

}  // namespace
}  // namespace bitnet::train
