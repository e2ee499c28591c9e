// AMX int8 tiles for many rows (Intel servers since 2023), AVX-512 VNNI for everything else.
#include "../kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && \
    defined(__AVX512VNNI__) && defined(__AMX_TILE__) && defined(__AMX_INT8__)
#include "../avx512/lanes.h"

#include "../avx512/blocks.h"
#include "../avx512/screen.h"
#include "../f32-kernels.inl.h"
#include "streams.h"
#include "tiles.h"

namespace bitnet {
namespace {

inline constexpr int panelBlocks = 4;  // 16 KiB

}  // namespace
}  // namespace bitnet

#include "../screen.inl.h"
#include "../ternary.inl.h"

namespace bitnet {
namespace {

// Strips whose sums are kept beside each other: 16 KiB.
inline constexpr int mostStrips = 8;

// Rows of activations up to which weights are streamed: with more, a panel is worth its stores.
inline constexpr int mostStreamed = 32;

// Blocks of a row that are unpacked at a time, for 32 rows 16 KiB. With twice as many, unpacking took twice the time, probably because
// its stores then miss the first-level cache.
inline constexpr int spanBlocks = 4;
inline constexpr int spanSteps = 2 * spanBlocks;

int leastOf(int a, int b) { return a < b ? a : b; }

// Hands on the sums of nRows weight rows ≤ 32 with nX rows of activations.
template <class To>
void turnStrips(const int32_t* sums, int nRows, int nX, const To& to) {
  for (int i = 0; i < nX; i += stripRows, sums += stripSums) {
    const int n = leastOf(nX - i, stripRows);
    for (int row = 0; row < nRows; row += stripRows) {
      const To part = to.from(i, row);
      const auto rows = static_cast<__mmask16>((1u << leastOf(nRows - row, stripRows)) - 1);
      turnSums(sums + (row == 0 ? 0 : stripSums / 2), [&](int j, __m512i column) {
        if (j < n) _mm512_mask_storeu_epi32(part.row(j), rows, part.of(j, column));
      });
    }
  }
}

// At most 32 rows of weights, mostStrips strips.
void ternaryPair(const uint8_t* const rows[pairRows], int nRows, size_t aheadBytes, const int8_t* strips, size_t stripBytes, int nStrips,
                 int cols, int32_t* sums) {
  alignas(64) uint8_t panel[2 * spanBlocks * 2 * tileBytes];
  uint8_t* upper = panel + spanBlocks * 2 * tileBytes;
  const WeightTiles tiles = {panel, upper, lineBytes, tileBytes, 0};
  for (int first = 0; first < cols / 128; first += spanBlocks) {
    const int nBlocks = leastOf(cols / 128 - first, spanBlocks);
    for (int b = 0; b < nBlocks; b++) {
      const size_t offset = 32 * static_cast<size_t>(first + b);
      for (int j = 0; j < pairRows; j++) __builtin_prefetch(rows[j] + offset + aheadBytes, 0, 2);
      unpackRows(rows, offset, panel + b * 2 * tileBytes);
      if (nRows > stripRows) unpackRows(rows + stripRows, offset, upper + b * 2 * tileBytes);
    }
    const auto add = nRows > stripRows ? addStrips<false, 2> : addStrips<false, 1>;
    add(tiles, strips + 2 * tileBytes * static_cast<size_t>(first), stripBytes, nStrips, 2 * nBlocks, first == 0, sums);
  }
}

template <class To>
void panelProduct(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, const To& to) {
  alignas(64) int32_t sums[mostStrips * stripSums];
  configureTiles(stripRows, stripRows);
  for (int i = 0; i < nX; i += mostStrips * stripRows) {
    const int count = leastOf(nX - i, mostStrips * stripRows), nStrips = (count + stripRows - 1) / stripRows;
    for (int r = 0; r < nRows; r += pairRows) {
      const int some = leastOf(nRows - r, pairRows);
      const uint8_t* rows[pairRows];
      for (int j = 0; j < pairRows; j++) rows[j] = weights + (r + leastOf(j, some - 1)) * rowBytes;
      ternaryPair(rows, some, pairRows * rowBytes, strips + i / stripRows * stripBytes, stripBytes, nStrips, cols, sums);
      turnStrips(sums, some, count, to.from(i, r));
    }
  }
}

template <class To>
void ternaryProduct(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols,
                    const To& to) {
  const int streamed = nX <= mostStreamed ? nRows / pairRows * pairRows : 0;
  if (streamed > 0) {
    const auto stream = nX > stripRows ? streamProduct<2, To> : streamProduct<1, To>;
    stream(weights, rowBytes, streamed, strips, stripBytes, nX, cols, to);
  }
  if (streamed < nRows) panelProduct(weights + streamed * rowBytes, rowBytes, nRows - streamed, strips, stripBytes, nX, cols, to.from(0, streamed));
  // Tiles in use make every switch of threads save 8 KiB.
  _tile_release();
}

void ternaryTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                  int cols, int32_t* acc, size_t accStride) {
  ternaryProduct(weights, rowBytes, nRows, strips, stripBytes, nX, cols, Sums{xSums, acc, accStride});
}

void scaledTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                 int cols, const float* t, float* out, size_t outStride) {
  ternaryProduct(weights, rowBytes, nRows, strips, stripBytes, nX, cols, ScaledSums{xSums, t, out, outStride});
}

