// The ternary product, written once over the vectors of one instruction set. Two ways: few rows of activations go along the row, so that
// weights stream from memory once and unpack in registers; many rows go by tiles, for which weights unpack once into a panel.
//
// Both compute Σ code · x − Σ x with codes 0 … 3. Include after a blocks.h, which defines in an anonymous namespace:
// - Bytes (codes or activations) and Running (sums that are safe for `maxSteps` calls of multiplyAdd); zeroRunning, multiplyAdd;
// - along the row: rowVectorBytes (16 or 32 of the 32 bytes of a block) and rowsPerVector; loadPacked(row, nextRow); plane<s>(packed), the
//   codes of weights 32s … 32s + 31; loadActivations; reduce4(four totals, out), one int32 a row; Total, zeroTotal, widenAdd; and what fits
//   the registers: rowActivations (rows of activations at a time), vectorsAtOnce (that share a load of activations), decodeChains;
// - by tiles: tileRows, rows of one vector that holds 4 codes of each; tileVectors and tileActivations, the register tile; panelBlocks;
//   unpackBlock(rows, out), 32 vectors of a block in ascending k; loadCodes; broadcast(4 activations); addRunning(sums, int32_t*);
// - tileFrom, the number of rows of activations from which tiles are faster.
#pragma once
#include "kernels.h"

namespace bitnet {
namespace {

// ---- along the row ----

// Rows of a group: four vectors.
inline constexpr int groupRows = 4 * rowsPerVector;

// Independent sums of one row: multiplyAdd waits for the one before it, and a single row of activations gives too few.
template <int nX>
inline constexpr int chains = nX == 1 ? decodeChains : 1;

// So much further is asked for early; 512 to 2048 bytes could not be told apart on a noisy Emerald Rapids guest.
inline constexpr size_t aheadBytes = 1024;

// Rows of weights as runs side by side: row r of run j begins r · rowBytes + j · runBytes behind the first, and its sum has the place
// r + j · perRun. What follows the last step of a row shows in short rows, hence few instructions there, too.
struct Runs {
  const uint8_t* first;
  size_t rowBytes, runBytes;
  int perRun;
};

// Results of nRuns ≤ groupRows runs with nX rows of activations. `runs` has as many runs as a group has rows.
template <int nX>
void runsDots(Runs runs, int nRuns, const int8_t* x, size_t xStride, const int32_t* xSums, int nBlocks, int32_t* acc, size_t accStride) {
  const int spanBlocks = maxSteps / (4 * 32 / rowVectorBytes);
  const size_t runBytes = runs.runBytes, threeRuns = 3 * runBytes;
  for (int r = 0; r < runs.perRun; r++, runs.first += runs.rowBytes) {
    Total totals[nX][4];
    for (auto& ofX : totals) {
      for (auto& total : ofX) total = zeroTotal();
    }
    const uint8_t* block = runs.first;
    const int8_t* xBlock = x;
    for (int left = nBlocks; left > 0; left -= spanBlocks) {
      const int nSpan = left < spanBlocks ? left : spanBlocks;
      Running running[nX][4][chains<nX>];
      for (auto& ofX : running) {
        for (auto& ofVector : ofX) {
          for (auto& sum : ofVector) sum = zeroRunning();
        }
      }
      const auto addBlock = [&]<bool asks>() __attribute__((always_inline)) {
        for (int half = 0; half < 32; half += rowVectorBytes) {
          const auto rowOf = [&](int j) {
            return block + (j < 4 ? 0 : 4 * runBytes) + (j % 4 == 3 ? threeRuns : static_cast<size_t>(j % 4) * runBytes) + half;
          };
          for (int v = 0; v < 4; v += vectorsAtOnce) {
            Bytes packed[vectorsAtOnce];
            for (int u = 0; u < vectorsAtOnce; u++) {
              const uint8_t* row = rowOf((v + u) * rowsPerVector);
              const uint8_t* nextRow = rowOf((v + u) * rowsPerVector + rowsPerVector - 1);
              if (asks && half == 0) {
                __builtin_prefetch(row + aheadBytes);
                if (rowsPerVector == 2) __builtin_prefetch(nextRow + aheadBytes);
              }
              packed[u] = loadPacked(row, nextRow);
            }
            const auto addPlane = [&]<int s>() {
              Bytes codes[vectorsAtOnce];
              for (int u = 0; u < vectorsAtOnce; u++) codes[u] = plane<s>(packed[u]);
              for (int i = 0; i < nX; i++) {
                const Bytes part = loadActivations(xBlock + i * xStride + half + 32 * s);
                for (int u = 0; u < vectorsAtOnce; u++) {
                  Running& sum = running[i][v + u][s % chains<nX>];
                  sum = multiplyAdd(sum, codes[u], part);
                }
              }
            };
            addPlane.template operator()<0>();
            addPlane.template operator()<1>();
            addPlane.template operator()<2>();
            addPlane.template operator()<3>();
          }
        }
        block += 32, xBlock += 128;
      };
      // Two blocks share a line.
      int at = 0;
      for (; at + 2 <= nSpan; at += 2) {
        addBlock.template operator()<true>();
        addBlock.template operator()<false>();
      }
      if (at < nSpan) addBlock.template operator()<true>();
      for (int i = 0; i < nX; i++) {
        for (int v = 0; v < 4; v++) {
          for (const Running& sum : running[i][v]) totals[i][v] = widenAdd(totals[i][v], sum);
        }
      }
    }
    for (int i = 0; i < nX; i++) {
      int32_t sums[groupRows];
      reduce4(totals[i], sums);
      int32_t* const out = acc + i * accStride + r;
      if (nRuns == groupRows) {
        for (int j = 0; j < groupRows; j++) out[static_cast<size_t>(j) * static_cast<size_t>(runs.perRun)] = sums[j] - xSums[i];
      } else {
        for (int j = 0; j < nRuns; j++) out[j * runs.perRun] = sums[j] - xSums[i];
      }
    }
  }
}

using RunsDots = void (*)(Runs, int, const int8_t*, size_t, const int32_t*, int, int32_t*, size_t);

constexpr RunsDots runsDotsBySize[] = {nullptr, runsDots<1>, runsDots<2>, runsDots<3>, runsDots<4>};
static_assert(rowActivations <= 4);

// The rows of a group are far apart, so that each is part of a long run of memory that a prefetcher can follow. Those that are left over
// form a group with rows before them, or one by one, where there are none, with themselves.
void rowsMatmul(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums,
                int nX, int cols, int32_t* acc, size_t accStride) {
  for (int i = 0; i < nX; i += rowActivations) {
    const int some = nX - i < rowActivations ? nX - i : rowActivations;
    const auto dots = [&](int firstRow, size_t runBytes, int perRun, int nRuns) {
      runsDotsBySize[some]({weights + firstRow * rowBytes, rowBytes, runBytes, perRun}, nRuns, x + i * xStride, xStride, xSums + i, cols / 128,
                           acc + i * accStride + firstRow, accStride);
    };
    const int perRun = nRows / groupRows;
    if (perRun > 0) {
      dots(0, perRun * rowBytes, perRun, groupRows);
      if (nRows % groupRows != 0) dots(nRows - groupRows, rowBytes, 1, groupRows);
    } else {
      for (int row = 0; row < nRows; row++) dots(row, 0, 1, 1);
    }
  }
}

// ---- by tiles ----

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
