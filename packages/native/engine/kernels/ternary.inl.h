// The ternary product, Σ code · x − Σ x with codes 0 … 3, written once over the vectors of one instruction set. Here few rows of activations go
// along the row, so that weights stream from memory once and unpack in registers. With more, weights unpack once, a span at a time: by strips of
// activations (strips.inl.h), or by tiles (ternary-tiles.inl.h).
//
// Include after a blocks.h, which defines in an anonymous namespace: Bytes (codes or activations) and Running (sums that are safe for `maxSteps`
// calls of multiplyAdd); zeroRunning, multiplyAdd; rowVectorBytes (16 or 32 of the 32 bytes of a block) and rowsPerVector; loadPacked(row,
// nextRow); plane<s>(packed), the codes of weights 32s … 32s + 31; loadActivations; reduce4(four totals, out), one int32 a row; Total, zeroTotal,
// widenAdd; and what fits the registers: rowActivations (rows of activations at a time), vectorsAtOnce (that share a load of activations),
// decodeChains.
#pragma once
#include "kernels.h"

namespace bitnet {
namespace {

// Rows of weights that go together: four vectors.
inline constexpr int rowsAtOnce = 4 * rowsPerVector;

// Independent sums of one row: multiplyAdd waits for the one before it, and a single row of activations gives too few.
template <int nX>
inline constexpr int chains = nX == 1 ? decodeChains : 1;

// So much further is asked for early; 512 to 2048 bytes could not be told apart on a noisy Emerald Rapids guest.
inline constexpr size_t aheadBytes = 1024;

// Rows of weights as streams side by side: row r of stream j begins r · rowBytes + j · streamBytes behind the first, and its sum is number
// r + j · perStream. What follows the last step of a row shows in short rows, hence few instructions there, too.
struct Streams {
  const uint8_t* first;
  size_t rowBytes, streamBytes;
  int perStream;
};

// Results of nStreams ≤ rowsAtOnce streams with nX rows of activations. There are as many streams in memory as rows that go together.
template <int nX>
void streamDots(Streams streams, int nStreams, const int8_t* x, size_t xStride, const int32_t* xSums, int nBlocks, int32_t* acc, size_t accStride) {
  const int safeBlocks = maxSteps / (4 * 32 / rowVectorBytes);
  const size_t streamBytes = streams.streamBytes, threeStreams = 3 * streamBytes;
  for (int r = 0; r < streams.perStream; r++, streams.first += streams.rowBytes) {
    Total totals[nX][4];
    for (auto& ofX : totals) {
      for (auto& total : ofX) total = zeroTotal();
    }
    const uint8_t* block = streams.first;
    const int8_t* xBlock = x;
    for (int left = nBlocks; left > 0; left -= safeBlocks) {
      const int nSafe = left < safeBlocks ? left : safeBlocks;
      Running running[nX][4][chains<nX>];
      for (auto& ofX : running) {
        for (auto& ofVector : ofX) {
          for (auto& sum : ofVector) sum = zeroRunning();
        }
      }
      const auto addBlock = [&]<bool asks>() __attribute__((always_inline)) {
        for (int half = 0; half < 32; half += rowVectorBytes) {
          const auto rowOf = [&](int j) {
            return block + (j < 4 ? 0 : 4 * streamBytes) + (j % 4 == 3 ? threeStreams : static_cast<size_t>(j % 4) * streamBytes) + half;
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
        block += 32;
        xBlock += 128;
      };
      // Two blocks share a line.
      int at = 0;
      for (; at + 2 <= nSafe; at += 2) {
        addBlock.template operator()<true>();
        addBlock.template operator()<false>();
      }
      if (at < nSafe) addBlock.template operator()<true>();
      for (int i = 0; i < nX; i++) {
        for (int v = 0; v < 4; v++) {
          for (const Running& sum : running[i][v]) totals[i][v] = widenAdd(totals[i][v], sum);
        }
      }
    }
    for (int i = 0; i < nX; i++) {
      int32_t sums[rowsAtOnce];
      reduce4(totals[i], sums);
      int32_t* const out = acc + i * accStride + r;
      if (nStreams == rowsAtOnce) {
        for (int j = 0; j < rowsAtOnce; j++) out[static_cast<size_t>(j) * static_cast<size_t>(streams.perStream)] = sums[j] - xSums[i];
      } else {
        for (int j = 0; j < nStreams; j++) out[j * streams.perStream] = sums[j] - xSums[i];
      }
    }
  }
}

using StreamDots = void (*)(Streams, int, const int8_t*, size_t, const int32_t*, int, int32_t*, size_t);

constexpr StreamDots streamDotsBySize[] = {nullptr, streamDots<1>, streamDots<2>, streamDots<3>, streamDots<4>};
static_assert(rowActivations <= 4);

// The rows that go together are far apart, so that each is part of a long stream that a prefetcher can follow. Those that are left over
// go with rows before them, or one by one, where there are none, with themselves.
void rowsMatmul(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
  const int nRows = weights.rows;
  for (int i = 0; i < x.rows; i += rowActivations) {
    const int some = x.rows - i < rowActivations ? x.rows - i : rowActivations;
    const auto dots = [&](int firstRow, size_t streamBytes, int perStream, int nStreams) {
      streamDotsBySize[some]({weights.row(firstRow), weights.stride, streamBytes, perStream}, nStreams, x.row(i), x.stride, xSums + i, x.cols / 128,
                             acc.row(i) + firstRow, acc.stride);
    };
    const int perStream = nRows / rowsAtOnce;
    if (perStream > 0) {
      dots(0, perStream * weights.stride, perStream, rowsAtOnce);
      if (nRows % rowsAtOnce != 0) dots(nRows - rowsAtOnce, weights.stride, 1, rowsAtOnce);
    } else {
      for (int row = 0; row < nRows; row++) dots(row, 0, 1, 1);
    }
  }
}

}  // namespace
}  // namespace bitnet
