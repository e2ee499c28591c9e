// Many rows of activations with AVX-512 (strips.inl.h). A vector is a line of a strip, and the registers hold 24 sums, of 8 rows of weights
// and 3 vectors (6 and 4 were slower), 12 and 2 or 24 and 1. Include after blocks.h.
#pragma once
#include "strips.h"

namespace bitnet {
namespace {

inline constexpr int vectorRows = 16;
inline constexpr int mostVectors = 3;
inline constexpr int tileSums = 24;
inline constexpr bool keepsVectors = true;
inline constexpr int laidOutRows = 24;
inline constexpr int spanColumns = 512;  // 12 KiB, beside which the strips of three vectors fit a first-level cache

// Columns of a row, and a request for the same ones of a row that is laid out later.
inline void unpackRow(const uint8_t* row, size_t aheadBytes, int nColumns, uint8_t* out) {
  for (int k = 0; k < nColumns / 4; k += 32, out += 128) {
    if (k % 64 == 0) __builtin_prefetch(row + k + aheadBytes);
    unpackCodes(row + k, out);
  }
}

}  // namespace
}  // namespace bitnet

#include "../strips.inl.h"

namespace bitnet {
namespace {

// Hands on what multiplyStrips leaves, turned.
template <class To>
auto turned(int nX, const To& to) {
  return [=](int r, int i, int n, const int32_t* sums) {
    for (int j = 0; j < n; j += 16) turnTile(sums + j * sumRows, leastOf(n - j, 16), leastOf(nX - i, stripRows), to.from(i, r + j), sumRows);
  };
}

void ternaryTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const SumMatrix& acc) {
  multiplyStrips(weights, x, turned(x.rows, Sums{xSums, acc.data, acc.stride}));
}

void scaledTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
  multiplyStrips(weights, x, turned(x.rows, ScaledSums{xSums, to}));
}

void laneTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
  multiplyStrips(weights, x, [&](int r, int i, int n, const int32_t* sums) {
    const LaneSums block = LaneSums{xSums, x.rows, to}.from(i, r);
    block.each(sums, n, [&](int j, __m512 results) { block.put(static_cast<size_t>(j), results); }, sumRows);
  });
}

}  // namespace
}  // namespace bitnet
