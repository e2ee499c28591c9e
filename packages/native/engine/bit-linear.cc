// outs[i] = weights[i] · x, panel by panel of the rows of x: the rows of all weights, one after the other, are cut into chunks, so that the
// sums of a chunk and a panel fit a small scratch, and the threads take panel and chunk one by one.
#include <algorithm>
#include <cstring>

#include "worker.h"

namespace bitnet::engine {
namespace {

// Rows of activations with which weights stream from memory.
constexpr int32_t streamedRows = 4;
// Of weights, at least, in a chunk of the last of a panel's: beginning a chunk takes a while, too.
constexpr size_t leastChunkBytes = 65536;

int32_t roundUp(int32_t n, int32_t multiple) { return (n + multiple - 1) / multiple * multiple; }

int32_t panelRowsOf(const Step& step) { return std::min(step.nRows, maxPanel); }

}  // namespace

// Some rows of a weight.
struct Worker::WeightChunk {
  const Buffer& weight;
  int32_t firstRow, nRows;
  size_t rowBytes;
  const uint8_t* rows;
  size_t accStride;
};

// Some rows of x.
struct Worker::XPanel {
  const Q8Rows& x;
  int32_t first, n;
  bool isArranged;       // it holds strips instead of rows
  const int8_t* strips;  // the same, arranged for tiles, where that is faster; or null
};

// The operation after a bitLinear, where it is computed from each chunk of results while they are in the cache: unless the step asks for
// what goes between the two. Null otherwise.
const Op* Worker::joinedTo(int32_t opIndex) const {
  const Op& op = program_.ops[static_cast<size_t>(opIndex)];
  if (op.kind != OpKind::BitLinear || !op.feedsNext) return nullptr;
  const Op* next = &op + 1;
  // With few rows others than the activation are soon done, and by row.
  if (next->kind != OpKind::GatedActivation && step_.nRows <= streamedRows) return nullptr;
  if (next->kind == OpKind::RopeKv) {
    const int32_t headDim = program_.buffer(next->kv).headDim;
    if (headDim % 16 != 0 || headDim > accScratch / panelRowsOf(step_)) return nullptr;
  }
  const int32_t* outs = program_.lists.data() + op.firstList + op.nWeights;
  for (int32_t i = 0; i < step_.nOutputs; i++)
    if (std::find(outs, outs + op.nWeights, step_.outputs[i]) != outs + op.nWeights) return nullptr;
  return next;
}

// How a bitLinear is cut up.
struct Worker::ChunkPlan {
  const Op& op;
  const Op* next;          // computed with it, or null
  const int32_t* weights;  // ids
  int32_t nWeights;        // whose rows are taken after each other; those of two that an activation joins are taken together
  int32_t panelRows;
  int32_t unit, least, most;  // rows of a chunk: a multiple, and how many

  bool joins(OpKind kind) const { return next && next->kind == kind; }
};

Worker::ChunkPlan Worker::planOf(int32_t opIndex) const {
  const Op& op = program_.ops[static_cast<size_t>(opIndex)];
  const int32_t unit = step_.nRows <= streamedRows ? 16 : 64;
  ChunkPlan plan = {op, joinedTo(opIndex), program_.lists.data() + op.firstList, op.nWeights, panelRowsOf(step_), unit, unit, unit};
  const bool isGated = plan.joins(OpKind::GatedActivation);
  if (isGated) plan.nWeights = 1;
  if (plan.joins(OpKind::RopeKv)) plan.unit = program_.buffer(plan.next->kv).headDim;
  const int32_t scratchRows = hasLanes_ ? roundUp(plan.panelRows, stripRows) : plan.panelRows;
  plan.most = std::max(plan.unit, (isGated ? accScratch / 2 : accScratch) / scratchRows / plan.unit * plan.unit);
  const size_t rowBytes = ternaryRowBytes(program_.buffer(plan.weights[0]).cols) * (isGated ? 2 : 1);
  plan.least = std::clamp(roundUp(static_cast<int32_t>(leastChunkBytes / rowBytes), plan.unit), plan.unit, plan.most);
  return plan;
}

// Goes through the chunks of a plan in the order in which they are taken: panel by panel, weight by weight. The threads take chunks of equal
// size in turn until half of a panel's rows are left (a quarter, where weights stream), then half of what is left, and so on: few chunks, and yet
// the last are so small that no thread waits long for one that lost time to others on the machine.
struct Worker::ChunkCursor {
  const Worker* worker;
  const ChunkPlan* plan;
  int64_t index = -1;
  int32_t panel = 0, weight = 0;  // the panel's first row, and a place in the plan's list
  int32_t firstRow = 0, nRows = 0;
  int32_t size = 0, turns = 0;  // of the chunks of this round, and how many threads are still to take one

