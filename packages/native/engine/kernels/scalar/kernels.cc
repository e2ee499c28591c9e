// Plain C++ for every machine, and the judge of the other tables in known-answer.cc.
#include "lanes.h"

#include "../f32-kernels.inl.h"

namespace bitnet {
namespace {

int32_t dotRow(const uint8_t* row, const int8_t* x, int cols) {
  int32_t sum = 0;
  for (int block = 0; block < cols / 128; block++, row += 32, x += 128) {
    for (int p = 0; p < 32; p++) {
      const int byte = row[p];
      sum += (byte >> 6) * x[p] + (byte >> 4 & 3) * x[32 + p] + (byte >> 2 & 3) * x[64 + p] + (byte & 3) * x[96 + p];
    }
  }
  return sum;
}

void ternaryMatmul(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* x, size_t xStride,
                   const int32_t* xSums, int nX, int cols, int32_t* acc, size_t accStride) {
  for (int r = 0; r < nRows; r++) {
    for (int i = 0; i < nX; i++) {
      acc[i * accStride + r] = dotRow(weights + r * rowBytes, x + i * xStride, cols) - xSums[i];
    }
  }
}

constexpr int groupRowsAtOnce = 1;
constexpr int groupActivations = 1;

struct PairCodes {
  const uint8_t* packed;
};

PairCodes unpackPair(const uint8_t* codes) { return {codes}; }

I32x16 pairDots(const PairCodes& codes, const int8_t* x) {
  I32x16 sums = {};
  for (int p = 0; p < 64; p++) {
    const int byte = codes.packed[p];
    sums.v[p / 4] += (byte >> 6) * x[p] + (byte >> 4 & 3) * x[64 + p] + (byte >> 2 & 3) * x[128 + p] + (byte & 3) * x[192 + p];
  }
  return sums;
}

}  // namespace
}  // namespace bitnet

#include "../group-dots.inl.h"

namespace bitnet {
namespace {

void screenDots(const int8_t* rows, size_t rowBytes, int nRows, const int8_t* x, size_t xStride, const int32_t*, int nX, int cols,
                int32_t* acc, size_t accStride) {
  for (int r = 0; r < nRows; r++) {
    for (int i = 0; i < nX; i++) {
      int32_t sum = 0;
      for (int k = 0; k < cols; k++) sum += rows[r * rowBytes + k] * x[i * xStride + k];
      acc[i * accStride + r] = sum;
    }
  }
}

constexpr Kernels table = kernelTable("scalar", ternaryMatmul, screenDots, groupDots, groupOffsets);

}  // namespace

const Kernels* scalarKernels() { return &table; }

}  // namespace bitnet
