// Products with many rows of activations without instructions for whole tiles. A line of a strip, 4 columns of 16 rows of activations, is
// one or two vectors, which meet 4 codes of a row of weights in every lane. So weights unpack without being turned.
//
// Include after a blocks.h that defines what ternary.inl.h asks for, loadCodes, broadcast and addRunning; and after vectorRows, the rows of activations
// of a vector; mostVectors and tileSums, the vectors and sums of a register tile; keepsVectors, whether it has registers for vectors of activations,
// which are operands in memory otherwise; laidOutRows and spanColumns, the rows of weights and their columns that are laid out at a time;
// unpackRow(row, aheadBytes, nColumns, out), which asks for what is aheadBytes further as well.
#pragma once
#include <cstring>

#include "kernels.h"

namespace bitnet {
namespace {

inline constexpr int lineBytes = 4 * stripRows;
inline constexpr int sumRows = 128;  // rows of activations whose sums are kept beside each other

inline int leastOf(int a, int b) { return a < b ? a : b; }

// sums[r · sumRows + i] += Σ row r · activations i over nSteps · 4 columns, for nRows rows, which lie spanColumns bytes apart. Vectors
// beyond a strip are those of the next one, stripBytes further. nSteps is a multiple of 32.
template <int nRows, int nVectors>
void addTile(const uint8_t* rows, const int8_t* strip, size_t stripBytes, int nSteps, int32_t* sums) {
  constexpr int safeSteps = maxSteps / 32 * 32, perLine = stripRows / vectorRows, nStrips = (nVectors + perLine - 1) / perLine;
  // A pointer each, as an index would cost an instruction of its own.
  const int8_t* lines[nStrips];
  for (int i = 0; i < nStrips; i++) lines[i] = strip + i * stripBytes;
  for (int left = nSteps; left > 0; left -= safeSteps) {
    Running tile[nRows][nVectors];
    for (auto& ofRow : tile) {
      for (auto& sum : ofRow) sum = zeroRunning();
    }
    const uint8_t* const end = rows + 4 * leastOf(safeSteps, left);
    for (; rows < end; rows += 16) {
#pragma GCC unroll 4
      for (int step = 0; step < 4; step++) {
        const auto vectorOf = [&](int v) {
          const int8_t* from = lines[v / perLine] + v % perLine * (lineBytes / perLine) + step * lineBytes;
          return loadCodes(reinterpret_cast<const uint8_t*>(from));
        };
        Bytes x[nVectors];
#pragma GCC unroll 4
        for (int v = 0; v < nVectors && keepsVectors; v++) x[v] = vectorOf(v);
#pragma GCC unroll 24
        for (int r = 0; r < nRows; r++) {
          const Bytes four = broadcast(reinterpret_cast<const int8_t*>(rows + r * spanColumns + 4 * step));
          // Compilers would load the vectors once for all rows, even where there are no registers for them,
          for (int i = 0; i < nStrips && !keepsVectors; i++) __asm__("" : "+r"(lines[i]));
#pragma GCC unroll 4
          for (int v = 0; v < nVectors; v++) {
            tile[r][v] = multiplyAdd(tile[r][v], four, keepsVectors ? x[v] : vectorOf(v));
            // and add the products of several steps first, likewise.
            __asm__("" : "+v"(tile[r][v]));
          }
        }
      }
#pragma GCC unroll 4
      for (const int8_t*& line : lines) line += 4 * lineBytes;
    }
    for (int r = 0; r < nRows; r++) {
      for (int v = 0; v < nVectors; v++) addRunning(tile[r][v], sums + r * sumRows + v * vectorRows);
    }
  }
}

// Rows that are left over go by ever smaller tiles.
template <int nVectors, int nRows = tileSums / nVectors>
void addRows(const uint8_t* rows, int some, const int8_t* strip, size_t stripBytes, int nSteps, int32_t* sums) {
  int r = 0;
  for (; r + nRows <= some; r += nRows) addTile<nRows, nVectors>(rows + r * spanColumns, strip, stripBytes, nSteps, sums + r * sumRows);
  if constexpr (nRows > 1)
    addRows<nVectors, (nRows > 3 ? nRows / 2 : 1)>(rows + r * spanColumns, some - r, strip, stripBytes, nSteps, sums + r * sumRows);
}

constexpr decltype(&addRows<4>) addRowsBySize[] = {nullptr, addRows<1>, addRows<2>, addRows<3>, addRows<4>};

// `leave(r, i, n, sums)` gets the sums of n ≤ laidOutRows rows of weights, from row r on, with rows i … i + 7 of activations: those of a row are
// sumRows further than those of the row before.
template <class Leave>
void multiplyStrips(const PackedMatrix& weights, const StripMatrix& x, Leave leave) {
  const size_t rowBytes = weights.stride, stripBytes = x.stride;
  const int nRows = weights.rows, nX = x.rows, cols = x.cols;
  alignas(64) uint8_t rows[laidOutRows * spanColumns];
  // In whole blocks of 16 rows, which are turned together however many of them are in use.
  constexpr int sumBlocks = (laidOutRows + 15) / 16;
  alignas(64) int32_t sums[sumBlocks * 16 * sumRows];
  for (int first = 0; first < nX; first += sumRows) {
    const int count = leastOf(nX - first, sumRows);
    for (int r = 0; r < nRows; r += laidOutRows) {
      const int some = leastOf(nRows - r, laidOutRows);
      std::memset(sums, 0, sizeof sums);
      for (int k = 0; k < cols; k += spanColumns) {
        const int n = leastOf(cols - k, spanColumns);
        for (int j = 0; j < some; j++) unpackRow(weights.data + (r + j) * rowBytes + k / 4, laidOutRows * rowBytes, n, rows + j * spanColumns);
        for (int i = 0; i < count; i += mostVectors * vectorRows) {
          const int8_t* strip = x.data + (first + i) / stripRows * stripBytes + static_cast<size_t>(k) * stripRows;
          const int nVectors = leastOf((count - i + vectorRows - 1) / vectorRows, mostVectors);
          addRowsBySize[nVectors](rows, some, strip, stripBytes, n / 4, sums + i);
        }
      }
      for (int i = 0; i < count; i += vectorRows) leave(r, first + i, some, sums + i);
    }
  }
}

}  // namespace
}  // namespace bitnet
