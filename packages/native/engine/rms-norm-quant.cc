// Norms of rows, with the quantisation that follows them or without, and the same of 16 rows in lanes.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "row-operations.h"

namespace bitnet::engine {

void normalise(const StepContext& c, const float* x, const float* weight, int32_t cols, float eps, float* out, uint32_t* absMax) {
  const float mean = c.kernels.sumSquares(x, cols) / static_cast<float>(cols);
  const float r = 1.0f / std::sqrt(mean + eps);
  *absMax = c.kernels.normalise(x, r, weight, cols, out);
}

void rmsNormQuant(const StepContext& c, const RmsNormQuantOp& op, int32_t opIndex, int32_t row) {
  const int32_t cols = c.program.buffer(op.x).cols;
  uint32_t bits;
  // Read from memory with every step; a second row finds it in the cache.
  if (c.step.nRows == 1) prefetch(c.executable.vector(op.weight), static_cast<size_t>(cols) * sizeof(float));
  normalise(c, c.executable.f32(op.x).row(row), c.executable.vector(op.weight), cols, op.eps, c.scratch.row, &bits);
  if (bits >= 0x7f800000u) return c.job.numericFailure(opIndex, row);
  quantiseRow(c, c.scratch.row, c.executable.q8(op.out), row, cols, quantisationScale(bits));
}

// The rows of one block; lanes without a row become zeros.
void rmsNormQuantLanes(const StepContext& c, const RmsNormQuantOp& op, int32_t opIndex, int32_t first) {
  const LaneKernels& k = *c.kernels.tiles->lanes;
  const Q8Rows& out = c.executable.q8(op.out);
  const int32_t cols = c.program.buffer(op.x).cols, n = std::min(stripRows, c.step.nRows - first);
  const float *x = c.executable.f32(op.x).row(first), *weight = c.executable.vector(op.weight);
  alignas(64) float factors[stripRows], scales[stripRows] = {};
  alignas(64) uint32_t most[stripRows];
  alignas(64) int32_t sums[stripRows];
  k.squares(x, cols, factors);
  for (int32_t i = 0; i < stripRows; i++) factors[i] = i < n ? 1.0f / std::sqrt(factors[i] / static_cast<float>(cols) + op.eps) : 0.0f;
  const LaneNorm y = {x, factors, weight, cols};
  k.magnitudes(y, most);
  for (int32_t i = 0; i < n; i++) {
    if (most[i] >= 0x7f800000u) return c.job.numericFailure(opIndex, first + i);
    scales[i] = quantisationScale(most[i]);
  }
  k.quantise(y, scales, {out.row(first), static_cast<int32_t>(out.stride), sums});
  std::memcpy(out.scales + first, scales, static_cast<size_t>(n) * sizeof(float));
  std::memcpy(out.sums + first, sums, static_cast<size_t>(n) * sizeof(int32_t));
}

// Each stretch of the row that is as wide as the weight.
void rmsNorm(const StepContext& c, const RmsNormOp& op, int32_t row) {
  const int32_t cols = c.program.buffer(op.x).cols, width = c.program.buffer(op.weight).cols;
  const float *x = c.executable.f32(op.x).row(row), *weight = c.executable.vector(op.weight);
  float* out = c.executable.f32(op.out).row(row);
  uint32_t bits;
  for (int32_t at = 0; at < cols; at += width) normalise(c, x + at, weight, width, op.eps, out + at, &bits);
}

}  // namespace bitnet::engine
