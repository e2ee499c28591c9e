// Logits of the requested rows and what the requests want of them. Requests go in panels that share one pass over the table, or over the
// screen's copy of it; within a panel each row is read once for all of them.
#include <algorithm>
#include <cstring>

#include "kernels/elementary.h"
#include "head.h"

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

// How many candidates are answered, at most; `nAbove` of those above a margin.
size_t mostOf(const HeadRequest& head, size_t nAbove) {
  if (head.want == Want::Draw) return static_cast<size_t>(head.draw.nBest);
  if (head.want == Want::Top) return static_cast<size_t>(head.k);
  return head.want == Want::Above ? nAbove : 1;
}

}  // namespace

bool head(const StepContext& c, const HeadOp& op, int32_t opIndex, WorkCounter* counters) { return HeadWorker(c).head(op, opIndex, counters); }

bool HeadWorker::head(const HeadOp& op, int32_t opIndex, WorkCounter* counters) {
  const int32_t nHeads = static_cast<int32_t>(step.heads.size());
  for (int32_t first = 0; first < nHeads; first += headPanel, counters += headCounters)
    if (headOfPanel(panelFrom(op, opIndex, first), counters)) return true;
  return false;
}

HeadPanel HeadWorker::panelFrom(const HeadOp& op, int32_t opIndex, int32_t first) const {
  const int32_t n = std::min(headPanel, static_cast<int32_t>(step.heads.size()) - first);
  const int32_t nSegments = job.segmentsOf(first);
  HeadPanel panel = {op, opIndex, first, n, nSegments, segmentLength(program.vocabSize, nSegments), {}, {}, {}};
  for (int32_t slot = 0; slot < n; slot++)
    if (resultOf(panel, slot).isScreened) panel.split.slots[panel.split.n++] = slot;
  return panel;
}

// A row that nothing bounds is among those of the whole product from the start, so that the first failure in order is the one that is told.
void HeadWorker::divide(HeadPanel& panel) const {
  for (int32_t slot = 0; slot < panel.n; slot++) {
    if (isState(panel, slot)) continue;
    const HeadResult& result = resultOf(panel, slot);
    SlotList& list = result.isScreened && !result.isUnbounded ? panel.screened : panel.whole;
    list.slots[list.n++] = slot;
  }
}

bool HeadWorker::headOfPanel(HeadPanel panel, WorkCounter* counters) {
  const auto forEach = [](WorkCounter& counter, int32_t n, auto&& work) {
    for (uint32_t i = take(counter); i < static_cast<uint32_t>(n); i = take(counter)) work(static_cast<int32_t>(i));
  };
  forEach(counters[0], panel.n, [&](int32_t slot) { prepareRow(panel, slot); });
  if (team.barrier()) return true;
  divide(panel);
  headDots(panel, panel.whole, job.buildsScreen_ && panel.first == 0, counters[1]);
  screenTable(panel, counters[2]);
  if (team.barrier()) return true;
  forEach(counters[3], panel.n * panel.nSegments, [&](int32_t i) {
    const int32_t slot = i / panel.nSegments, segment = i % panel.nSegments;
    if (isState(panel, slot)) return;
    const HeadResult& result = resultOf(panel, slot);
    if (result.isScreened && !result.isUnbounded) {
      probeSegment(panel, slot, segment);
    } else {
      scanSegment(panel, slot, segment);
    }
  });
  if (team.barrier()) return true;
  if (panel.screened.n > 0) {
    forEach(counters[4], panel.screened.n * panel.nSegments,
            [&](int32_t i) { collectSegment(panel, panel.screened.slots[i / panel.nSegments], i % panel.nSegments); });
    if (team.barrier() || redoWhole(panel, counters + 5)) return true;
  }
  forEach(counters[7], panel.n, [&](int32_t slot) {
    if (!isState(panel, slot)) answer(panel, slot);
  });
  return team.barrier();
}

// Takes the whole product for the requests that the screen could not answer.
bool HeadWorker::redoWhole(const HeadPanel& panel, WorkCounter* counters) {
  SlotList redone;
  for (int32_t i = 0; i < panel.screened.n; i++)
    if (!job.isAnsweredByScreen(panel.first + panel.screened.slots[i])) redone.slots[redone.n++] = panel.screened.slots[i];
  if (redone.n == 0) return false;
  headDots(panel, redone, false, counters[0]);
  if (team.barrier()) return true;
  const uint32_t scans = static_cast<uint32_t>(redone.n * panel.nSegments);
  for (uint32_t i = take(counters[1]); i < scans; i = take(counters[1]))
    scanSegment(panel, redone.slots[static_cast<int32_t>(i) / panel.nSegments], static_cast<int32_t>(i) % panel.nSegments);
  return team.barrier();
}

