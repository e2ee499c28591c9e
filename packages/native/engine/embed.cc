// out = table[token]
#include "row-operations.h"

namespace bitnet::engine {

// Of the row's token, to f32.
static void widenRow(const StepContext& c, const EmbedOp& op, int32_t row, float* out) {
  const DenseMatrix table = c.executable.dense(op.table);
  c.kernels.widen(c.program.buffer(op.table).type, table.row(c.step.tokens[row]), table.cols, out);
}

void embed(const StepContext& c, const EmbedOp& op, int32_t row) { widenRow(c, op, row, c.executable.f32(op.out).row(row)); }

void embedLanes(const StepContext& c, const EmbedOp& op, int32_t row) {
  widenRow(c, op, row, c.scratch.row);
  float* to = c.executable.f32(op.out).row(row / stripRows * stripRows) + row % stripRows;
  for (int32_t i = 0; i < c.program.buffer(op.table).cols; i++) to[static_cast<size_t>(i) * stripRows] = c.scratch.row[i];
}

}  // namespace bitnet::engine
