// y = y + scale · b · (a · x): the side path of an adapter, for rows that have it.
#include "row-operations.h"

namespace bitnet::engine {
namespace {

// out = matrix · x
void multiplyMatrix(const StepContext& c, int32_t matrix, const float* x, float* out) {
  c.kernels.denseDots(c.program.buffer(matrix).type, c.executable.dense(matrix), x, out);
}

}  // namespace

void lora(const StepContext& c, const LoraOp& op, int32_t row) {
  if (!c.step.adapters || c.step.adapters[row] != op.adapter) return;
  const int32_t width = c.program.buffer(op.y).cols;
  multiplyMatrix(c, op.a, c.executable.f32(op.x).row(row), c.scratch.hidden);
  multiplyMatrix(c, op.b, c.scratch.hidden, c.scratch.row);
  c.kernels.multiply(c.scratch.row, width, op.scale);
  c.kernels.add(c.executable.f32(op.y).row(row), c.scratch.row, width);
}

}  // namespace bitnet::engine
