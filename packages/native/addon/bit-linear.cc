// outs[i] = weights[i] · x, panel by panel of the rows of x: the concatenated rows of all weights are cut into chunks, so that the sums of a
// chunk and a panel fit a small scratch, and the threads take panel and chunk one by one.
#include <algorithm>
#include <cstring>

#include "worker.h"

namespace bitnet::addon {
namespace {

// Rows of activations with which weights stream from memory.
constexpr int32_t streamedRows = 4;
// Of each run: what a kernel does not ask for itself, and what is asked for while waiting, so that all of it stays in a second-level cache.
constexpr size_t startBytes = 1024;
constexpr size_t waitingBytes = 8192;

int32_t roundUp(int32_t n, int32_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Rows of weights, a multiple of 16, whose sums with a panel fit `room`.
int32_t chunkRowsFor(int32_t room, int32_t panelRows, int64_t totalWeightRows, int32_t threads) {
  const int32_t fits = std::min(512, room / panelRows / 16 * 16);
  // Four chunks a thread even out what the threads lose to others on the machine.
  const int64_t even = totalWeightRows / (4 * threads);
  return std::min(fits, roundUp(static_cast<int32_t>(std::clamp<int64_t>(even, 16, fits)), 16));
}

int32_t panelRowsOf(const Step& step) { return std::min(step.nRows, maxPanel); }

}  // namespace

// Some rows of a weight.
struct Worker::WeightChunk {
  int32_t id;
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
  int32_t panelRows, chunkRows;

