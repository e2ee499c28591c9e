// out = table[token]
#include "row-operations.h"

namespace bitnet::engine {

void embed(const StepContext& c, const Op& op, int32_t row) {
  const Buffer& table = c.program.buffer(op.table);
  const size_t rowBytes = denseRowBytes(table.type, table.cols);
  c.kernels.widen(table.type, c.executable.weightBytes(op.table) + static_cast<size_t>(c.step.tokens[row]) * rowBytes, table.cols, c.executable.f32(op.out).row(row));
}

void embedLanes(const StepContext& c, const Op& op, int32_t row) {
  const Buffer& table = c.program.buffer(op.table);
  const size_t rowBytes = denseRowBytes(table.type, table.cols);
  c.kernels.widen(table.type, c.executable.weightBytes(op.table) + static_cast<size_t>(c.step.tokens[row]) * rowBytes, table.cols, c.scratch.row);
  float* to = c.executable.f32(op.out).row(row / stripRows * stripRows) + row % stripRows;
  for (int32_t i = 0; i < table.cols; i++) to[static_cast<size_t>(i) * stripRows] = c.scratch.row[i];
}

}  // namespace bitnet::engine
