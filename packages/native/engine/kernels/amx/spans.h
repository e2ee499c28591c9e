// Products with several strips of activations: a span of 32 rows of weights is unpacked into a panel that serves all strips. While one panel is
// multiplied the next is unpacked, and the weights after it are asked for, a little in every step: beside the products, which leave much of
// the core idle, that takes less than half of the time that it takes between them (docs/kernels.md).
#pragma once
#include <utility>

#include "tiles.h"

namespace bitnet {
namespace {

// Strips whose sums are kept beside each other: 16 KiB.
inline constexpr int mostStrips = 8;

// Blocks of a row that are unpacked at a time: a panel has 16 KiB.
inline constexpr int spanBlocks = 4;
inline constexpr int spanSteps = 2 * spanBlocks;
inline constexpr int spanRowBytes = spanSteps * lineBytes;
inline constexpr int spanBytes = pairRows * spanRowBytes;

// A span of 32 rows of weights on its way into a panel.
struct Unpacking {
  const uint8_t* from;
  size_t rowBytes;
  int nRows;  // the last one stands for those that are missing
  int nBlocks;
  uint8_t* to;
  int left = pairRows;

  [[gnu::always_inline]] void row() {
    if (left == 0) return;
    left--;
    // As many as a span may have, written out.
    static_assert(spanBlocks == 4);
    unpackCodes(from, to);
    if (nBlocks > 1) unpackCodes(from + 32, to + 128);
    if (nBlocks > 2) unpackCodes(from + 64, to + 256);
    if (nBlocks > 3) unpackCodes(from + 96, to + 384);
    to += spanRowBytes;
    from += --nRows > 0 ? rowBytes : 0;
  }
};

// Lines of packed weights in the order of memory, in which hardware prefetchers run ahead. A line of each row in turn would leave the
// waiting to the core, whose requests for activations need the same few buffers.
struct Asking {
  const uint8_t* row;
  size_t rowBytes, usedBytes, at = 0;
  [[gnu::always_inline]] void line() {
    __builtin_prefetch(row + at, 0, 2);
    at += lineBytes;
    if (at >= usedBytes) at = 0, row += rowBytes;
  }
};

// At most mostStrips strips.
template <class To>
void multiplyByPanels(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, const To& to) {
  alignas(64) uint8_t panels[2][spanBytes];
  alignas(64) int32_t sums[mostStrips * stripSums];
  uint8_t *panel = panels[0], *nextPanel = panels[1];
  const int nBlocks = cols / 128, nStrips = ceilOf(nX, stripRows);
  const auto unpackingOf = [&](int row, int block, uint8_t* panel) {
    if (row >= nRows) return Unpacking{nullptr, 0, 0, 0, panel, 0};
    return Unpacking{weights + row * rowBytes + 32 * block, rowBytes, leastOf(nRows - row, pairRows), leastOf(nBlocks - block, spanBlocks), panel};
  };
  Unpacking first = unpackingOf(0, 0, panel);
  while (first.left > 0) first.row();
  Asking asking = {weights + pairRows * rowBytes, rowBytes, static_cast<size_t>(cols) / 4};
  // 32 rows have 16 lines for two steps of one strip.
  const int linesPerTwo = ceilOf(16, nStrips);
  // The lines to be written are asked for one row after the other, so that the last one is when the sums are complete.
  const int twos = nStrips * nBlocks, rowsAskedPerTwo = ceilOf(nX, twos);
  for (int row = 0; row < nRows; row += pairRows) {
    const To rows = to.from(0, row);
    int asked = rows.asks() ? nX - twos * rowsAskedPerTwo : INT32_MIN;
    for (int block = 0; block < nBlocks; block += spanBlocks) {
      const int n = leastOf(nBlocks - block, spanBlocks);
      const bool isLast = block + spanBlocks >= nBlocks;
      const WeightTiles tiles = {panel, panel + stripRows * spanRowBytes, spanRowBytes};
      Unpacking next = unpackingOf(isLast ? row + pairRows : row, isLast ? 0 : block + spanBlocks, nextPanel);
      const int rowsPerTwo = ceilOf(pairRows, nStrips * n);
      for (int s = 0; s < nStrips; s++) {
        const int8_t* x = strips + s * stripBytes + 2 * tileBytes * static_cast<size_t>(block);
        beginSums<2>(block == 0, sums + s * stripSums);
        addSteps<false, 2>(tiles, x, 2 * n, [&](int step) __attribute__((always_inline)) {
          if (step % 2 == 0) {
            for (int i = 0; i < linesPerTwo; i++) asking.line();
            for (int i = 0; i < rowsAskedPerTwo; i++, asked++) {
              if (asked >= 0) rows.ask(asked);
            }
          } else {
            for (int i = 0; i < rowsPerTwo; i++) next.row();
          }
        });
        storeSums<2>(sums + s * stripSums);
      }
      std::swap(panel, nextPanel);
    }
    turnStrips(sums, leastOf(nRows - row, pairRows), nX, rows);
  }
}

template <class To>
void panelProduct(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, const To& to) {
  configureTiles(stripRows, stripRows);
  for (int i = 0; i < nX; i += mostStrips * stripRows)
    multiplyByPanels(weights, rowBytes, nRows, strips + i / stripRows * stripBytes, stripBytes, leastOf(nX - i, mostStrips * stripRows), cols, to.from(i, 0));
}

}  // namespace
}  // namespace bitnet