void HeadWorker::prepareRow(const HeadPanel& panel, int32_t slot) {
  const HeadOp& op = panel.op;
  HeadResult& result = resultOf(panel, slot);
  const bool isWanted = isState(panel, slot);
  float* row = isWanted ? result.logits : executable.headRows().row(slot);
  const int32_t cols = program.buffer(op.x).cols, source = requestOf(panel, slot).row;
  const float* x = executable.f32(op.x).row(source);
  if (inLanes(op.x)) {
    const float* lane = executable.f32(op.x).row(source / stripRows * stripRows) + source % stripRows;
    for (int32_t i = 0; i < cols; i++) row[i] = lane[static_cast<size_t>(i) * stripRows];
    x = row;
  }
  const uint32_t bits = normalise(*this, x, executable.vector(op.weight), cols, op.eps, row);
  if (isWanted && bits >= 0x7f800000u) return job.numericFailure(panel.opIndex, source);
  if (!result.isScreened) return;
  const ScreenedPanel& screened = executable.screenedPanel();
  const int32_t index = indexIn(panel.split, slot);
  const size_t stride = executable.screen().stride();
  int8_t* digits = screened.digits + static_cast<size_t>(2 * index) * stride;
  int32_t* sums = screened.sums + 2 * index;
  // What is not finite here is not finite in the logits: left to the whole product, which tells of it.
  const bool isFinite = bits < 0x7f800000u;
  result.isUnbounded = !isFinite || !executable.screen().split(row, digits, digits + stride, sums, screened.rows[index]);
}

void HeadWorker::headDots(const HeadPanel& panel, const SlotList& slots, bool fillsScreen, WorkCounter& counter) {
  if (slots.n == 0) return;
  const DenseType type = program.buffer(panel.op.table).type;
  const DenseMatrix table = executable.dense(panel.op.table);
  const bool plain = isPlain(type);
  const uint32_t chunks = (static_cast<uint32_t>(table.rows) + chunkRows - 1) / chunkRows;
  const int32_t plainSlice = slots.n == 1 ? static_cast<int32_t>(chunkRows) : sliceRows;
  const int32_t slice = plain ? plainSlice : widenedRows;
  for (uint32_t chunk = take(counter); chunk < chunks; chunk = take(counter)) {
    const int32_t begin = static_cast<int32_t>(chunk * chunkRows), end = std::min(table.rows, begin + static_cast<int32_t>(chunkRows));
    for (int32_t row = begin; row < end; row += slice) {
      const int32_t n = std::min(slice, end - row);
      const DenseMatrix rows = plain ? table.part(row, n) : widened(n, table.cols);
      for (int32_t r = 0; r < n && !plain; r++)
        kernels.widen(type, table.row(row + r), table.cols, scratch.widened + static_cast<size_t>(r) * (rows.stride / sizeof(float)));
      for (int32_t i = 0; i < slots.n; i++) {
        const int32_t slot = slots.slots[i];
        kernels.denseDots(plain ? type : DenseType::F32, rows, executable.headRows().row(slot), executable.logits().row(slot) + row);
      }
    }
    if (fillsScreen) fillScreen(panel, std::max(begin, executable.screen().filled()), std::min(end, executable.screen().pieceEnd()));
  }
}

// Copies rows of the table that are still in the cache.
void HeadWorker::fillScreen(const HeadPanel& panel, int32_t firstRow, int32_t endRow) {
  const DenseMatrix table = executable.dense(panel.op.table);
  for (int32_t r = firstRow; r < endRow; r++) {
    kernels.widen(program.buffer(panel.op.table).type, table.row(r), table.cols, scratch.widened);
    executable.screen().fillRow(kernels, r, scratch.widened);
  }
}

