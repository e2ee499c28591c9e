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

void ternaryMatmul(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
  for (int r = 0; r < weights.rows; r++) {
    for (int i = 0; i < x.rows; i++) acc.row(i)[r] = dotRow(weights.row(r), x.row(i), x.cols) - xSums[i];
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

int32_t dotBytes(const int8_t* a, const int8_t* b, int n) {
  int32_t sum = 0;
  for (int k = 0; k < n; k++) sum += a[k] * b[k];
  return sum;
}

void screenDots(const Int8Matrix& table, const Int8Matrix& x, const int32_t*, const SumMatrix& acc) {
  for (int r = 0; r < table.rows; r++) {
    for (int i = 0; i < x.rows; i++) acc.row(i)[r] = dotBytes(table.row(r), x.row(i), x.cols);
  }
}

constexpr Kernels table = kernelTable("scalar", ternaryMatmul, screenDots, groupDots, groupOffsets);

}  // namespace

const Kernels* scalarKernels() { return &table; }

}  // namespace bitnet