  int32_t rowsOf(int32_t i) const { return worker->program_.buffer(plan->weights[i]).rows; }
  bool isAtEnd() const { return panel >= worker->step_.nRows; }
  // To chunk `target`, which is not before the present one.
  void seek(int64_t target) {
    for (; index < target && !isAtEnd(); index++) advance();
  }
  void advance() {
    firstRow += nRows;
    if (firstRow == rowsOf(weight)) {
      firstRow = 0;
      weight = (weight + 1) % plan->nWeights;
      if (weight == 0) panel += plan->panelRows, turns = 0;
    }
    if (turns == 0) {
      int64_t left = -firstRow;
      for (int32_t i = weight; i < plan->nWeights; i++) left += rowsOf(i);
      turns = worker->team_.size();
      // A stream that goes on is faster than one that begins.
      const bool isFirst = weight == 0 && firstRow == 0 && worker->step_.nRows <= streamedRows;
      size = std::clamp(roundUp(static_cast<int32_t>((isFirst ? 3 : 2) * left / (4 * turns)), plan->unit), plan->least, plan->most);
    }
    turns--;
    nRows = std::min(size, rowsOf(weight) - firstRow);
  }
};

void Worker::bitLinear(int32_t opIndex, WorkCounter* counters) {
  const ChunkPlan plan = planOf(opIndex);
  ChunkCursor at = {this, &plan};
  at.seek(take(*counters));
  XPanel panel = {exe_.q8(plan.op.x), -1, 0, inLanes(plan.op.x), nullptr};
  while (!at.isAtEnd()) {
    if (panel.first != at.panel) arrange(panel, at.panel, std::min(plan.panelRows, step_.nRows - at.panel));
    if (plan.joins(OpKind::GatedActivation)) {
      gatedChunk(at, panel);
    } else if (plan.joins(OpKind::RopeKv)) {
      rotatedChunk(at, panel);
    } else {
      linearChunk(at, panel);
    }
    at.seek(take(*counters));
  }
}

// Results are left to the next phase, or added to the residual stream.
void Worker::linearChunk(const ChunkCursor& at, const XPanel& panel) {
  const ChunkPlan& plan = *at.plan;
  const bool adds = plan.joins(OpKind::Residual);
  const int32_t id = adds ? plan.next->x : plan.weights[plan.op.nWeights + at.weight];
  const F32Rows out = inLanes(id) ? exe_.f32(id).lanesFrom(panel.first, at.firstRow) : exe_.f32(id).from(panel.first, at.firstRow);
  ternaryChunk(chunkOf(plan.weights[at.weight], at.firstRow, at.nRows), panel, out, out, adds, inLanes(id));
}

// The same rows of both weights, and the activation of the results.
void Worker::gatedChunk(const ChunkCursor& at, const XPanel& panel) {
  const ChunkPlan& plan = *at.plan;
  const WeightChunk chunks[2] = {chunkOf(plan.weights[0], at.firstRow, at.nRows), chunkOf(plan.weights[1], at.firstRow, at.nRows)};
  const bool toLanes = inLanes(plan.next->out);
  const F32Rows& rows = exe_.f32(plan.next->out);
  const F32Rows out = toLanes ? rows.lanesFrom(panel.first, at.firstRow) : rows.from(panel.first, at.firstRow);
  F32Rows parts[2];
  for (int i = 0; i < 2; i++) {
    parts[i] = {scratch_.joined + i * (accScratch / 2), chunks[i].accStride};
    ternaryChunk(chunks[i], panel, parts[i], i == 1 ? out : F32Rows{}, false, toLanes);
  }
  // A block of lanes is one long row.
  const int32_t step = toLanes ? stripRows : 1;
  for (int32_t j = 0; j < panel.n; j += step) k_.gate(plan.next->fn, parts[0].row(j), parts[1].row(j), at.nRows * step, out.row(j));
}

// Heads of q (weight 0) and k (1), rotated, or v (2): those of q to where they belong, the others into the KV cache.
void Worker::rotatedChunk(const ChunkCursor& at, const XPanel& panel) {
  const Op& op = *at.plan->next;
  const WeightChunk chunk = chunkOf(at.plan->weights[at.weight], at.firstRow, at.nRows);
  const F32Rows part = {scratch_.joined, chunk.accStride};
  ternaryChunk(chunk, panel, part);
  const int32_t headDim = program_.buffer(op.kv).headDim;
  for (int32_t first = 0; first < chunk.nRows; first += headDim) {
    for (int32_t j = 0; j < panel.n; j++) {
      const int32_t row = panel.first + j;
      float* const head = part.row(j) + first;
      if (at.weight < 2) k_.rope(head, anglesOf(op, row), headDim, op.pairing);
      if (at.weight == 0) {
        std::memcpy(exe_.f32(op.q).row(row) + at.firstRow + first, head, static_cast<size_t>(headDim) * sizeof(float));
      } else {
        cache(head, headDim, cachedKey(op, row, (at.firstRow + first) / headDim) + (at.weight == 2 ? exe_.kvHalf(op.kv) : 0));
      }
    }
  }
}

void Worker::arrange(XPanel& panel, int32_t first, int32_t n) {
  panel.first = first, panel.n = n, panel.strips = nullptr;
  const Q8Rows& x = panel.x;
  if (panel.isArranged) {
    panel.strips = x.row(first);
    return;
  }
  // In steps with lanes some results are for tiles only.
  if (!k_.tiles || x.groupScales || (n < k_.tiles->ternaryFrom && !hasLanes_)) return;
  k_.tiles->arrange(x.row(first), x.stride, n, static_cast<int32_t>(x.stride), scratch_.strips);
  panel.strips = scratch_.strips;
}

Worker::WeightChunk Worker::chunkOf(int32_t id, int32_t firstRow, int32_t nRows) const {
  const Buffer& weight = program_.buffer(id);
  const size_t rowBytes = ternaryRowBytes(weight.cols);
  const uint8_t* rows = exe_.weightBytes(id) + static_cast<size_t>(firstRow) * rowBytes;
  return {weight, firstRow, nRows, rowBytes, rows, static_cast<size_t>(roundUp(nRows, 16))};
}

// Row j of `out` is that of the panel's row j, and begins at the chunk's first row of weights; or toLanes. The lines of `ahead`, which has the same shape
// or none, will be written next.
void Worker::ternaryChunk(const WeightChunk& chunk, const XPanel& panel, F32Rows out, F32Rows ahead, bool adds, bool toLanes) {
  const Buffer& weight = chunk.weight;
  const Q8Rows& x = panel.x;
  const int32_t cols = static_cast<int32_t>(x.stride);
  if (x.groupScales) return groupedChunk(chunk, panel, out, adds);
  if (weight.scaleKind == ScaleKind::Group) {
    const F32Rows part = adds ? F32Rows{scratch_.joined, chunk.accStride} : out;
    groupChunk(chunk, panel, part);
    for (int32_t j = 0; adds && j < panel.n; j++) k_.add(out.row(j), part.row(j), chunk.nRows);
    return;
  }
  if (panel.strips && weight.scaleKind == ScaleKind::Tensor) {
    for (int32_t j = 0; j < panel.n; j++) scratch_.tensorScales[j] = weight.scale / x.scales[panel.first + j];
    const auto multiply = toLanes ? k_.tiles->lanes->ternary : k_.tiles->ternaryScaled;
    multiply(chunk.rows, chunk.rowBytes, chunk.nRows, panel.strips, x.stride * stripRows, x.sums + panel.first, panel.n, cols,
                            {scratch_.tensorScales, out.data, out.stride, adds, ahead.data, ahead.stride});
    return;
  }
  multiply(chunk, panel, 0, cols, x.sums + panel.first);
  for (int32_t j = 0; j < panel.n; j++) {
    const int32_t* acc = scratch_.acc + static_cast<size_t>(j) * chunk.accStride;
    const float s = x.scales[panel.first + j];
    float* const scaled = adds ? scratch_.joined : out.row(j);
    if (weight.scaleKind == ScaleKind::Tensor) {
      k_.scaleTensor(acc, chunk.nRows, weight.scale / s, scaled);
    } else {
      k_.scaleRow(acc, chunk.nRows, program_.scales.data() + weight.firstScale + chunk.firstRow, s, scaled);
    }
    if (adds) k_.add(out.row(j), scaled, chunk.nRows);
  }
}

// Activations in groups.
void Worker::groupedChunk(const WeightChunk& chunk, const XPanel& panel, F32Rows out, bool adds) {
  const Buffer& weight = chunk.weight;
  const float* const own = program_.scales.data() + weight.firstScale;
  GroupScales scales = {nullptr, 0, 1};
  if (weight.scaleKind == ScaleKind::Group) {
    const size_t nGroups = static_cast<size_t>(weight.cols / weight.groupSize);
    scales = {own + static_cast<size_t>(chunk.firstRow) * nGroups, nGroups, weight.groupSize / 128};
  }
  const F32Rows to = adds ? F32Rows{scratch_.joined, chunk.accStride} : out;
  k_.groupDots(chunk.rows, chunk.rowBytes, chunk.nRows, panel.x.grouped(panel.first, panel.n), scales, to.data, to.stride);
  for (int32_t j = 0; j < panel.n; j++) {
    float* const row = to.row(j);
    if (weight.scaleKind == ScaleKind::Tensor) k_.multiply(row, chunk.nRows, weight.scale);
    for (int32_t r = 0; weight.scaleKind == ScaleKind::Row && r < chunk.nRows; r++) row[r] *= own[chunk.firstRow + r];
    if (adds) k_.add(out.row(j), row, chunk.nRows);
  }
}

void Worker::groupChunk(const WeightChunk& chunk, const XPanel& panel, F32Rows out) {
  const Buffer& weight = chunk.weight;
  const Q8Rows& x = panel.x;
  const int32_t nGroups = weight.cols / weight.groupSize, blocks = weight.groupSize / 128;
  const float* scales = program_.scales.data() + weight.firstScale + static_cast<size_t>(chunk.firstRow) * static_cast<size_t>(nGroups);
  for (int32_t j = 0; j < panel.n; j++) std::memset(out.row(j), 0, static_cast<size_t>(chunk.nRows) * sizeof(float));
  for (int32_t g = 0; g < nGroups; g++) {
    for (int32_t j = 0; j < panel.n; j++) {
      const int32_t* sums = x.blockSums + static_cast<size_t>(panel.first + j) * (x.stride / 128) + static_cast<size_t>(g * blocks);
      scratch_.sums[j] = 0;
      for (int32_t b = 0; b < blocks; b++) scratch_.sums[j] += sums[b];
    }
    multiply(chunk, panel, g * weight.groupSize, weight.groupSize, scratch_.sums);
    for (int32_t j = 0; j < panel.n; j++)
      k_.foldGroup(scratch_.acc + static_cast<size_t>(j) * chunk.accStride, chunk.nRows, scales + g, static_cast<size_t>(nGroups), out.row(j));
  }
  for (int32_t j = 0; j < panel.n; j++) k_.multiply(out.row(j), chunk.nRows, 1.0f / x.scales[panel.first + j]);
}

// Sums over columns [firstCol, firstCol + cols), to the scratch.
void Worker::multiply(const WeightChunk& chunk, const XPanel& panel, int32_t firstCol, int32_t cols, const int32_t* xSums) {
  const uint8_t* rows = chunk.rows + static_cast<size_t>(firstCol) / 4;
  const size_t stride = panel.x.stride;
  if (panel.strips) {
    const int8_t* strips = panel.strips + static_cast<size_t>(firstCol) * stripRows;
    k_.tiles->ternary(rows, chunk.rowBytes, chunk.nRows, strips, stride * stripRows, xSums, panel.n, cols, scratch_.acc, chunk.accStride);
  } else {
    k_.ternaryMatmul(rows, chunk.rowBytes, chunk.nRows, panel.x.row(panel.first) + firstCol, stride, xSums, panel.n, cols, scratch_.acc,
                     chunk.accStride);
  }
}

}  // namespace bitnet::engine
