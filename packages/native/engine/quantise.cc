// Rows of int8 with one scale each, or one for each 128 columns.
#include <algorithm>
#include <cstring>

#include "row-operations.h"

namespace bitnet::engine {

// That of a row whose largest magnitude has these bits.
float quantisationScale(uint32_t bits) {
  float absMax;
  std::memcpy(&absMax, &bits, sizeof absMax);
  return 127.0f / (absMax > 1e-5f ? absMax : 1e-5f);
}

void quantise(const StepContext& c, const QuantiseOp& op, int32_t opIndex, int32_t row) {
  const int32_t cols = c.program.buffer(op.x).cols;
  const float* x = c.executable.f32(op.x).row(row);
  const uint32_t bits = c.kernels.absMaxBits(x, cols);
  if (bits >= 0x7f800000u) return c.job.numericFailure(opIndex, row);
  quantiseRow(c, x, c.executable.q8(op.out), row, cols, quantisationScale(bits));
}

// A scale for each 128 columns.
static void quantiseGroups(const StepContext& c, const float* x, const Q8Rows& out, int32_t row, int32_t cols) {
  const size_t nGroups = static_cast<size_t>(out.nGroups());
  float* const scales = out.groupScales + static_cast<size_t>(row) * nGroups;
  float* const reciprocals = out.reciprocals + static_cast<size_t>(row) * nGroups;
  int32_t* const offsets = out.offsets + static_cast<size_t>(row) * out.offsetsOfRow();
  int8_t* const arranged = out.arranged + static_cast<size_t>(row) * out.arrangedOfRow();
  for (int32_t g = 0; g < out.nGroups(); g++) {
    const int32_t from = 128 * g, n = std::min(128, cols - from);
    int8_t* const values = out.row(row) + from;
    scales[g] = quantisationScale(c.kernels.absMaxBits(x + from, n));
    reciprocals[g] = 1.0f / scales[g];
    c.kernels.quantise(x + from, scales[g], n, 128, values);
    for (int32_t plane = 0; plane < 4; plane++)
      std::memcpy(arranged + g / 2 * 256 + 64 * plane + 32 * (g % 2), values + 32 * plane, 32);
  }
  c.kernels.groupOffsets(arranged, (out.nGroups() + 1) / 2, offsets);
}

void quantiseRow(const StepContext& c, const float* x, const Q8Rows& out, int32_t row, int32_t cols, float scale) {
  if (out.groupScales) return quantiseGroups(c, x, out, row, cols);
  const int32_t padded = static_cast<int32_t>(out.stride);
  out.scales[row] = scale;
  if (!out.blockSums) {
    out.sums[row] = c.kernels.quantise(x, scale, cols, padded, out.row(row));
    return;
  }
  // Scales by group need the sums of the groups: quantise block by block.
  int32_t* blockSums = out.blockSums + static_cast<size_t>(row) * (out.stride / 128);
  int32_t sum = 0;
  for (int32_t from = 0; from < padded; from += 128) {
    const int32_t n = std::min(128, cols - from);
    blockSums[from / 128] = c.kernels.quantise(x + from, scale, n, 128, out.row(row) + from);
    sum += blockSums[from / 128];
  }
  out.sums[row] = sum;
}

}  // namespace bitnet::engine