// Checks one segment of the vocabulary for what is not finite, and finds its best candidates.
void HeadWorker::scanSegment(const HeadPanel& panel, int32_t slot, int32_t segment) {
  const HeadRequest& head = requestOf(panel, slot);
  HeadResult& result = resultOf(panel, slot);
  SegmentResult& found = segmentOf(panel, slot, segment);
  const int32_t first = idsOf(panel, segment).first, n = idsOf(panel, segment).n();
  found.nFound = 0;
  if (n == 0) return;
  const float* logits = executable.logits().row(slot) + first;
  if (kernels.absMaxBits(logits, n) >= 0x7f800000u) return job.numericFailure(panel.opIndex, head.row);
  if (head.want == Want::All || keptOf(head, result) == 0) return;
  BestOf best(result.candidates + static_cast<size_t>(segment) * result.perSegment, keptOf(head, result));
  if (head.want == Want::Winner) {
    for (int32_t from = 0; from < n; from += logitScratch) {
      const int32_t count = std::min(logitScratch, n - from);
      kernels.perturb(logits + from, count, head.perturbation(first + from), scratch.logits);
      rankValues(scratch.logits, count, first + from, head.ranked, best);
    }
  } else {
    // The best are told whether they may be drawn or not.
    rankValues(logits, n, first, head.want == Want::Draw ? nullptr : head.ranked, best);
  }
  found.nFound = best.count();
  if (head.want == Want::Mass) weighSegment(panel, slot, segment);
}

void HeadWorker::rankValues(const float* values, int32_t n, int32_t firstId, const uint32_t* ranked, BestOf& best) {
  for (int32_t from = 0; from < n; from += rankBlock) {
    const int32_t end = std::min(n, from + rankBlock);
    if (best.isClosedTo(kernels.maximum(values + from, end - from))) continue;
    for (int32_t i = from; i < end; i++)
      if (isRanked(ranked, firstId + i)) best.offer({values[i], firstId + i});
  }
}

// Joins what the segments found, and completes the request's answer.
void HeadWorker::answer(const HeadPanel& panel, int32_t slot) {
  const HeadRequest& head = requestOf(panel, slot);
  HeadResult& result = resultOf(panel, slot);
  const bool isWhole = !job.isAnsweredByScreen(panel.first + slot);
  size_t found = 0;
  for (int32_t segment = 0; segment < panel.nSegments; segment++) {
    const Candidate* from = result.candidates + static_cast<size_t>(segment) * result.perSegment;
    for (size_t i = 0; i < segmentOf(panel, slot, segment).nFound; i++) result.candidates[found++] = from[i];
  }
  if (head.want == Want::Mass) {
    listMass(panel, slot, found, isWhole);
  } else {
    result.count = std::min(found, mostOf(head, isWhole ? 1 : found));
    std::partial_sort(result.candidates, result.candidates + result.count, result.candidates + found, ranksBefore);
  }
  if (isWhole) {
    answerFromLogits(panel, slot);
    if (head.want == Want::Draw) addDrawn(panel, slot);
  } else {
    answerFromCandidates(panel, slot);
  }
}

void HeadWorker::answerFromLogits(const HeadPanel& panel, int32_t slot) {
  const HeadRequest& head = requestOf(panel, slot);
  HeadResult& result = resultOf(panel, slot);
  const float* logits = executable.logits().row(slot);
  if (head.want == Want::Above && result.count > 0) collectAbove(head, result, logits, result.candidates[0].value);
  if (head.want == Want::Winner && result.count > 0) result.candidates[0].value = logits[result.candidates[0].id];
  if (head.want == Want::All) std::memcpy(result.logits, logits, static_cast<size_t>(program.vocabSize) * sizeof(float));
  for (int32_t i = 0; i < head.nApart; i++) result.apart[i] = logits[head.apart[i]];
  if (head.hasLogSumExp) result.logSumExp = logSumExp(logits);
}

void HeadWorker::collectAbove(const HeadRequest& head, HeadResult& result, const float* logits, float highest) {
  const float threshold = highest - head.real;
  result.count = 0;
  for (int32_t from = 0; from < program.vocabSize; from += rankBlock) {
    const int32_t end = std::min(program.vocabSize, from + rankBlock);
    if (kernels.maximum(logits + from, end - from) < threshold) continue;
    for (int32_t id = from; id < end; id++)
      if (logits[id] >= threshold && isRanked(head.ranked, id)) result.candidates[result.count++] = {logits[id], id};
  }
  std::sort(result.candidates, result.candidates + result.count, ranksBefore);
}

float HeadWorker::logSumExp(const float* logits) {
  const float most = kernels.maximum(logits, program.vocabSize);
  alignas(64) float stripes[16] = {};
  for (int32_t from = 0; from < program.vocabSize; from += logitScratch) {
    const int32_t n = std::min(logitScratch, program.vocabSize - from);
    std::memcpy(scratch.logits, logits + from, static_cast<size_t>(n) * sizeof(float));
    kernels.expStripes(scratch.logits, n, 1.0f, most, stripes);
  }
  return most + logF32(foldStripes(stripes));
}

}  // namespace bitnet::engine
