// Products with one strip of activations, which take about as long as reading the weights does. So three things go on at once: while one block
// of 32 rows is multiplied, the next is unpacked, and the 32 rows after these are asked for, in eight streams, which is what
// prefetchers can follow. The sums stay in their tiles to the end of a row.
//
// On an Emerald Rapids guest whose two cores read 25 GB/s, 16 activations took 14 GB/s of ternary weights from memory where unpacking and
// multiplying spans in turn took 8.5, as if reading and multiplying added up. 32 consecutive rows at a time reached 13.4 where four of each of
// eight streams reached 15.8.
#pragma once
#include <utility>

#include "tiles.h"

namespace bitnet {
namespace {

inline constexpr int nStreams = 8;
inline constexpr int streamRows = pairRows / nStreams;

// Asks for the same line of each stream, one line after the other.
struct StreamsAhead {
  const uint8_t* line;
  size_t streamBytes;
  int left;
  [[gnu::always_inline]] void lines(int n) {
    for (n = leastOf(n, left); n > 0; n--, left--, line += lineBytes) {
      for (int stream = 0; stream < nStreams; stream++) __builtin_prefetch(line + stream * streamBytes, 0, 2);
    }
  }
};

// Stores the sums of 32 rows, rows `per` apart from one stream to the next.
template <class To>
void putStreams(const int32_t* sums, int nX, size_t per, const To& to) {
  for (int half = 0; half < 2; half++) {
    turnSums(sums + half * (stripSums / 2), [&](int i, __m512i column) {
      if (i >= nX) return;
      const __m512i values = to.of(i, column);
      auto* out = to.row(i) + half * (stripRows / streamRows) * per;
      const auto store = [&](int stream, __m128i four) {
        auto* at = reinterpret_cast<__m128i*>(out + stream * per);
        if (to.adds()) four = _mm_castps_si128(_mm_add_ps(_mm_castsi128_ps(_mm_loadu_si128(at)), _mm_castsi128_ps(four)));
        _mm_storeu_si128(at, four);
      };
      store(0, _mm512_castsi512_si128(values));
      store(1, _mm512_extracti32x4_epi32(values, 1));
      store(2, _mm512_extracti32x4_epi32(values, 2));
      store(3, _mm512_extracti32x4_epi32(values, 3));
    });
  }
}

void putStreams(const int32_t* sums, int, size_t per, const LaneSums& to) {
  to.each(sums, pairRows, [&](int r, __m512 results) { to.put(static_cast<size_t>(r / streamRows) * per + static_cast<size_t>(r % streamRows), results); });
}

// Rows of weights are a multiple of 32, those of activations one strip.
template <class To>
void streamProduct(const PackedMatrix& weights, const StripMatrix& x, const To& to) {
  const int8_t* const strip = x.data;
  const int nRows = weights.rows, cols = x.cols;
  constexpr int blockRowBytes = 2 * lineBytes, halfBytes = stripRows * blockRowBytes;
  alignas(64) uint8_t blocks[2][2 * halfBytes];
  alignas(64) int32_t sums[stripSums];
  const size_t per = static_cast<size_t>(nRows / nStreams), streamBytes = per * weights.stride;
  const uint8_t *pointers[2][pairRows], **rows = pointers[0], **next = pointers[1];
  const auto findRows = [&](int r, const uint8_t** found) {
    for (int j = 0; j < pairRows; j++) found[j] = weights.data + j / streamRows * streamBytes + (r / nStreams + j % streamRows) * weights.stride;
  };
  const auto unpackHalf = [](const uint8_t* const* from, int half, int block, uint8_t* codes) {
    for (int r = 0; r < stripRows; r++)
      unpackCodes(from[half * stripRows + r] + 32 * static_cast<size_t>(block), codes + half * halfBytes + r * blockRowBytes);
  };
  configureTiles(stripRows, stripRows);
  findRows(0, rows);
  for (int half = 0; half < 2; half++) unpackHalf(rows, half, 0, blocks[0]);
  uint8_t *now = blocks[0], *then = blocks[1];
  for (int r = 0; r < nRows; r += pairRows) {
    // The last 32 rows are followed by themselves.
    findRows(r + pairRows < nRows ? r + pairRows : r, next);
    StreamsAhead ahead = {next[0], streamBytes, cols / lineBytes};
    zeroSums<2>();
    for (int block = 0; block < cols / 128; block++) {
      const bool isLast = block + 1 == cols / 128;
      const WeightTiles tiles = {now, now + halfBytes, blockRowBytes};
      addSteps<false, 2>(tiles, strip + 2 * tileBytes * static_cast<size_t>(block), 2, [&](int half) __attribute__((always_inline)) {
        ahead.lines(1);
        unpackHalf(isLast ? next : rows, half, isLast ? 0 : block + 1, then);
      });
      std::swap(now, then);
    }
    storeSums<2>(sums);
    putStreams(sums, x.rows, per, to.from(0, r / nStreams));
    std::swap(rows, next);
  }
}

}  // namespace
}  // namespace bitnet
