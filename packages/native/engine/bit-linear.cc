// outs[i] = weights[i] · x, panel by panel of the rows of x: the rows of all weights, one after the other, are cut into chunks, so that the
// sums of a chunk and a panel fit a small scratch, and the threads take panel and chunk one by one.
#include <algorithm>
#include <cstring>

#include "operations.h"

namespace bitnet::engine {
namespace {

// Rows of activations with which weights stream from memory.
constexpr int32_t streamedRows = 4;
// Of weights, at least, in a chunk of the last of a panel's: beginning a chunk takes a while, too.
constexpr size_t leastChunkBytes = 65536;

int32_t roundUp(int32_t n, int32_t multiple) { return (n + multiple - 1) / multiple * multiple; }

int32_t panelRowsOf(const Step& step) { return std::min(step.nRows, maxPanel); }

}  // namespace

const Operation* joinedTo(const StepContext& c, int32_t opIndex) {
  // Only a bitLinear does.
  if (!c.program.feedsNext[static_cast<size_t>(opIndex)]) return nullptr;
  const Operation* next = &c.program.operation(opIndex + 1);
  // With few rows others than the activation are soon done, and by row.
  if (next->kind != OpKind::GatedActivation && c.step.nRows <= streamedRows) return nullptr;
  if (next->kind == OpKind::RopeKv) {
    const int32_t headDim = c.program.buffer(next->ropeKv.kv).headDim;
    if (headDim % 16 != 0 || headDim > accScratch / panelRowsOf(c.step)) return nullptr;
  }
  const IdList& outs = c.program.operation(opIndex).bitLinear.outs;
  for (int32_t i = 0; i < c.step.nOutputs; i++)
    if (std::find(outs.begin(), outs.end(), c.step.outputs[i]) != outs.end()) return nullptr;
  return next;
}

namespace {

// Some rows of a weight.
struct WeightChunk {
  const Buffer& weight;
  int32_t firstRow, nRows;
  PackedMatrix rows;
  size_t accStride;

  // The same rows of columns [first, first + n).
  PackedMatrix cols(int32_t first, int32_t n) const { return {rows.data + first / 4, rows.stride, nRows, n}; }
};

// Some rows of x.
struct XPanel {
  const Q8Rows& x;
  int32_t first, n;
  bool isArranged;     // it holds strips instead of rows
  StripMatrix strips;  // the same, arranged for tiles, where that is faster; or of no data

  bool hasStrips() const { return strips.data != nullptr; }
};

// How a bitLinear is cut up.
struct ChunkPlan {
  const BitLinearOp& op;
  const Operation* next;  // computed with it, or null
  int32_t nWeights;       // whose rows are taken after each other; those of two that an activation joins are taken together
  int32_t panelRows;
  int32_t unit, least, most;  // rows of a chunk: a multiple, and how many

  bool joins(OpKind kind) const { return next && next->kind == kind; }
};

ChunkPlan planOf(const StepContext& c, int32_t opIndex) {
  const BitLinearOp& op = c.program.operation(opIndex).bitLinear;
  const int32_t unit = c.step.nRows <= streamedRows ? 16 : 64;
  ChunkPlan plan = {op, joinedTo(c, opIndex), op.weights.n, panelRowsOf(c.step), unit, unit, unit};
  const bool isGated = plan.joins(OpKind::GatedActivation);
  if (isGated) plan.nWeights = 1;
  if (plan.joins(OpKind::RopeKv)) plan.unit = c.program.buffer(plan.next->ropeKv.kv).headDim;
  const int32_t scratchRows = c.hasLanes ? roundUp(plan.panelRows, stripRows) : plan.panelRows;
  plan.most = std::max(plan.unit, (isGated ? accScratch / 2 : accScratch) / scratchRows / plan.unit * plan.unit);
  const size_t rowBytes = ternaryRowBytes(c.program.buffer(op.weights[0]).cols) * (isGated ? 2 : 1);
  plan.least = std::clamp(roundUp(static_cast<int32_t>(leastChunkBytes / rowBytes), plan.unit), plan.unit, plan.most);
  return plan;
}

// Goes through the chunks of a plan in the order in which they are taken: panel by panel, weight by weight. The threads take chunks of equal
// size in turn until half of a panel's rows are left (a quarter, where weights stream), then half of what is left, and so on: few chunks, and yet
// the last are so small that no thread waits long for one that lost time to others on the machine.
struct ChunkCursor {
  const StepContext* context;
  const ChunkPlan* plan;
  int64_t index = -1;
  int32_t panel = 0, weight = 0;  // the panel's first row, and an index of the plan's weights
  int32_t firstRow = 0, nRows = 0;
  int32_t size = 0, turns = 0;  // of the next chunks, and how many threads are still to take one of that size

