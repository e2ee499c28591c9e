// Dot products of int8 rows with int8 rows: the first look at the head's table (docs/kernels.md). Written once over the vectors of one
// instruction set: a register tile of screenRows rows of the table and up to screenActivations rows of x, summed along the row.
//
// Include after a screen.h, which defines in an anonymous namespace: screenBytes, the bytes of a vector; ScreenRow and loadScreenRow;
// ScreenX and loadScreenX; ScreenSum, zeroScreenSum, and screenAdd, which adds the products of one vector to int32 lanes; reduceScreen4 of
// four sums; screenBias, what was added to every value of a row to make it unsigned, or 0.
#pragma once
#include "kernels.h"

namespace bitnet {
namespace {

// So much further is asked for early.
inline constexpr size_t screenAhead = 1024;

// sums[i · screenRows + r] for rows that go together. Only the first rows of x ask for what comes next.
template <int nX, bool isFirst>
void screenTile(const int8_t* const rows[screenRows], const int8_t* x, size_t xStride, int cols, int32_t* sums) {
  ScreenSum running[nX][screenRows];
  for (auto& ofX : running) {
    for (auto& sum : ofX) sum = zeroScreenSum();
  }
  for (int k = 0; k < cols; k += 64) {
    if (isFirst) {
      for (int r = 0; r < screenRows; r++) __builtin_prefetch(rows[r] + k + screenAhead);
    }
    for (int u = 0; u < 64; u += screenBytes) {
      ScreenRow values[screenRows];
      for (int r = 0; r < screenRows; r++) values[r] = loadScreenRow(rows[r] + k + u);
      for (int i = 0; i < nX; i++) {
        const ScreenX part = loadScreenX(x + i * xStride + k + u);
        for (int r = 0; r < screenRows; r++) running[i][r] = screenAdd(running[i][r], values[r], part);
      }
    }
  }
  // Only loops as small as this one are unrolled early enough for the running sums to stay in registers.
  ScreenSum totals[nX][screenRows];
  for (int i = 0; i < nX; i++) {
    for (int r = 0; r < screenRows; r++) totals[i][r] = running[i][r];
  }
  for (int i = 0; i < nX; i++) {
    for (int r = 0; r < screenRows; r += 4) reduceScreen4(totals[i] + r, sums + i * screenRows + r);
  }
}

using ScreenTile = void (*)(const int8_t* const*, const int8_t*, size_t, int, int32_t*);

template <bool isFirst>
constexpr ScreenTile screenTileBySize[] = {nullptr, screenTile<1, isFirst>, screenTile<2, isFirst>, screenTile<3, isFirst>,
                                           screenTile<4, isFirst>};
static_assert(screenActivations <= 4 && screenRows % 4 == 0);

// The rows that go together are `per` apart, so that each is part of a long stream that a prefetcher can follow.
void screenDots(const Int8Matrix& table, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
  const int nRows = table.rows, nX = x.rows;
  const int per = (nRows + screenRows - 1) / screenRows;
  for (int r = 0; r < per; r++) {
    // Where rows are missing, the last one once more.
    const auto rowOf = [&](int j) { return r + j * per < nRows ? r + j * per : nRows - 1; };
    const int8_t* rows[screenRows];
    for (int j = 0; j < screenRows; j++) rows[j] = table.row(rowOf(j));
    for (int i = 0; i < nX; i += screenActivations) {
      const int some = nX - i < screenActivations ? nX - i : screenActivations;
      int32_t sums[screenActivations * screenRows];
      const auto tile = i == 0 ? screenTileBySize<true>[some] : screenTileBySize<false>[some];
      tile(rows, x.row(i), x.stride, x.cols, sums);
      for (int k = 0; k < some; k++) {
        // Modulo 2³²: the biased sum may not fit, the difference does.
        const uint32_t bias = screenBias * static_cast<uint32_t>(xSums[i + k]);
        for (int j = 0; j < screenRows; j++) {
          acc.row(i + k)[rowOf(j)] = static_cast<int32_t>(static_cast<uint32_t>(sums[k * screenRows + j]) - bias);
        }
      }
    }
  }
}

}  // namespace
}  // namespace bitnet
