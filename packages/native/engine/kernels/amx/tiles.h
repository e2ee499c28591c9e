// Matrix products by AMX int8 tiles: sums[row of weights][row of activations] of 16 × 16 products over 64 columns. Weights are the first factor,
// whose rows are plain rows of 64 values: 128 packed weights unpack into two of them by shifts alone, and rows of the screen's copy are
// loaded as they lie. Activations are the second factor, 4 columns of 16 rows a line, which `arrange` makes of them once. The sums
// are turned when they leave the tiles.
#pragma once
#include "../avx512/strips.h"

namespace bitnet {
namespace {

inline constexpr int tileBytes = 1024;
inline constexpr int lineBytes = 64;
inline constexpr int pairRows = 2 * stripRows;  // rows of weights that go together

// The intrinsics of some compilers do not say that tiles read and write memory: nothing may be moved across here.
inline void orderMemory() { __asm__ volatile("" ::: "memory"); }

// Operand of ldtilecfg.
struct TileConfig {
  uint8_t palette, startRow, reserved[14];
  uint16_t rowBytes[16];
  uint8_t nRows[16];
};
static_assert(sizeof(TileConfig) == 64);

// Tiles 0 and 1: sums with the lower and the upper rows of weights; 2: activations; 3: weights. More tiles would need fewer loads, and
// are as fast where a core belongs to one thread. Beside another hardware thread they are slow: see docs/kernels.md.
inline void configureTiles(int nLower, int nUpper) {
  alignas(64) TileConfig config = {};
  config.palette = 1;
  const int nRows[4] = {nLower, nUpper, stripRows, nLower};
  for (int t = 0; t < 4; t++) {
    config.nRows[t] = static_cast<uint8_t>(nRows[t]);
    config.rowBytes[t] = nRows[t] == 0 ? 0 : lineBytes;
  }
  orderMemory();
  _tile_loadconfig(&config);
}

// Rows of weights, a byte a column.
struct WeightTiles {
  const uint8_t* lower;
  const uint8_t* upper;
  size_t rowBytes;
};

// The sums of one strip: two tiles.
inline constexpr int stripSums = 2 * stripRows * 16;

inline int leastOf(int a, int b) { return a < b ? a : b; }
inline int ceilOf(int n, int d) { return (n + d - 1) / d; }

// nHalves: 1 where there are only lower rows.
template <int nHalves>
inline void zeroSums() {
  _tile_zero(0);
  if constexpr (nHalves == 2) _tile_zero(1);
}

// Sums that were stored go on.
template <int nHalves>
inline void beginSums(bool isFirst, const int32_t* sums) {
  if (isFirst) return zeroSums<nHalves>();
  orderMemory();
  _tile_loadd(0, sums, lineBytes);
  if constexpr (nHalves == 2) _tile_loadd(1, sums + stripSums / 2, lineBytes);
}

template <int nHalves>
inline void storeSums(int32_t* sums) {
  orderMemory();
  _tile_stored(0, sums, lineBytes);
  if constexpr (nHalves == 2) _tile_stored(1, sums + stripSums / 2, lineBytes);
  orderMemory();
}

// Adds the products of weights and activations to the sums of one tile. A macro, as the number of a tile must stand in the text of the program.
#define BITNET_ADD_TO(isSigned, sums) \
  if constexpr (isSigned) {           \
    _tile_dpbssd(sums, 3, 2);         \
  } else {                            \
    _tile_dpbusd(sums, 3, 2);         \
  }

// Adds the products of nSteps · 64 columns to the sums. Activations are not kept in the first-level cache, where they would take the place of
// weights. between(step) is other work to be done meanwhile.
template <bool isSigned, int nHalves, class Between>
[[gnu::always_inline]] inline void addSteps(const WeightTiles& weights, const int8_t* strip, int nSteps, Between between) {
  for (int step = 0; step < nSteps; step++) {
    orderMemory();
    _tile_stream_loadd(2, strip + static_cast<size_t>(step) * tileBytes, lineBytes);
    _tile_loadd(3, weights.lower + step * lineBytes, weights.rowBytes);
    BITNET_ADD_TO(isSigned, 0)
    orderMemory();
    between(step);
    orderMemory();
    if constexpr (nHalves == 2) {
      _tile_loadd(3, weights.upper + step * lineBytes, weights.rowBytes);
      BITNET_ADD_TO(isSigned, 1)
    }
  }
}

// Hands on the sums of nRows weight rows ≤ 32 with nX rows of activations.
template <class To>
void turnStrips(const int32_t* sums, int nRows, int nX, const To& to) {
  for (int i = 0; i < nX; i += stripRows, sums += stripSums) {
    for (int row = 0; row < nRows; row += stripRows)
      turnTile(sums + (row == 0 ? 0 : stripSums / 2), leastOf(nRows - row, stripRows), leastOf(nX - i, stripRows), to.from(i, row));
  }
}

void turnStrips(const int32_t* sums, int nRows, int nX, const LaneSums& to) {
  for (int i = 0; i < nX; i += stripRows, sums += stripSums) {
    const LaneSums block = to.from(i, 0);
    block.each(sums, nRows, [&](int r, __m512 results) { block.put(static_cast<size_t>(r), results); });
  }
}

}  // namespace
}  // namespace bitnet