  int32_t rowsOf(int32_t i) const { return context->program.buffer(plan->op.weights[i]).rows; }
  bool isAtEnd() const { return panel >= context->step.nRows; }
  // To chunk `target`, which is not before the present one.
  void seek(int64_t target) {
    for (; index < target && !isAtEnd(); index++) advance();
  }
  void advance() {
    firstRow += nRows;
    if (firstRow == rowsOf(weight)) {
      firstRow = 0;
      weight = (weight + 1) % plan->nWeights;
      if (weight == 0) {
        panel += plan->panelRows;
        turns = 0;
      }
    }
    if (turns == 0) {
      int64_t left = -firstRow;
      for (int32_t i = weight; i < plan->nWeights; i++) left += rowsOf(i);
      turns = context->team.size();
      // A stream that goes on is faster than one that begins.
      const bool isFirst = weight == 0 && firstRow == 0 && context->step.nRows <= streamedRows;
      size = std::clamp(roundUp(static_cast<int32_t>((isFirst ? 3 : 2) * left / (4 * turns)), plan->unit), plan->least, plan->most);
    }
    turns--;
    nRows = std::min(size, rowsOf(weight) - firstRow);
  }
};

WeightChunk chunkOf(const StepContext& c, int32_t id, int32_t firstRow, int32_t nRows) {
  const Buffer& weight = c.program.buffer(id);
  const size_t rowBytes = ternaryRowBytes(weight.cols);
  const uint8_t* rows = c.executable.weightBytes(id) + static_cast<size_t>(firstRow) * rowBytes;
  return {weight, firstRow, nRows, {rows, rowBytes, nRows, paddedCols(weight.cols)}, static_cast<size_t>(roundUp(nRows, 16))};
}

void arrange(const StepContext& c, XPanel& panel, int32_t first, int32_t n) {
  const Q8Rows& x = panel.x;
  panel.first = first;
  panel.n = n;
  panel.strips = {panel.isArranged ? x.row(first) : nullptr, x.stride * stripRows, n, static_cast<int32_t>(x.stride)};
  if (panel.isArranged) return;
  // In steps with lanes some results are for tiles only.
  if (!c.kernels.tiles || x.groupScales || (n < c.kernels.tiles->ternaryFrom && !c.hasLanes)) return;
  c.kernels.tiles->arrange(x.matrix(first, n), c.scratch.strips);
  panel.strips.data = c.scratch.strips;
}

// Sums over columns [firstCol, firstCol + cols), to the scratch.
void multiply(const StepContext& c, const WeightChunk& chunk, const XPanel& panel, int32_t firstCol, int32_t cols, const int32_t* xSums) {
  const PackedMatrix weights = chunk.cols(firstCol, cols);
  const SumMatrix acc = {c.scratch.acc, chunk.accStride, panel.n, chunk.nRows};
  if (panel.hasStrips()) {
    const int8_t* strips = panel.strips.data + static_cast<size_t>(firstCol) * stripRows;
    c.kernels.tiles->ternary(weights, {strips, panel.strips.stride, panel.n, cols}, xSums, acc);
  } else {
    c.kernels.ternaryMatmul(weights, {panel.x.row(panel.first) + firstCol, panel.x.stride, panel.n, cols}, xSums, acc);
  }
}

void groupChunk(const StepContext& c, const WeightChunk& chunk, const XPanel& panel, F32Rows out) {
  const Buffer& weight = chunk.weight;
  const Q8Rows& x = panel.x;
  const int32_t nGroups = weight.cols / weight.groupSize, blocks = weight.groupSize / 128;
  const float* scales = c.program.scales.data() + weight.firstScale + static_cast<size_t>(chunk.firstRow) * static_cast<size_t>(nGroups);
  for (int32_t j = 0; j < panel.n; j++) std::memset(out.row(j), 0, static_cast<size_t>(chunk.nRows) * sizeof(float));
  for (int32_t g = 0; g < nGroups; g++) {
    for (int32_t j = 0; j < panel.n; j++) {
      const int32_t* sums = x.blockSums + static_cast<size_t>(panel.first + j) * (x.stride / 128) + static_cast<size_t>(g * blocks);
      c.scratch.sums[j] = 0;
      for (int32_t b = 0; b < blocks; b++) c.scratch.sums[j] += sums[b];
    }
    multiply(c, chunk, panel, g * weight.groupSize, weight.groupSize, c.scratch.sums);
    for (int32_t j = 0; j < panel.n; j++)
      c.kernels.foldGroup(c.scratch.acc + static_cast<size_t>(j) * chunk.accStride, chunk.nRows, scales + g, static_cast<size_t>(nGroups), out.row(j));
  }
  for (int32_t j = 0; j < panel.n; j++) c.kernels.multiply(out.row(j), chunk.nRows, 1.0f / x.scales[panel.first + j]);
}

// Activations in groups.
void groupedChunk(const StepContext& c, const WeightChunk& chunk, const XPanel& panel, F32Rows out, bool adds) {
  const Buffer& weight = chunk.weight;
  const float* const own = c.program.scales.data() + weight.firstScale;
  GroupScales scales = {nullptr, 0, 1};
  if (weight.scaleKind == ScaleKind::Group) {
    const size_t nGroups = static_cast<size_t>(weight.cols / weight.groupSize);
    scales = {own + static_cast<size_t>(chunk.firstRow) * nGroups, nGroups, weight.groupSize / 128};
  }
  const F32Rows to = adds ? F32Rows{c.scratch.joined, chunk.accStride} : out;
  c.kernels.groupDots(chunk.rows, panel.x.grouped(panel.first, panel.n), scales, to.matrix(panel.n, chunk.nRows));
  for (int32_t j = 0; j < panel.n; j++) {
    float* const row = to.row(j);
    if (weight.scaleKind == ScaleKind::Tensor) c.kernels.multiply(row, chunk.nRows, weight.scale);
    for (int32_t r = 0; weight.scaleKind == ScaleKind::Row && r < chunk.nRows; r++) row[r] *= own[chunk.firstRow + r];
    if (adds) c.kernels.add(out.row(j), row, chunk.nRows);
  }
}

// Row j of `out` is that of the panel's row j, and begins at the chunk's first row of weights; or toLanes. The lines of `ahead`, which has the same shape
// or none, will be written next.
void ternaryChunk(const StepContext& c, const WeightChunk& chunk, const XPanel& panel, F32Rows out, F32Rows ahead = {}, bool adds = false, bool toLanes = false) {
  const Buffer& weight = chunk.weight;
  const Q8Rows& x = panel.x;
  if (x.groupScales) return groupedChunk(c, chunk, panel, out, adds);
  if (weight.scaleKind == ScaleKind::Group) {
    const F32Rows part = adds ? F32Rows{c.scratch.joined, chunk.accStride} : out;
    groupChunk(c, chunk, panel, part);
    for (int32_t j = 0; adds && j < panel.n; j++) c.kernels.add(out.row(j), part.row(j), chunk.nRows);
    return;
  }
  if (panel.hasStrips() && weight.scaleKind == ScaleKind::Tensor) {
    for (int32_t j = 0; j < panel.n; j++) c.scratch.tensorScales[j] = weight.scale / x.scales[panel.first + j];
    const auto product = toLanes ? c.kernels.tiles->lanes->ternary : c.kernels.tiles->ternaryScaled;
    product(chunk.rows, panel.strips, x.sums + panel.first, {c.scratch.tensorScales, out.data, out.stride, adds, ahead.data, ahead.stride});
    return;
  }
  multiply(c, chunk, panel, 0, static_cast<int32_t>(x.stride), x.sums + panel.first);
  for (int32_t j = 0; j < panel.n; j++) {
    const int32_t* acc = c.scratch.acc + static_cast<size_t>(j) * chunk.accStride;
    const float s = x.scales[panel.first + j];
    float* const scaled = adds ? c.scratch.joined : out.row(j);
    if (weight.scaleKind == ScaleKind::Tensor) {
      c.kernels.scaleTensor(acc, chunk.nRows, weight.scale / s, scaled);
    } else {
      c.kernels.scaleRow(acc, chunk.nRows, c.program.scales.data() + weight.firstScale + chunk.firstRow, s, scaled);
    }
    if (adds) c.kernels.add(out.row(j), scaled, chunk.nRows);
  }
}

// Results are left to the next phase, or added to the residual stream.
void linearChunk(const StepContext& c, const ChunkCursor& at, const XPanel& panel) {
  const ChunkPlan& plan = *at.plan;
  const bool adds = plan.joins(OpKind::Residual);
  const int32_t id = adds ? plan.next->residual.x : plan.op.outs[at.weight];
  const F32Rows out = c.inLanes(id) ? c.executable.f32(id).lanesFrom(panel.first, at.firstRow) : c.executable.f32(id).from(panel.first, at.firstRow);
  ternaryChunk(c, chunkOf(c, plan.op.weights[at.weight], at.firstRow, at.nRows), panel, out, out, adds, c.inLanes(id));
}

// The same rows of both weights, and the activation of the results.
void gatedChunk(const StepContext& c, const ChunkCursor& at, const XPanel& panel) {
  const ChunkPlan& plan = *at.plan;
  const GatedActivationOp& activation = plan.next->gatedActivation;
  const WeightChunk chunks[2] = {chunkOf(c, plan.op.weights[0], at.firstRow, at.nRows), chunkOf(c, plan.op.weights[1], at.firstRow, at.nRows)};
  const bool toLanes = c.inLanes(activation.out);
  const F32Rows& rows = c.executable.f32(activation.out);
  const F32Rows out = toLanes ? rows.lanesFrom(panel.first, at.firstRow) : rows.from(panel.first, at.firstRow);
  F32Rows parts[2];
  for (int i = 0; i < 2; i++) {
    parts[i] = {c.scratch.joined + i * (accScratch / 2), chunks[i].accStride};
    ternaryChunk(c, chunks[i], panel, parts[i], i == 1 ? out : F32Rows{}, false, toLanes);
  }
  // A block of lanes is one long row.
  const int32_t step = toLanes ? stripRows : 1;
  for (int32_t j = 0; j < panel.n; j += step) c.kernels.gate(activation.fn, parts[0].row(j), parts[1].row(j), at.nRows * step, out.row(j));
}

// Heads of q (weight 0) and k (1), rotated, or v (2): those of q to where they belong, the others into the KV cache.
void rotatedChunk(const StepContext& c, const ChunkCursor& at, const XPanel& panel) {
  const RopeKvOp& op = at.plan->next->ropeKv;
  const WeightChunk chunk = chunkOf(c, at.plan->op.weights[at.weight], at.firstRow, at.nRows);
  const F32Rows part = {c.scratch.joined, chunk.accStride};
  ternaryChunk(c, chunk, panel, part);
  const int32_t headDim = c.program.buffer(op.kv).headDim;
  for (int32_t first = 0; first < chunk.nRows; first += headDim) {
    for (int32_t j = 0; j < panel.n; j++) {
      const int32_t row = panel.first + j;
      float* const head = part.row(j) + first;
      if (at.weight < 2) c.kernels.rope(head, anglesOf(c, op.table, row), headDim, op.pairing);
      if (at.weight == 0) {
        std::memcpy(c.executable.f32(op.q).row(row) + at.firstRow + first, head, static_cast<size_t>(headDim) * sizeof(float));
      } else {
        cache(c, head, headDim, cachedKey(c, op.kv, row, (at.firstRow + first) / headDim) + (at.weight == 2 ? c.executable.kvHalf(op.kv) : 0));
      }
    }
  }
}

}  // namespace

void bitLinear(const StepContext& c, int32_t opIndex, WorkCounter* counters) {
  const ChunkPlan plan = planOf(c, opIndex);
  ChunkCursor at = {&c, &plan};
  at.seek(take(*counters));
  XPanel panel = {c.executable.q8(plan.op.x), -1, 0, c.inLanes(plan.op.x), {}};
  while (!at.isAtEnd()) {
    if (panel.first != at.panel) arrange(c, panel, at.panel, std::min(plan.panelRows, c.step.nRows - at.panel));
    if (plan.joins(OpKind::GatedActivation)) {
      gatedChunk(c, at, panel);
    } else if (plan.joins(OpKind::RopeKv)) {
      rotatedChunk(c, at, panel);
    } else {
      linearChunk(c, at, panel);
    }
    at.seek(take(*counters));
  }
}

}  // namespace bitnet::engine
