// Products with several strips of activations: a span, up to 512 columns of 32 rows of weights, is unpacked once for all strips. While one span is
// multiplied the next is unpacked, and the weights after it are asked for, a little in every step: beside the products, which leave much of
// the core idle, that takes less than half of the time that it takes between them (docs/kernels.md).
#pragma once
#include <utility>

#include "tiles.h"

namespace bitnet {
namespace {

// Strips whose sums are kept beside each other: 16 KiB.
inline constexpr int mostStrips = 8;

// Blocks of a row that are unpacked at a time: a span has 16 KiB.
inline constexpr int spanBlocks = 4;
inline constexpr int spanSteps = 2 * spanBlocks;
inline constexpr int spanRowBytes = spanSteps * lineBytes;
inline constexpr int spanBytes = pairRows * spanRowBytes;

// A span on its way.
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
    if (at < usedBytes) return;
    at = 0;
    row += rowBytes;
  }
};

// At most mostStrips strips.
template <class To>
void multiplyBySpans(const PackedMatrix& weights, const StripMatrix& x, const To& to) {
  const size_t rowBytes = weights.stride;
  const int nRows = weights.rows, nX = x.rows;
  alignas(64) uint8_t spans[2][spanBytes];
  alignas(64) int32_t sums[mostStrips * stripSums];
  uint8_t *span = spans[0], *nextSpan = spans[1];
  const int nBlocks = x.cols / 128, nStrips = ceilOf(nX, stripRows);
  const auto unpackingOf = [&](int row, int block, uint8_t* span) {
    if (row >= nRows) return Unpacking{nullptr, 0, 0, 0, span, 0};
    return Unpacking{weights.data + row * rowBytes + 32 * block, rowBytes, leastOf(nRows - row, pairRows), leastOf(nBlocks - block, spanBlocks), span};
  };
  Unpacking first = unpackingOf(0, 0, span);
  while (first.left > 0) first.row();
  Asking asking = {weights.data + pairRows * rowBytes, rowBytes, static_cast<size_t>(x.cols) / 4};
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
      const WeightTiles tiles = {span, span + stripRows * spanRowBytes, spanRowBytes};
      Unpacking next = unpackingOf(isLast ? row + pairRows : row, isLast ? 0 : block + spanBlocks, nextSpan);
      const int rowsPerTwo = ceilOf(pairRows, nStrips * n);
      for (int s = 0; s < nStrips; s++) {
        const int8_t* strip = x.data + s * x.stride + 2 * tileBytes * static_cast<size_t>(block);
        beginSums<2>(block == 0, sums + s * stripSums);
        addSteps<false, 2>(tiles, strip, 2 * n, [&](int step) __attribute__((always_inline)) {
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
      std::swap(span, nextSpan);
    }
    turnStrips(sums, leastOf(nRows - row, pairRows), nX, rows);
  }
}

template <class To>
void spanProduct(const PackedMatrix& weights, const StripMatrix& x, const To& to) {
  configureTiles(stripRows, stripRows);
  for (int i = 0; i < x.rows; i += mostStrips * stripRows)
    multiplyBySpans(weights, x.part(i, leastOf(x.rows - i, mostStrips * stripRows)), to.from(i, 0));
}

}  // namespace
}  // namespace bitnet
