// Products with one or two strips of activations, which take about as long as reading the weights does. So three things go on at once:
// while one block of 32 rows is multiplied, the next is unpacked, and the 32 rows after these are asked for, in eight runs of memory, which is
// what prefetchers can follow. The sums stay in their tiles to the end of a row.
//
// On an Emerald Rapids guest whose two cores read 25 GB/s, 16 activations took 14 GB/s of ternary weights from memory where unpacking and
// multiplying spans in turn took 8.5, as if reading and multiplying added up; 32 took 9.5 and 6.8. Groups of 32 consecutive rows reached
// 13.4 where four of each of eight runs of the weights reached 15.8. 32 took 20 GB/s of the screen's copy, and 16.6 when a line of each of the
// next 32 rows was asked for.
#pragma once
#include <utility>

#include "tiles.h"

namespace bitnet {
namespace {

inline constexpr int streamRuns = 8;
inline constexpr int runRows = pairRows / streamRuns;

template <int nStrips>
inline void zeroSums() {
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (nStrips == 2) {
    _tile_zero(4);
    _tile_zero(5);
  }
}

template <int nStrips>
inline void storeSums(int32_t* sums) {
  orderMemory();
  _tile_stored(0, sums, lineBytes);
  _tile_stored(1, sums + stripSums / 2, lineBytes);
  if constexpr (nStrips == 2) {
    _tile_stored(4, sums + stripSums, lineBytes);
    _tile_stored(5, sums + stripSums + stripSums / 2, lineBytes);
  }
  orderMemory();
}

// Adds 64 columns of 32 rows of weights to the sums of the strips, which lie stripBytes apart.
template <bool isSigned, int nStrips>
inline void addColumns(const int8_t* x, size_t stripBytes, const uint8_t* lower, const uint8_t* upper, size_t rowBytes) {
  orderMemory();
  _tile_stream_loadd(2, x, lineBytes);
  _tile_loadd(3, lower, rowBytes);
  BITNET_ADD_TO(isSigned, 0)
  _tile_loadd(3, upper, rowBytes);
  BITNET_ADD_TO(isSigned, 1)
  if constexpr (nStrips == 2) {
    _tile_stream_loadd(2, x + stripBytes, lineBytes);
    BITNET_ADD_TO(isSigned, 5)
    _tile_loadd(3, lower, rowBytes);
    BITNET_ADD_TO(isSigned, 4)
  }
  orderMemory();
}

// Stores the sums of a group, rows `per` apart from one run to the next.
template <class To>
void putGroup(const int32_t* sums, int nX, size_t per, const To& to) {
  for (int half = 0; half < 2; half++) {
    turnSums(sums + half * (stripSums / 2), [&](int i, __m512i column) {
      if (i >= nX) return;
      const __m512i values = to.of(i, column);
      auto* out = to.row(i) + half * (stripRows / runRows) * per;
      const auto store = [&](int run, __m128i four) { _mm_storeu_si128(reinterpret_cast<__m128i*>(out + run * per), four); };
      store(0, _mm512_castsi512_si128(values));
      store(1, _mm512_extracti32x4_epi32(values, 1));
      store(2, _mm512_extracti32x4_epi32(values, 2));
      store(3, _mm512_extracti32x4_epi32(values, 3));
    });
  }
}

// nRows is a multiple of 32.
template <int nStrips, class To>
void streamProduct(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, const To& to) {
  constexpr int blockBytes = 4 * tileBytes;  // unpacked: two tiles of the lower rows, then of the upper
  alignas(64) uint8_t blocks[2][blockBytes];
  alignas(64) int32_t sums[nStrips * stripSums];
  const size_t per = static_cast<size_t>(nRows / streamRuns), runBytes = per * rowBytes;
  const uint8_t *groups[2][pairRows], **rows = groups[0], **next = groups[1];
  const auto findRows = [&](int r, const uint8_t** group) {
    for (int j = 0; j < pairRows; j++) group[j] = weights + j / runRows * runBytes + (r / streamRuns + j % runRows) * rowBytes;
  };
  configureTiles(stripRows, stripRows, nStrips);
  findRows(0, rows);
  for (int half = 0; half < 2; half++) unpackRows(rows + half * stripRows, 0, blocks[0] + half * 2 * tileBytes);
  uint8_t *now = blocks[0], *then = blocks[1];
  for (int r = 0; r < nRows; r += pairRows) {
    // The last group is followed by itself.
    findRows(r + pairRows < nRows ? r + pairRows : r, next);
    zeroSums<nStrips>();
    const uint8_t* ahead = next[0];
    const int8_t* x = strips;
    for (int block = 1; block <= cols / 128; block++) {
      const bool isLast = block == cols / 128;
      for (int half = 0; half < 2; half++, ahead += lineBytes, x += tileBytes) {
        for (int run = 0; run < streamRuns; run++) __builtin_prefetch(ahead + run * runBytes, 0, 2);
        addColumns<false, nStrips>(x, stripBytes, now + half * tileBytes, now + (2 + half) * tileBytes, lineBytes);
        unpackRows((isLast ? next : rows) + half * stripRows, isLast ? 0 : 32 * static_cast<size_t>(block), then + half * 2 * tileBytes);
      }
      std::swap(now, then);
    }
    storeSums<nStrips>(sums);
    for (int s = 0; s < nStrips; s++) putGroup(sums + s * stripSums, nX - s * stripRows, per, to.from(s * stripRows, r / streamRuns));
    std::swap(rows, next);
  }
}

// Rows of the screen's copy lie in memory as tiles want them. nRows is a multiple of 32; put(r, sums) gets the sums of rows r … r + 31.
template <int nStrips, class Put>
void streamScreen(const uint8_t* rows, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int cols, Put put) {
  constexpr int linesAtOnce = pairRows / streamRuns;
  alignas(64) int32_t sums[nStrips * stripSums];
  configureTiles(stripRows, stripRows, nStrips);
  for (int r = 0; r < nRows; r += pairRows) {
    const uint8_t *lower = rows + r * rowBytes, *upper = lower + stripRows * rowBytes;
    const uint8_t* ahead = lower + pairRows * rowBytes;
    const int8_t* x = strips;
    zeroSums<nStrips>();
    for (int c = 0; c < cols; c += lineBytes, x += tileBytes, ahead += linesAtOnce * lineBytes) {
      for (int run = 0; run < streamRuns; run++) {
        for (int i = 0; i < linesAtOnce; i++) __builtin_prefetch(ahead + run * runRows * rowBytes + i * lineBytes, 0, 2);
      }
      addColumns<true, nStrips>(x, stripBytes, lower + c, upper + c, rowBytes);
    }
    storeSums<nStrips>(sums);
    put(r, sums);
  }
}

}  // namespace
}  // namespace bitnet
