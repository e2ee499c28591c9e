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
#include "spans.h"
#include "streams.h"

#include "../screen.inl.h"
#include "../ternary.inl.h"

namespace bitnet {
namespace {

template <class To>
void ternaryProduct(const PackedMatrix& weights, const StripMatrix& x, const To& to) {
  const int streamed = x.rows <= stripRows ? weights.rows / pairRows * pairRows : 0;
  if (streamed > 0) streamProduct(weights.part(0, streamed), x, to);
  if (streamed < weights.rows) spanProduct(weights.part(streamed, weights.rows - streamed), x, to.from(0, streamed));
  // Tiles in use make every switch of threads save 8 KiB.
  _tile_release();
}

void ternaryTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const SumMatrix& acc) {
  ternaryProduct(weights, x, Sums{xSums, acc.data, acc.stride});
}

void scaledTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
  ternaryProduct(weights, x, ScaledSums{xSums, to});
}

void laneTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
  ternaryProduct(weights, x, LaneSums{xSums, x.rows, to});
}

// One or two tiles of rows of the screen's copy, which lie in memory as tiles want them, with at most mostStrips strips.
template <int nHalves>
void addCopyRows(const WeightTiles& rows, const StripMatrix& x, int32_t* sums) {
  const int nStrips = ceilOf(x.rows, stripRows), nSteps = x.cols / lineBytes;
  StreamsAhead ahead = {rows.lower + pairRows * rows.rowBytes, streamRows * rows.rowBytes, streamRows * nSteps};
  const int linesAtOnce = ceilOf(streamRows, nStrips);
  // In spans, which stay in the first-level cache for all strips.
  for (int first = 0; first < nSteps; first += spanSteps) {
    const WeightTiles span = {rows.lower + first * lineBytes, rows.upper + first * lineBytes, rows.rowBytes};
    for (int s = 0; s < nStrips; s++) {
      beginSums<nHalves>(first == 0, sums + s * stripSums);
      const int8_t* strip = x.data + s * x.stride + static_cast<size_t>(first) * tileBytes;
      addSteps<true, nHalves>(span, strip, leastOf(nSteps - first, spanSteps), [&](int) __attribute__((always_inline)) { ahead.lines(linesAtOnce); });
      storeSums<nHalves>(sums + s * stripSums);
    }
  }
}

void screenStrips(const Int8Matrix& table, const StripMatrix& x, const Sums& to) {
  alignas(64) int32_t sums[mostStrips * stripSums];
  configureTiles(stripRows, stripRows);
  for (int r = 0; r < table.rows;) {
    const bool isPair = table.rows - r >= pairRows;
    // Not a byte past the last row is read.
    const int some = isPair ? pairRows : leastOf(table.rows - r, stripRows);
    if (!isPair) configureTiles(some, 0);
    const auto* lower = reinterpret_cast<const uint8_t*>(table.row(r));
    const auto multiply = isPair ? addCopyRows<2> : addCopyRows<1>;
    multiply({lower, lower + stripRows * table.stride, table.stride}, x, sums);
    turnStrips(sums, some, x.rows, to.from(0, r));
    r += some;
  }
}

void screenTiles(const Int8Matrix& table, const StripMatrix& x, const SumMatrix& acc) {
  const Sums to = {nullptr, acc.data, acc.stride};
  for (int i = 0; i < x.rows; i += mostStrips * stripRows)
    screenStrips(table, x.part(i, leastOf(x.rows - i, mostStrips * stripRows)), to.from(i, 0));
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
