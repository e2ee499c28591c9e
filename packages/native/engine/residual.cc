// x = x + y, and what else goes element by element.
#include "row-operations.h"

namespace bitnet::engine {

void residual(const StepContext& c, const ResidualOp& op, int32_t row) {
  c.kernels.add(c.executable.f32(op.x).row(row), c.executable.f32(op.y).row(row), c.program.buffer(op.x).cols);
}

void bias(const StepContext& c, const BiasOp& op, int32_t row) {
  c.kernels.add(c.executable.f32(op.x).row(row), c.executable.vector(op.bias), c.program.buffer(op.x).cols);
}

void scale(const StepContext& c, const ScaleOp& op, int32_t row) { c.kernels.multiply(c.executable.f32(op.x).row(row), c.program.buffer(op.x).cols, op.factor); }

void multiplyRows(const StepContext& c, const MultiplyOp& op, int32_t row) {
  const float *x = c.executable.f32(op.x).row(row), *y = c.executable.f32(op.y).row(row);
  float* out = c.executable.f32(op.out).row(row);
  for (int32_t i = 0; i < c.program.buffer(op.x).cols; i++) out[i] = x[i] * y[i];
}

}  // namespace bitnet::engine
