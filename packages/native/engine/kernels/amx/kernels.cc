// AMX int8 tiles for many rows (Intel servers since 2023), AVX-512 VNNI for everything else.
#include "../kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && \
    defined(__AVX512VNNI__) && defined(__AMX_TILE__) && defined(__AMX_INT8__)
#include "../avx512/lanes.h"

#include "../avx512/blocks.h"
#include "../avx512/screen.h"
#include "../f32-kernels.inl.h"
#include "../f32-lane-rows.inl.h"
#include "../avx512/groups.h"
#include "panels.h"
#include "streams.h"

#include "../screen.inl.h"
#include "../ternary.inl.h"

namespace bitnet {
namespace {

template <class To>
void ternaryProduct(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols,
                    const To& to) {
  const int streamed = nX <= stripRows ? nRows / pairRows * pairRows : 0;
  if (streamed > 0) streamProduct(weights, rowBytes, streamed, strips, nX, cols, to);
  if (streamed < nRows) panelProduct(weights + streamed * rowBytes, rowBytes, nRows - streamed, strips, stripBytes, nX, cols, to.from(0, streamed));
  // Tiles in use make every switch of threads save 8 KiB.
  _tile_release();
}

void ternaryTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                  int cols, int32_t* acc, size_t accStride) {
  ternaryProduct(weights, rowBytes, nRows, strips, stripBytes, nX, cols, Sums{xSums, acc, accStride});
}

void scaledTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                 int cols, const ScaledRows& to) {
  ternaryProduct(weights, rowBytes, nRows, strips, stripBytes, nX, cols, ScaledSums{xSums, to});
}

void laneTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX, int cols,
               const ScaledRows& to) {
  ternaryProduct(weights, rowBytes, nRows, strips, stripBytes, nX, cols, LaneSums{xSums, nX, to});
}

// One or two tiles of rows of the screen's copy, which lie in memory as tiles want them. nX is at most mostStrips · stripRows.
template <int nHalves>
void addCopyRows(const WeightTiles& rows, const int8_t* strips, size_t stripBytes, int nX, int cols, int32_t* sums) {
  const int nStrips = ceilOf(nX, stripRows), nSteps = cols / lineBytes;
  RunsAhead ahead = {rows.lower + pairRows * rows.rowBytes, runRows * rows.rowBytes, runRows * nSteps};
  const int linesAtOnce = ceilOf(runRows, nStrips);
  // In spans, which stay in the first-level cache for all strips.
  for (int first = 0; first < nSteps; first += spanSteps) {
    const WeightTiles span = {rows.lower + first * lineBytes, rows.upper + first * lineBytes, rows.rowBytes};
    for (int s = 0; s < nStrips; s++) {
      beginSums<nHalves>(first == 0, sums + s * stripSums);
      const int8_t* x = strips + s * stripBytes + static_cast<size_t>(first) * tileBytes;
      addSteps<true, nHalves>(span, x, leastOf(nSteps - first, spanSteps), [&](int) __attribute__((always_inline)) { ahead.lines(linesAtOnce); });
      storeSums<nHalves>(sums + s * stripSums);
    }
  }
}

void screenStrips(const uint8_t* table, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, const Sums& to) {
  alignas(64) int32_t sums[mostStrips * stripSums];
  configureTiles(stripRows, stripRows);
  for (int r = 0; r < nRows;) {
    const bool isPair = nRows - r >= pairRows;
    // Not a byte past the last row is read.
    const int some = isPair ? pairRows : leastOf(nRows - r, stripRows);
    if (!isPair) configureTiles(some, 0);
    const uint8_t* lower = table + r * rowBytes;
    const auto multiply = isPair ? addCopyRows<2> : addCopyRows<1>;
    multiply({lower, lower + stripRows * rowBytes, rowBytes}, strips, stripBytes, nX, cols, sums);
    turnStrips(sums, some, nX, to.from(0, r));
    r += some;
  }
}

void screenTiles(const int8_t* table, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, int32_t* acc,
                 size_t accStride) {
  const Sums to = {nullptr, acc, accStride};
  for (int i = 0; i < nX; i += mostStrips * stripRows) {
    const int8_t* x = strips + static_cast<size_t>(i / stripRows) * stripBytes;
    screenStrips(reinterpret_cast<const uint8_t*>(table), rowBytes, nRows, x, stripBytes, leastOf(nX - i, mostStrips * stripRows), cols, to.from(i, 0));
  }
  _tile_release();
}

constexpr LaneKernels laneKernels = laneTable(16, laneTiles);

// Measured on Emerald Rapids.
constexpr TileKernels tileKernels = {
    .ternaryFrom = 5,
    .screenFrom = 5,
    .arrange = arrange,
    .ternary = ternaryTiles,
    .ternaryScaled = scaledTiles,
    .screen = screenTiles,
    .lanes = &laneKernels,
};

constexpr Kernels table = kernelTable("amx", rowsMatmul, screenDots, groupDots, groupOffsets, &tileKernels);

}  // namespace

const Kernels* amxKernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* amxKernels() { return nullptr; }

}  // namespace bitnet

#endif
