// The step from its first page copy to its last operation: phase by phase, all threads meeting behind each. Functions that meet barriers return true
// when the step is to stop.
#include <algorithm>
#include <cstring>

#include "operations.h"

namespace bitnet::engine {
namespace {

// Every thread makes all copies in order, but only of its own part of a page.
void copyPages(const StepContext& c) {
  const size_t bytes = c.executable.arena().pageBytes();
  const size_t part = (bytes / static_cast<size_t>(c.team.size()) + 64) / 64 * 64;
  const size_t from = std::min(bytes, part * static_cast<size_t>(c.thread));
  const size_t n = std::min(bytes - from, part);
  if (n == 0) return;
  for (int32_t i = 0; i < c.step.nCopies; i++) {
    const int32_t source = c.step.copies[2 * i], target = c.step.copies[2 * i + 1];
    if (source != target) std::memcpy(c.executable.arena().page(target) + from, c.executable.arena().page(source) + from, n);
  }
}

// Copies pages and sets inputs, where the step asks for it.
bool setUp(const StepContext& c) {
  if (c.step.nCopies == 0 && c.step.inputs.size() == 0) return c.team.barrier();
  copyPages(c);
  for (const StepInput& input : c.step.inputs) {
    const F32Rows& rows = c.executable.f32(input.buffer);
    const size_t cols = static_cast<size_t>(c.program.buffer(input.buffer).cols);
    for (int32_t row = c.thread; row < c.step.nRows; row += c.team.size())
      std::memcpy(rows.row(row), input.values + static_cast<size_t>(row) * cols, cols * sizeof(float));
  }
  return c.team.barrier();
}

void runRow(const StepContext& c, int32_t opIndex, int32_t row) {
  const Operation& op = c.program.operation(opIndex);
  switch (op.kind) {
    case OpKind::Embed: return embed(c, op.embed, row);
    case OpKind::RmsNormQuant: return rmsNormQuant(c, op.rmsNormQuant, opIndex, row);
    case OpKind::RmsNorm: return rmsNorm(c, op.rmsNorm, row);
    case OpKind::Quantise: return quantise(c, op.quantise, opIndex, row);
    case OpKind::RopeKv: return ropeKv(c, op.ropeKv, row);
    case OpKind::Rope: return rope(c, op.rope, row);
    case OpKind::WriteKv: return writeKv(c, op.writeKv, row);
    case OpKind::Activation: return activation(c, op.activation, row);
    case OpKind::Multiply: return multiplyRows(c, op.multiply, row);
    case OpKind::GatedActivation: return gatedActivation(c, op.gatedActivation, row);
    case OpKind::Bias: return bias(c, op.bias, row);
    case OpKind::Lora: return lora(c, op.lora, row);
    case OpKind::Scale: return scale(c, op.scale, row);
    case OpKind::Residual: return residual(c, op.residual, row);
    // They take all rows at once.
    case OpKind::BitLinear:
    case OpKind::Attention:
    case OpKind::Head: return;
  }
}

bool usesLanes(const StepContext& c, const Operation& op) {
  return (op.kind == OpKind::Embed && c.inLanes(op.embed.out)) || (op.kind == OpKind::RmsNormQuant && c.inLanes(op.rmsNormQuant.x));
}

// For stripRows rows, as far as there are.
void runBlock(const StepContext& c, int32_t opIndex, int32_t first) {
  const Operation& op = c.program.operation(opIndex);
  const int32_t end = std::min(first + stripRows, c.step.nRows);
  if (!usesLanes(c, op)) {
    for (int32_t row = first; row < end; row++) runRow(c, opIndex, row);
  } else if (op.kind == OpKind::Embed) {
    for (int32_t row = first; row < end; row++) embedLanes(c, op.embed, row);
  } else {
    rmsNormQuantLanes(c, op.rmsNormQuant, opIndex, first);
  }
}

// An operation that was computed with the one before it is passed over.
int32_t firstOf(const StepContext& c, const Phase& phase) { return phase.first + (phase.first > 0 && joinedTo(c, phase.first - 1) ? 1 : 0); }

void runRows(const StepContext& c, const Phase& phase) {
  WorkCounter& counter = *c.executable.counters(phase.counters);
  const uint32_t nRows = static_cast<uint32_t>(c.step.nRows);
  const int32_t first = firstOf(c, phase);
  bool hasBlocks = false;
  for (int32_t i = first; i < phase.end; i++) hasBlocks |= usesLanes(c, c.program.operation(i));
  if (hasBlocks) {
    for (uint32_t row = take(counter) * stripRows; row < nRows; row = take(counter) * stripRows) {
      for (int32_t i = first; i < phase.end; i++) runBlock(c, i, static_cast<int32_t>(row));
    }
    return;
  }
  for (uint32_t row = take(counter); row < nRows; row = take(counter)) {
    for (int32_t i = first; i < phase.end; i++) runRow(c, i, static_cast<int32_t>(row));
  }
}

bool runPhase(const StepContext& c, const Phase& phase) {
  const Operation& op = c.program.operation(phase.first);
  WorkCounter* counters = c.executable.counters(phase.counters);
  if (op.kind == OpKind::BitLinear) {
    bitLinear(c, phase.first, counters);
  } else if (op.kind == OpKind::Attention) {
    return attention(c, op.attention, counters);
  } else if (op.kind == OpKind::Head) {
    return head(c, op.head, phase.first, counters);
  } else {
    runRows(c, phase);
  }
  return false;
}

}  // namespace

StepContext::StepContext(StepJob& job, Team& team, int thread)
    : job(job),
      executable(job.executable()),
      program(executable.program()),
      step(job.step()),
      kernels(executable.kernels()),
      team(team),
      thread(thread),
      scratch(executable.scratch(thread)),
      // What a step sets or asks for lies row by row.
      hasLanes(kernels.tiles && kernels.tiles->lanes && step.nRows >= kernels.tiles->lanes->from && step.nOutputs == 0 && step.inputs.size() == 0) {}

void runOperations(const StepContext& c) {
  if (setUp(c)) return;
  const Phase* phase = c.executable.phases().data();
  const Phase* const end = phase + c.executable.phases().size();
  while (phase < end && phase->first < phase->end) {
    if (firstOf(c, *phase) == phase->end) {
      phase++;
      continue;
    }
    if (runPhase(c, *phase)) return;
    // Work on a single row is for one thread: the last to arrive does it at once, rather than that all meet once more for it.
    phase++;
    const Phase* const alone = c.step.nRows == 1 && phase < end && phase->rowWise ? phase++ : nullptr;
    const auto last = [&] {
      if (alone) runRows(c, *alone);
    };
    if (c.team.barrier(last)) return;
  }
}

}  // namespace bitnet::engine