  bool joins(OpKind kind) const { return next && next->kind == kind; }
};

Worker::ChunkPlan Worker::planOf(int32_t opIndex) const {
  const Op& op = program_.ops[static_cast<size_t>(opIndex)];
  ChunkPlan plan = {op, joinedTo(opIndex), program_.lists.data() + op.firstList, op.nWeights, panelRowsOf(step_), 0};
  if (plan.joins(OpKind::GatedActivation)) plan.nWeights = 1;
  int64_t total = 0;
  for (int32_t i = 0; i < plan.nWeights; i++) total += program_.buffer(plan.weights[i]).rows;
  plan.chunkRows = chunkRowsFor(plan.joins(OpKind::GatedActivation) ? accScratch / 2 : accScratch, plan.panelRows, total, team_.size());
  if (plan.joins(OpKind::RopeKv)) {
    const int32_t headDim = program_.buffer(plan.next->kv).headDim;
    plan.chunkRows = std::max(headDim, plan.chunkRows / headDim * headDim);
  }
  return plan;
}

void Worker::bitLinear(int32_t opIndex, WorkCounter* counters) {
  const ChunkPlan plan = planOf(opIndex);
  const int32_t chunkRows = plan.chunkRows;
  const bool isStream = step_.nRows <= streamedRows;
  // Every thread begins with a chunk of its own, so that it can ask for that memory before; the others go to who comes first. Counters only
  // grow, so the panel and the weight that a chunk belongs to do, too.
  const auto takeNext = [&] { return static_cast<int64_t>(team_.size()) + take(*counters); };
  int64_t at = thread_, next = takeNext(), before = 0;
  for (int32_t first = 0; first < step_.nRows; first += plan.panelRows) {
    XPanel panel = {exe_.q8(plan.op.x), first, std::min(plan.panelRows, step_.nRows - first), nullptr};
    for (int32_t i = 0; i < plan.nWeights; i++) {
      const int64_t chunks = (program_.buffer(plan.weights[i]).rows + chunkRows - 1) / chunkRows;
      for (; at < before + chunks; at = next, next = takeNext()) {
        const int32_t firstRow = static_cast<int32_t>(at - before) * chunkRows;
        if (!panel.strips) arrange(panel);
        if (isStream) memoryOf(plan, next, startBytes).askForAll();
        if (plan.joins(OpKind::GatedActivation)) {
          gatedChunk(plan, firstRow, panel);
        } else if (plan.joins(OpKind::RopeKv) && i > 0) {
          cachedChunk(plan, i, firstRow, panel);
        } else {
          linearChunk(plan, i, firstRow, panel);
        }
      }
      before += chunks;
    }
  }
}

// The beginnings of the runs in which a chunk of the first panel is read.
MemoryAhead Worker::memoryOf(const ChunkPlan& plan, int64_t chunk, size_t bytes) const {
  for (int32_t i = 0; i < plan.nWeights; i++) {
    const int64_t chunks = (program_.buffer(plan.weights[i]).rows + plan.chunkRows - 1) / plan.chunkRows;
    if (chunk >= chunks) {
      chunk -= chunks;
      continue;
    }
    return runsOf(chunkOf(plan.weights[i], static_cast<int32_t>(chunk) * plan.chunkRows, plan.chunkRows), bytes);
  }
  return {};
}

MemoryAhead Worker::runsOf(const WeightChunk& chunk, size_t bytes) const {
  if (exe_.quintBytesOf(chunk.id)) return {};
  const size_t runBytes = static_cast<size_t>(chunk.nRows / k_.runs) * chunk.rowBytes;
  return {chunk.rows, k_.runs, runBytes, 0, std::min(runBytes, bytes)};
}

// What to ask for between the phase and the next bitLinear. The same memory goes on being asked for until that comes.
MemoryAhead* Worker::aheadOf(const Phase* phase) {
  if (step_.nRows > streamedRows) return nullptr;
  const Phase* end = exe_.phases().data() + exe_.phases().size();
  do phase++;
  while (phase < end && phase->first < phase->end && program_.ops[static_cast<size_t>(phase->first)].kind != OpKind::BitLinear);
  if (phase == end || phase->first == phase->end) return nullptr;
  if (aheadOp_ != phase->first) ahead_ = memoryOf(planOf(phase->first), thread_, waitingBytes);
  aheadOp_ = phase->first;
  return &ahead_;
}

// Results of weight i: they are left to the next phase, or added to the residual stream.
void Worker::linearChunk(const ChunkPlan& plan, int32_t i, int32_t firstRow, const XPanel& panel) {
  const bool adds = plan.joins(OpKind::Residual);
  const F32Rows out = exe_.f32(adds ? plan.next->x : plan.weights[plan.op.nWeights + i]).from(panel.first, firstRow);
  ternaryChunk(chunkOf(plan.weights[i], firstRow, plan.chunkRows), panel, out, out, adds);
}

// The same rows of both weights, and the activation of the results.
void Worker::gatedChunk(const ChunkPlan& plan, int32_t firstRow, const XPanel& panel) {
  const WeightChunk chunks[2] = {chunkOf(plan.weights[0], firstRow, plan.chunkRows), chunkOf(plan.weights[1], firstRow, plan.chunkRows)};
  const int32_t nRows = chunks[0].nRows;
  if (step_.nRows <= streamedRows) runsOf(chunks[1], startBytes).askForAll();
  const F32Rows out = exe_.f32(plan.next->out).from(panel.first, firstRow);
  F32Rows parts[2];
  for (int i = 0; i < 2; i++) {
    parts[i] = {scratch_.joined + i * (accScratch / 2), chunks[i].accStride};
    ternaryChunk(chunks[i], panel, parts[i], i == 1 ? out : F32Rows{});
  }
  for (int32_t j = 0; j < panel.n; j++) k_.gate(plan.next->fn, parts[0].row(j), parts[1].row(j), nRows, out.row(j));
}

// Heads of k (weight 1), rotated, or v (2), into the KV cache.
void Worker::cachedChunk(const ChunkPlan& plan, int32_t i, int32_t firstRow, const XPanel& panel) {
  const Op& op = *plan.next;
  const WeightChunk chunk = chunkOf(plan.weights[i], firstRow, plan.chunkRows);
  const F32Rows part = {scratch_.joined, chunk.accStride};
  ternaryChunk(chunk, panel, part);
  const int32_t headDim = program_.buffer(op.kv).headDim;
  for (int32_t at = 0; at < chunk.nRows; at += headDim) {
    for (int32_t j = 0; j < panel.n; j++) {
      const int32_t row = panel.first + j;
      float* const head = part.row(j) + at;
      if (i == 1) k_.rope(head, anglesOf(op, row), headDim, op.pairing);
      cache(head, headDim, cachedKey(op, row, (firstRow + at) / headDim) + (i == 2 ? exe_.kvHalf(op.kv) : 0));
    }
  }
}

void Worker::arrange(XPanel& panel) {
  if (!k_.tiles || panel.n < k_.tiles->ternaryFrom) return;
  const Q8Rows& x = panel.x;
  k_.tiles->arrange(x.row(panel.first), x.stride, panel.n, static_cast<int32_t>(x.stride), scratch_.strips);
  panel.strips = scratch_.strips;
}

Worker::WeightChunk Worker::chunkOf(int32_t id, int32_t firstRow, int32_t chunkRows) const {
  const Buffer& weight = program_.buffer(id);
  const size_t rowBytes = ternaryRowBytes(weight.cols);
  const uint8_t* rows = exe_.weightBytes(id) + static_cast<size_t>(firstRow) * rowBytes;
  const int32_t nRows = std::min(chunkRows, weight.rows - firstRow);
  return {id, weight, firstRow, nRows, rowBytes, rows, static_cast<size_t>(roundUp(nRows, 16))};
}

// Row j of `out` is that of the panel's row j, and begins at the chunk's first row of weights. The lines of `ahead`, which has the same shape
// or none, will be written next.
void Worker::ternaryChunk(const WeightChunk& chunk, const XPanel& panel, F32Rows out, F32Rows ahead, bool adds) {
  const Buffer& weight = chunk.weight;
  const Q8Rows& x = panel.x;
  const int32_t cols = static_cast<int32_t>(x.stride);
  if (weight.scaleKind == ScaleKind::Group) {
    const F32Rows part = adds ? F32Rows{scratch_.joined, chunk.accStride} : out;
    groupChunk(chunk, panel, part);
    for (int32_t j = 0; adds && j < panel.n; j++) k_.add(out.row(j), part.row(j), chunk.nRows);
    return;
  }
  const uint8_t* quints = panel.n <= quintActivations ? exe_.quintBytesOf(chunk.id) : nullptr;
  if (!quints && panel.strips && weight.scaleKind == ScaleKind::Tensor) {
    for (int32_t j = 0; j < panel.n; j++) scratch_.tensorScales[j] = weight.scale / x.scales[panel.first + j];
    k_.tiles->ternaryScaled(chunk.rows, chunk.rowBytes, chunk.nRows, panel.strips, x.stride * stripRows, x.sums + panel.first, panel.n, cols,
                            {scratch_.tensorScales, out.data, out.stride, adds, ahead.data, ahead.stride});
    return;
  }
  if (quints) {
    const uint8_t* rows = quints + quintBytes(static_cast<size_t>(chunk.firstRow), paddedCols(weight.cols));
    exe_.quintKernels()->matmul(rows, chunk.nRows, x.row(panel.first), x.stride, x.sums + panel.first, panel.n, cols, scratch_.acc, chunk.accStride);
  } else {
    multiply(chunk, panel, 0, cols, x.sums + panel.first);
  }
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

}  // namespace bitnet::addon
