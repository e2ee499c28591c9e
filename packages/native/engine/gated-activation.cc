// Activation functions, of a gate or alone.
#include <algorithm>

#include "row-operations.h"

namespace bitnet::engine {

void gatedActivation(const StepContext& c, const GatedActivationOp& op, int32_t row) {
  c.kernels.gate(op.fn, c.executable.f32(op.gate).row(row), c.executable.f32(op.up).row(row), c.program.buffer(op.out).cols, c.executable.f32(op.out).row(row));
}

void activation(const StepContext& c, const ActivationOp& op, int32_t row) {
  constexpr int32_t piece = 256;
  static const auto ones = [] {
    struct Ones { alignas(64) float values[piece]; } all;
    std::fill(all.values, all.values + piece, 1.0f);
    return all;
  }();
  const int32_t cols = c.program.buffer(op.x).cols;
  for (int32_t at = 0; at < cols; at += piece)
    c.kernels.gate(op.fn, c.executable.f32(op.x).row(row) + at, ones.values, std::min(piece, cols - at), c.executable.f32(op.out).row(row) + at);
}

}  // namespace bitnet::engine