// In spans, whose rows stay in the first-level cache for all strips.
void screenSpans(const uint8_t* table, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, const Sums& to) {
  alignas(64) int32_t sums[mostStrips * stripSums];
  for (int i = 0; i < nX; i += mostStrips * stripRows) {
    const int count = leastOf(nX - i, mostStrips * stripRows), nStrips = (count + stripRows - 1) / stripRows;
    configureTiles(stripRows, stripRows);
    for (int r = 0; r < nRows;) {
      const uint8_t *lower = table + r * rowBytes, *upper = lower + stripRows * rowBytes;
      const int8_t* x = strips + i / stripRows * stripBytes;
      const bool isPair = nRows - r >= pairRows;
      // Not a byte past the last row is read.
      const int some = isPair ? pairRows : leastOf(nRows - r, stripRows);
      if (!isPair) configureTiles(some, 0);
      const auto add = isPair ? addStrips<true, 2> : addStrips<true, 1>;
      for (int step = 0; step < cols / lineBytes; step += spanSteps) {
        const WeightTiles span = {lower + step * lineBytes, upper + step * lineBytes, rowBytes, lineBytes, pairRows * rowBytes};
        add(span, x + step * tileBytes, stripBytes, nStrips, leastOf(cols / lineBytes - step, spanSteps), step == 0, sums);
      }
      turnStrips(sums, some, count, to.from(i, r));
      r += some;
    }
  }
}

void screenTiles(const int8_t* table, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, int32_t* acc,
                 size_t accStride) {
  const auto* rows = reinterpret_cast<const uint8_t*>(table);
  const Sums to = {nullptr, acc, accStride};
  const int streamed = nX <= mostStreamed ? nRows / pairRows * pairRows : 0;
  if (streamed > 0) {
    const auto put = [&](int r, const int32_t* sums) { turnStrips(sums, pairRows, nX, to.from(0, r)); };
    const auto stream = nX > stripRows ? streamScreen<2, decltype(put)> : streamScreen<1, decltype(put)>;
    stream(rows, rowBytes, streamed, strips, stripBytes, cols, put);
  }
  if (streamed < nRows) screenSpans(rows + streamed * rowBytes, rowBytes, nRows - streamed, strips, stripBytes, nX, cols, to.from(0, streamed));
  _tile_release();
}

// Measured on Emerald Rapids.
constexpr TileKernels tileKernels = {
    .ternaryFrom = 5,
    .screenFrom = 5,
    .arrange = arrange,
    .ternary = ternaryTiles,
    .ternaryScaled = scaledTiles,
    .screen = screenTiles,
};

constexpr Kernels table = kernelTable("amx", groupRows, ternaryMatmul, screenDots, &tileKernels);

}  // namespace

const Kernels* amxKernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* amxKernels() { return nullptr; }

}  // namespace bitnet

#endif
