// Logits of the requested rows and what the requests want of them. Requests go in panels that share one pass over the table, or over the
// screen's copy of it; within a panel each row is read once for all of them.
#include <algorithm>
#include <cstring>

#include "kernels/elementary.h"
#include "all-row-operations.h"
#include "worker.h"

namespace bitnet::engine {
namespace {

constexpr uint32_t chunkRows = 64;  // rows of the table that a thread takes at a time
constexpr int32_t sliceRows = 8;    // of those, so many at a time for several requests, so that they stay in the cache
constexpr int32_t rankBlock = 64;   // logits that are passed over together when none can enter

// How many of a segment's candidates are kept.
size_t keptOf(const HeadRequest& head, const HeadResult& result) {
  if (head.want == Want::Top) return result.perSegment;
  if (head.want == Want::Draw) return result.perSegment - 1;
  return head.want == Want::Mass ? std::min(massListed, result.perSegment) : 1;
}

}  // namespace

bool head(const StepContext& c, const HeadOp& op, int32_t opIndex, WorkCounter* counters) { return Worker(c).head(op, opIndex, counters); }

bool Worker::head(const HeadOp& op, int32_t opIndex, WorkCounter* counters) {
  const int32_t nHeads = static_cast<int32_t>(step_.heads.size());
  for (int32_t first = 0; first < nHeads; first += headPanel, counters += headCounters)
    if (isOfStates(first)) {
      statesOfPanel(panelFrom(op, opIndex, first), counters[0]);
    } else if (headOfPanel(panelFrom(op, opIndex, first), counters)) {
      return true;
    }
  return false;
}

// Whether no request of a panel is about logits.
bool Worker::isOfStates(int32_t first) const {
  const int32_t end = std::min(first + headPanel, static_cast<int32_t>(step_.heads.size()));
  for (int32_t i = first; i < end; i++)
    if (step_.heads[static_cast<size_t>(i)].want != Want::State) return false;
  return true;
}

// Each is written where nobody else writes, so that threads need not meet.
void Worker::statesOfPanel(const HeadPanel& panel, WorkCounter& counter) {
  for (uint32_t i = take(counter); i < static_cast<uint32_t>(panel.n); i = take(counter)) prepareRow(panel, static_cast<int32_t>(i));
}

HeadPanel Worker::panelFrom(const HeadOp& op, int32_t opIndex, int32_t first) const {
  const int32_t n = std::min(headPanel, static_cast<int32_t>(step_.heads.size()) - first);
  const int32_t nSegments = job_.segmentsOf(first);
  HeadPanel panel = {op, opIndex, first, n, nSegments, segmentLength(program_.vocabSize, nSegments), {}, {}, {}};
  for (int32_t slot = 0; slot < n; slot++)
    if (job_.heads_[static_cast<size_t>(first + slot)].isScreened) panel.split.slots[panel.split.n++] = slot;
  return panel;
}

// A row that nothing bounds is among those of the whole product from the start, so that the first failure in order is the one that is told.
void Worker::divide(HeadPanel& panel) const {
  for (int32_t slot = 0; slot < panel.n; slot++) {
    const HeadResult& result = job_.heads_[static_cast<size_t>(panel.first + slot)];
    if (isState(panel, slot)) continue;
    SlotList& list = result.isScreened && !result.isUnbounded ? panel.screened : panel.whole;
    list.slots[list.n++] = slot;
  }
}

bool Worker::headOfPanel(HeadPanel panel, WorkCounter* counters) {
  const auto forEach = [](WorkCounter& counter, int32_t n, auto&& work) {
    for (uint32_t i = take(counter); i < static_cast<uint32_t>(n); i = take(counter)) work(static_cast<int32_t>(i));
  };
  forEach(counters[0], panel.n, [&](int32_t slot) { prepareRow(panel, slot); });
  if (team_.barrier()) return true;
  divide(panel);
  headDots(panel, panel.whole, job_.buildsScreen_ && panel.first == 0, counters[1]);
  screenTable(panel, counters[2]);
  if (team_.barrier()) return true;
  forEach(counters[3], panel.n * panel.nSegments, [&](int32_t i) {
    const int32_t slot = i / panel.nSegments, segment = i % panel.nSegments;
    const HeadResult& result = job_.heads_[static_cast<size_t>(panel.first + slot)];
    if (isState(panel, slot)) return;
    if (result.isScreened && !result.isUnbounded) {
      probeSegment(panel, slot, segment);
    } else {
      scanSegment(panel, slot, segment);
    }
  });
  if (team_.barrier()) return true;
  if (panel.screened.n > 0) {
    forEach(counters[4], panel.screened.n * panel.nSegments,
            [&](int32_t i) { collectSegment(panel, panel.screened.slots[i / panel.nSegments], i % panel.nSegments); });
    if (team_.barrier() || redoWhole(panel, counters + 5)) return true;
  }
  forEach(counters[7], panel.n, [&](int32_t slot) {
    if (!isState(panel, slot)) answer(panel, slot);
  });
  return team_.barrier();
}

// Takes the whole product for the requests that the screen could not answer.
bool Worker::redoWhole(const HeadPanel& panel, WorkCounter* counters) {
  SlotList redone;
  for (int32_t i = 0; i < panel.screened.n; i++)
    if (!job_.isAnsweredByScreen(panel.first + panel.screened.slots[i])) redone.slots[redone.n++] = panel.screened.slots[i];
  if (redone.n == 0) return false;
  headDots(panel, redone, false, counters[0]);
  if (team_.barrier()) return true;
  const uint32_t scans = static_cast<uint32_t>(redone.n * panel.nSegments);
  for (uint32_t i = take(counters[1]); i < scans; i = take(counters[1]))
    scanSegment(panel, redone.slots[static_cast<int32_t>(i) / panel.nSegments], static_cast<int32_t>(i) % panel.nSegments);
  return team_.barrier();
}

void Worker::prepareRow(const HeadPanel& panel, int32_t slot) {
  const size_t request = static_cast<size_t>(panel.first + slot);
  const HeadOp& op = panel.op;
  const bool isWanted = isState(panel, slot);
  float* row = isWanted ? job_.heads_[request].logits : exe_.headRows().row(slot);
  uint32_t bits;
  const int32_t cols = program_.buffer(op.x).cols, source = step_.heads[request].row;
  const float* x = exe_.f32(op.x).row(source);
  if (inLanes(op.x)) {
    const float* lane = exe_.f32(op.x).row(source / stripRows * stripRows) + source % stripRows;
    for (int32_t i = 0; i < cols; i++) row[i] = lane[static_cast<size_t>(i) * stripRows];
    x = row;
  }
  normalise(x, exe_.vector(op.weight), cols, op.eps, row, &bits);
  if (isWanted && bits >= 0x7f800000u) return job_.numericFailure(panel.opIndex, source);
  if (!job_.heads_[request].isScreened) return;
  const ScreenedPanel& screened = exe_.screenedPanel();
  const int32_t index = indexIn(panel.split, slot);
  const size_t stride = exe_.screen().stride();
  int8_t* digits = screened.digits + static_cast<size_t>(2 * index) * stride;
  int32_t* sums = screened.sums + 2 * index;
  // What is not finite here is not finite in the logits: left to the whole product, which tells of it.
  const bool isFinite = bits < 0x7f800000u;
  job_.heads_[request].isUnbounded = !isFinite || !exe_.screen().split(row, digits, digits + stride, sums, screened.rows[index]);
}

void Worker::headDots(const HeadPanel& panel, const SlotList& slots, bool fillsScreen, WorkCounter& counter) {
  if (slots.n == 0) return;
  const DenseType type = program_.buffer(panel.op.table).type;
  const DenseMatrix table = exe_.dense(panel.op.table);
  const bool plain = isPlain(type);
  const uint32_t chunks = (static_cast<uint32_t>(table.rows) + chunkRows - 1) / chunkRows;
  const int32_t slice = !plain ? widenedRows : slots.n == 1 ? static_cast<int32_t>(chunkRows) : sliceRows;
  for (uint32_t chunk = take(counter); chunk < chunks; chunk = take(counter)) {
    const int32_t begin = static_cast<int32_t>(chunk * chunkRows), end = std::min(table.rows, begin + static_cast<int32_t>(chunkRows));
    for (int32_t row = begin; row < end; row += slice) {
      const int32_t n = std::min(slice, end - row);
      const DenseMatrix rows = plain ? table.part(row, n) : widened(n, table.cols);
      for (int32_t r = 0; r < n && !plain; r++)
        k_.widen(type, table.row(row + r), table.cols, scratch_.widened + static_cast<size_t>(r) * (rows.stride / sizeof(float)));
      for (int32_t i = 0; i < slots.n; i++) {
        const int32_t slot = slots.slots[i];
        k_.denseDots(plain ? type : DenseType::F32, rows, exe_.headRows().row(slot), exe_.logits().row(slot) + row);
      }
    }
    if (fillsScreen) fillScreen(panel, std::max(begin, exe_.screen().filled()), std::min(end, exe_.screen().pieceEnd()));
  }
}

// Copies rows of the table that are still in the cache.
void Worker::fillScreen(const HeadPanel& panel, int32_t firstRow, int32_t endRow) {
  const DenseMatrix table = exe_.dense(panel.op.table);
  for (int32_t r = firstRow; r < endRow; r++) {
    k_.widen(program_.buffer(panel.op.table).type, table.row(r), table.cols, scratch_.widened);
    exe_.screen().fillRow(k_, r, scratch_.widened);
  }
}

// Checks one segment of the vocabulary for what is not finite, and finds its best candidates.
void Worker::scanSegment(const HeadPanel& panel, int32_t slot, int32_t segment) {
  const int32_t request = panel.first + slot;
  const HeadRequest& head = step_.heads[static_cast<size_t>(request)];
  HeadResult& result = job_.heads_[static_cast<size_t>(request)];
  SegmentResult& found = job_.segmentResult(request, segment);
  const int64_t begin = static_cast<int64_t>(segment) * panel.segmentLength;
  const int32_t n = static_cast<int32_t>(std::clamp<int64_t>(program_.vocabSize - begin, 0, panel.segmentLength));
  found.nFound = 0;
  if (n == 0) return;
  const int32_t first = static_cast<int32_t>(begin);
  const float* logits = exe_.logits().row(slot) + first;
  if (k_.absMaxBits(logits, n) >= 0x7f800000u) return job_.numericFailure(panel.opIndex, head.row);
  if (head.want == Want::All || keptOf(head, result) == 0) return;
  BestOf best(result.candidates + static_cast<size_t>(segment) * result.perSegment, keptOf(head, result));
  if (head.want == Want::Winner) {
    for (int32_t from = 0; from < n; from += logitScratch) {
      const int32_t count = std::min(logitScratch, n - from);
      k_.perturb(logits + from, count, head.perturbation(first + from), scratch_.logits);
      rankValues(scratch_.logits, count, first + from, head.ranked, best);
    }
  } else {
    // The best are told whether they may be drawn or not.
    rankValues(logits, n, first, head.want == Want::Draw ? nullptr : head.ranked, best);
  }
  found.nFound = best.count();
  if (head.want == Want::Mass) weighSegment(panel, slot, segment);
}

void Worker::rankValues(const float* values, int32_t n, int32_t firstId, const uint32_t* ranked, BestOf& best) {
  for (int32_t from = 0; from < n; from += rankBlock) {
    const int32_t end = std::min(n, from + rankBlock);
    if (best.isClosedTo(k_.maximum(values + from, end - from))) continue;
    for (int32_t i = from; i < end; i++)
      if (isRanked(ranked, firstId + i)) best.offer({values[i], firstId + i});
  }
}

// Joins what the segments found, and completes the request's answer.
void Worker::answer(const HeadPanel& panel, int32_t slot) {
  const int32_t request = panel.first + slot;
  const HeadRequest& head = step_.heads[static_cast<size_t>(request)];
  HeadResult& result = job_.heads_[static_cast<size_t>(request)];
  const bool isWhole = !job_.isAnsweredByScreen(request);
  size_t found = 0;
  for (int32_t segment = 0; segment < panel.nSegments; segment++) {
    const Candidate* from = result.candidates + static_cast<size_t>(segment) * result.perSegment;
    for (size_t i = 0; i < job_.segmentResult(request, segment).nFound; i++) result.candidates[found++] = from[i];
  }
  if (head.want == Want::Mass) {
    listMass(panel, slot, found, isWhole);
  } else {
    const size_t most = head.want == Want::Draw ? static_cast<size_t>(head.draw.nBest) : head.want == Want::Top ? static_cast<size_t>(head.k) : head.want == Want::Above && !isWhole ? found : 1;
    result.count = std::min(found, most);
    std::partial_sort(result.candidates, result.candidates + result.count, result.candidates + found, ranksBefore);
  }
  if (isWhole) {
    answerFromLogits(panel, slot);
    if (head.want == Want::Draw) addDrawn(panel, slot);
  } else {
    answerFromCandidates(panel, slot);
  }
}

void Worker::answerFromLogits(const HeadPanel& panel, int32_t slot) {
  const HeadRequest& head = step_.heads[static_cast<size_t>(panel.first + slot)];
  HeadResult& result = job_.heads_[static_cast<size_t>(panel.first + slot)];
  const float* logits = exe_.logits().row(slot);
  if (head.want == Want::Above && result.count > 0) collectAbove(head, result, logits, result.candidates[0].value);
  if (head.want == Want::Winner && result.count > 0) result.candidates[0].value = logits[result.candidates[0].id];
  if (head.want == Want::All) std::memcpy(result.logits, logits, static_cast<size_t>(program_.vocabSize) * sizeof(float));
  for (int32_t i = 0; i < head.nApart; i++) result.apart[i] = logits[head.apart[i]];
  if (head.hasLogSumExp) result.logSumExp = logSumExp(logits);
}

void Worker::collectAbove(const HeadRequest& head, HeadResult& result, const float* logits, float highest) {
  const float threshold = highest - head.real;
  result.count = 0;
  for (int32_t from = 0; from < program_.vocabSize; from += rankBlock) {
    const int32_t end = std::min(program_.vocabSize, from + rankBlock);
    if (k_.maximum(logits + from, end - from) < threshold) continue;
    for (int32_t id = from; id < end; id++)
      if (logits[id] >= threshold && isRanked(head.ranked, id)) result.candidates[result.count++] = {logits[id], id};
  }
  std::sort(result.candidates, result.candidates + result.count, ranksBefore);
}

float Worker::logSumExp(const float* logits) {
  const float most = k_.maximum(logits, program_.vocabSize);
  alignas(64) float stripes[16] = {};
  for (int32_t from = 0; from < program_.vocabSize; from += logitScratch) {
    const int32_t n = std::min(logitScratch, program_.vocabSize - from);
    std::memcpy(scratch_.logits, logits + from, static_cast<size_t>(n) * sizeof(float));
    k_.expStripes(scratch_.logits, n, 1.0f, most, stripes);
  }
  return most + logF32(foldStripes(stripes));
}

}  // namespace bitnet::engine
