// The ternary product with many rows of activations as they are: weights unpack into a span, transposed, for register tiles of vectors of weights ×
// rows of activations. Include after ternary.inl.h and a blocks.h that defines, too: tileRows, rows of one vector that holds 4 codes of each;
// tileVectors and tileActivations, the register tile; spanBlocks; unpackBlock(rows, out), 32 vectors of a block in ascending k; loadCodes;
// broadcast(4 activations); addRunning(sums, int32_t*); tileFrom, the number of rows of activations from which this is faster.
#pragma once
#include "ternary.inl.h"

namespace bitnet {
namespace {

// Steps of the inner loop; compilers copy every sum once a turn.
inline constexpr int tileUnroll = 2;

inline constexpr int spanRows = tileVectors * tileRows;
inline constexpr int vectorBytes = 4 * tileRows;
inline constexpr int blockBytes = 32 * vectorBytes;  // one block of tileRows rows, unpacked
inline constexpr int spanBytes = tileVectors * spanBlocks * blockBytes;

// acc[i · accStride + r] += Σ code · x over nBlocks blocks, for the span's rows. Vector v of the span starts at
// v · spanBlocks · blockBytes.
template <int nX>
void addTile(const uint8_t* span, int nBlocks, const int8_t* x, size_t xStride, int32_t* acc, size_t accStride) {
  const int safeBlocks = maxSteps / 32;
  for (int first = 0; first < nBlocks; first += safeBlocks) {
    const int end = nBlocks - first < safeBlocks ? nBlocks : first + safeBlocks;
    Running sums[nX][tileVectors];
    for (auto& ofX : sums) {
      for (auto& sum : ofX) sum = zeroRunning();
    }
    for (int k = 32 * first; k < 32 * end; k += tileUnroll) {
      for (int u = 0; u < tileUnroll; u++) {
        Bytes codes[tileVectors];
        for (int v = 0; v < tileVectors; v++) codes[v] = loadCodes(span + v * spanBlocks * blockBytes + (k + u) * vectorBytes);
        for (int i = 0; i < nX; i++) {
          const Bytes four = broadcast(x + i * xStride + 4 * (k + u));
          for (int v = 0; v < tileVectors; v++) sums[i][v] = multiplyAdd(sums[i][v], codes[v], four);
        }
      }
    }
    for (int i = 0; i < nX; i++) {
      for (int v = 0; v < tileVectors; v++) addRunning(sums[i][v], acc + i * accStride + v * tileRows);
    }
  }
}

using AddTile = void (*)(const uint8_t*, int, const int8_t*, size_t, int32_t*, size_t);

constexpr AddTile addTileBySize[] = {nullptr,    addTile<1>, addTile<2>, addTile<3>, addTile<4>,
                                     addTile<5>, addTile<6>, addTile<7>, addTile<8>};
static_assert(tileActivations <= 8);

// A part of a span against every row of activations.
void addTiles(const uint8_t* span, int nBlocks, const int8_t* x, size_t xStride, int nX, int32_t* acc, size_t accStride) {
  for (int i = 0; i < nX; i += tileActivations) {
    const int count = nX - i < tileActivations ? nX - i : tileActivations;
    addTileBySize[count](span, nBlocks, x + i * xStride, xStride, acc + i * accStride, accStride);
  }
}

// One span; `acc` has room for spanRows sums a row. `aheadBytes` further lie the rows of the next one.
void addSpans(const uint8_t* const rows[spanRows], size_t aheadBytes, const int8_t* x, size_t xStride, int nX, int cols, int32_t* acc,
              size_t accStride) {
  alignas(64) uint8_t span[spanBytes];
  for (int first = 0; first < cols / 128; first += spanBlocks) {
    const int nBlocks = cols / 128 - first < spanBlocks ? cols / 128 - first : spanBlocks;
    for (int v = 0; v < tileVectors; v++) {
      for (int b = 0; b < nBlocks; b++) {
        const size_t offset = 32 * static_cast<size_t>(first + b);
        for (int j = 0; j < tileRows; j++) __builtin_prefetch(rows[v * tileRows + j] + offset + aheadBytes);
        unpackBlock(rows + v * tileRows, offset, span + (v * spanBlocks + b) * blockBytes);
      }
    }
    addTiles(span, nBlocks, x + 128 * static_cast<size_t>(first), xStride, nX, acc, accStride);
  }
}

void tileMatmul(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
  const size_t aheadBytes = spanRows * weights.stride;
  for (int r = 0; r < weights.rows; r += spanRows) {
    const int count = weights.rows - r < spanRows ? weights.rows - r : spanRows;
    const uint8_t* rows[spanRows];
    for (int j = 0; j < spanRows; j++) rows[j] = weights.row(r + (j < count ? j : count - 1));
    if (count == spanRows) {
      for (int i = 0; i < x.rows; i++) {
        for (int j = 0; j < spanRows; j++) acc.row(i)[r + j] = -xSums[i];
      }
      addSpans(rows, aheadBytes, x.data, x.stride, x.rows, x.cols, acc.data + r, acc.stride);
      continue;
    }
    // The last span goes through a buffer, so that no sum is written past the row.
    for (int i = 0; i < x.rows; i += tileActivations) {
      const int some = x.rows - i < tileActivations ? x.rows - i : tileActivations;
      int32_t sums[tileActivations * spanRows] = {};
      addSpans(rows, aheadBytes, x.row(i), x.stride, some, x.cols, sums, spanRows);
      for (int k = 0; k < some; k++) {
        for (int j = 0; j < count; j++) acc.row(i + k)[r + j] = sums[k * spanRows + j] - xSums[i + k];
      }
    }
  }
}

void ternaryMatmul(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
  const auto matmul = x.rows < tileFrom ? rowsMatmul : tileMatmul;
  matmul(weights, x, xSums, acc);
}

}  // namespace
}  // namespace bitnet
