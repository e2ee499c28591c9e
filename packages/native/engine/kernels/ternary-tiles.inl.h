// The ternary product with many rows of activations as they are: weights unpack into a panel, transposed, for register tiles of vectors of weights ×
// rows of activations. Include after ternary.inl.h and a blocks.h that defines, too: tileRows, rows of one vector that holds 4 codes of each;
// tileVectors and tileActivations, the register tile; panelBlocks; unpackBlock(rows, out), 32 vectors of a block in ascending k; loadCodes;
// broadcast(4 activations); addRunning(sums, int32_t*); tileFrom, the number of rows of activations from which this is faster.
#pragma once
#include "ternary.inl.h"

namespace bitnet {
namespace {

// Steps of the inner loop; compilers copy every sum once a turn.
inline constexpr int tileUnroll = 2;

inline constexpr int panelRows = tileVectors * tileRows;
inline constexpr int vectorBytes = 4 * tileRows;
inline constexpr int blockBytes = 32 * vectorBytes;  // one block of tileRows rows, unpacked
inline constexpr int panelBytes = tileVectors * panelBlocks * blockBytes;

// acc[i · accStride + r] += Σ code · x over nBlocks blocks, for the panel's rows. Vector v of the panel starts at
// v · panelBlocks · blockBytes.
template <int nX>
void addTile(const uint8_t* panel, int nBlocks, const int8_t* x, size_t xStride, int32_t* acc, size_t accStride) {
  const int spanBlocks = maxSteps / 32;
  for (int first = 0; first < nBlocks; first += spanBlocks) {
    const int end = nBlocks - first < spanBlocks ? nBlocks : first + spanBlocks;
    Running sums[nX][tileVectors];
    for (auto& ofX : sums) {
      for (auto& sum : ofX) sum = zeroRunning();
    }
    for (int k = 32 * first; k < 32 * end; k += tileUnroll) {
      for (int u = 0; u < tileUnroll; u++) {
        Bytes codes[tileVectors];
        for (int v = 0; v < tileVectors; v++) codes[v] = loadCodes(panel + v * panelBlocks * blockBytes + (k + u) * vectorBytes);
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

// A part of a panel against every row of activations.
void addTiles(const uint8_t* panel, int nBlocks, const int8_t* x, size_t xStride, int nX, int32_t* acc, size_t accStride) {
  for (int i = 0; i < nX; i += tileActivations) {
    const int count = nX - i < tileActivations ? nX - i : tileActivations;
    addTileBySize[count](panel, nBlocks, x + i * xStride, xStride, acc + i * accStride, accStride);
  }
}

// One panel; `acc` has room for panelRows sums a row. `aheadBytes` further lie the rows of the next one.
void addPanel(const uint8_t* const rows[panelRows], size_t aheadBytes, const int8_t* x, size_t xStride, int nX, int cols, int32_t* acc,
              size_t accStride) {
  alignas(64) uint8_t panel[panelBytes];
  for (int first = 0; first < cols / 128; first += panelBlocks) {
    const int nBlocks = cols / 128 - first < panelBlocks ? cols / 128 - first : panelBlocks;
    for (int v = 0; v < tileVectors; v++) {
      for (int b = 0; b < nBlocks; b++) {
        const size_t offset = 32 * static_cast<size_t>(first + b);
        for (int j = 0; j < tileRows; j++) __builtin_prefetch(rows[v * tileRows + j] + offset + aheadBytes);
        unpackBlock(rows + v * tileRows, offset, panel + (v * panelBlocks + b) * blockBytes);
      }
    }
    addTiles(panel, nBlocks, x + 128 * static_cast<size_t>(first), xStride, nX, acc, accStride);
  }
}

void tileMatmul(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums,
                int nX, int cols, int32_t* acc, size_t accStride) {
  for (int r = 0; r < nRows; r += panelRows) {
    const int count = nRows - r < panelRows ? nRows - r : panelRows;
    const uint8_t* rows[panelRows];
    for (int j = 0; j < panelRows; j++) rows[j] = weights + (r + (j < count ? j : count - 1)) * rowBytes;
    if (count == panelRows) {
      for (int i = 0; i < nX; i++) {
        for (int j = 0; j < panelRows; j++) acc[i * accStride + r + j] = -xSums[i];
      }
      addPanel(rows, panelRows * rowBytes, x, xStride, nX, cols, acc + r, accStride);
      continue;
    }
    // The last panel goes through a buffer, so that no sum is written past the row.
    for (int i = 0; i < nX; i += tileActivations) {
      const int some = nX - i < tileActivations ? nX - i : tileActivations;
      int32_t sums[tileActivations * panelRows] = {};
      addPanel(rows, panelRows * rowBytes, x + i * xStride, xStride, some, cols, sums, panelRows);
      for (int k = 0; k < some; k++) {
        for (int j = 0; j < count; j++) acc[(i + k) * accStride + r + j] = sums[k * panelRows + j] - xSums[i + k];
      }
    }
  }
}

void ternaryMatmul(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* x, size_t xStride,
                   const int32_t* xSums, int nX, int cols, int32_t* acc, size_t accStride) {
  if (nX < tileFrom) return rowsMatmul(weights, rowBytes, nRows, x, xStride, xSums, nX, cols, acc, accStride);
  tileMatmul(weights, rowBytes, nRows, x, xStride, xSums, nX, cols, acc, accStride);
}

}  // namespace
}  // namespace bitnet
