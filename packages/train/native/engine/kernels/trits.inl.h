// Products of whole numbers −128 … 127 with trits in bytes: sums of integers, exact and so the bits of the f32 chains of product.inl.h as
// long as those stay below 2²⁴. A trit goes as trit + 1, unsigned, which adds the sum of the row's numbers; that is taken off again.
// Include after product.inl.h, where `dotBytes` is known.
#pragma once
#include <algorithm>
#include <cstring>

#include "train-kernels.h"

namespace bitnet::train {
namespace {

// b [n, k] → [panels][k / 4][panelCols][4].
void packTrits(const Product& p, int panel) {
  const int first = panel * panelCols, cols = std::min(panelCols, p.n - first), groups = byteColumns(p.k) / 4;
  int8_t* out = p.bytesB + static_cast<size_t>(panel) * panelCols * byteColumns(p.k);
  for (int j = 0; j < panelCols; j++) {
    // Columns past the last are copies of it that nobody stores.
    const float* from = p.b + static_cast<size_t>(first + std::min(j, cols - 1)) * p.k;
    for (int g = 0; g < groups; g += 4) {
      int8_t bytes[16];
      storeBytes(bytes, addInt(toInt(loadUpTo(from + 4 * g, p.k - 4 * g)), splatInt(1)));
      for (int part = 0; part < 4; part++) std::memcpy(out + 4 * (static_cast<size_t>(g + part) * panelCols + j), bytes + 4 * part, 4);
    }
  }
}

// A row of whole numbers as bytes, with zeros up to whole vectors. Returns their sum.
inline int32_t bytesOfRow(const float* from, int k, int8_t* to) {
  I32x16 sums = splatInt(0);
  for (int c = 0; c < k; c += 16) {
    const I32x16 x = toInt(loadUpTo(from + c, k - c));
    sums = addInt(sums, x);
    storeBytes(to + c, x);
  }
  return sumOfInts(sums);
}

// The sums of a tile, from minus the sums of its rows on.
inline __attribute__((always_inline)) void tileOfBytes(int groups, const int8_t* a, size_t stride, const int8_t* b, const int32_t* rowSums,
                                                       I32x16 (&sums)[tileRows][panelVectors]) {
#pragma GCC unroll 12
  for (int i = 0; i < tileRows; i++)
#pragma GCC unroll 2
    for (int v = 0; v < panelVectors; v++) sums[i][v] = splatInt(-rowSums[i]);
  constexpr int nStarts = tileRows / 3;
  const int8_t* rows[nStarts];
#pragma GCC unroll 4
  for (int i = 0; i < nStarts; i++) rows[i] = a + static_cast<size_t>(3 * i) * stride;
  for (size_t at = 0; at < 4 * static_cast<size_t>(groups); at += 4) {
    I32x16 columns[panelVectors];
#pragma GCC unroll 2
    for (int v = 0; v < panelVectors; v++) columns[v] = loadInt(reinterpret_cast<const int32_t*>(b + 64 * v));
    b += 4 * panelCols;
#pragma GCC unroll 12
    for (int i = 0; i < tileRows; i++) {
      int32_t four;
      std::memcpy(&four, rows[i / 3] + (i % 3) * stride + at, 4);
      const I32x16 x = splatInt(four);
#pragma GCC unroll 2
      for (int v = 0; v < panelVectors; v++) sums[i][v] = dotBytes(sums[i][v], columns[v], x);
    }
  }
}

void multiplyTrits(const Product& p, int first, int end) {
  const int nPanels = (p.n + panelCols - 1) / panelCols, stride = byteColumns(p.k);
  float factors[rowsPerTask];
  int32_t rowSums[rowsPerTask + tileRows] = {};
  for (int i = first; i < end; i++) {
    factors[i - first] = p.rowDivisors ? p.factor / p.rowDivisors[i] : p.factor;
    rowSums[i - first] = bytesOfRow(p.a + static_cast<size_t>(i) * p.k, p.k, p.bytesA + static_cast<size_t>(i) * stride);
  }
  for (int panel = 0; panel < nPanels; panel++) {
    const int cols = std::min(panelCols, p.n - panel * panelCols);
    const int8_t* b = p.bytesB + static_cast<size_t>(panel) * panelCols * stride;
    for (int row = first; row < end; row += tileRows) {
      // A tile may reach past the last row: there is memory, and nobody stores what comes of it.
      I32x16 sums[tileRows][panelVectors];
      tileOfBytes(stride / 4, p.bytesA + static_cast<size_t>(row) * stride, static_cast<size_t>(stride), b, rowSums + (row - first), sums);
      F32x16 exact[tileRows][panelVectors];
#pragma GCC unroll 12
      for (int i = 0; i < tileRows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < panelVectors; v++) exact[i][v] = toFloat(sums[i][v]);
      float* out = p.out + static_cast<size_t>(row) * p.n + panel * panelCols;
      finishTile(exact, out, static_cast<size_t>(p.n), std::min(tileRows, end - row), cols, factors + (row - first), Ending::whole);
    }
  }
}

}  // namespace
}  // namespace bitnet::train
