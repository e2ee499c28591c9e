// Head requests answered from the screen's copy of the table (docs/kernels.md, "The screened head"): upper bounds of all logits, a bar that
// the exact values of the best-looking rows set, and the exact values of every row whose bound reaches the bar. An upper bound takes the
// place of the logit in the panel's rows of logits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "head.h"

namespace bitnet::engine {
namespace {

constexpr uint32_t chunkRows = 256;
constexpr int32_t collectBlock = 64;  // bounds that are passed over together when none reaches the bar
constexpr float lowest = -std::numeric_limits<float>::infinity();

}  // namespace

void HeadWorker::screenTable(const HeadPanel& panel, WorkCounter& counter) {
  if (panel.screened.n == 0) return;
  const int32_t n = panel.split.n;
  const Screen& screen = executable.screen();
  const ScreenedPanel& screened = executable.screenedPanel();
  const int cols = static_cast<int>(screen.stride());
  const Int8Matrix digits = {screened.digits, screen.stride(), 2 * n, cols};
  const uint32_t rows = static_cast<uint32_t>(program.vocabSize), chunks = (rows + chunkRows - 1) / chunkRows;
  const bool byTiles = kernels.tiles && kernels.tiles->screen && 2 * n >= kernels.tiles->screenFrom;
  bool isArranged = false;
  for (uint32_t chunk = take(counter); chunk < chunks; chunk = take(counter)) {
    const int32_t first = static_cast<int32_t>(chunk * chunkRows);
    const int32_t count = static_cast<int32_t>(std::min(chunkRows, rows - chunk * chunkRows));
    const Int8Matrix table = {screen.row(first), screen.stride(), count, cols};
    const SumMatrix acc = {scratch.acc, chunkRows, 2 * n, count};
    if (byTiles) {
      if (!isArranged) kernels.tiles->arrange(digits, scratch.strips);
      isArranged = true;
      kernels.tiles->screen(table, {scratch.strips, screen.stride() * stripRows, 2 * n, cols}, acc);
    } else {
      kernels.screenDots(table, digits, screened.sums, acc);
    }
    for (int32_t i = 0; i < n; i++) {
      const int32_t slot = panel.split.slots[i];
      if (resultOf(panel, slot).isUnbounded) continue;
      const int32_t* sums = scratch.acc + static_cast<size_t>(2 * i) * chunkRows;
      screen.upperBounds(kernels, screened.rows[i], {first, count}, {sums, sums + chunkRows}, executable.logits().row(slot) + first);
    }
  }
}

// Computes the rows exactly whose bounds are the best of a segment.
void HeadWorker::probeSegment(const HeadPanel& panel, int32_t slot, int32_t segment) {
  const HeadRequest& head = requestOf(panel, slot);
  const HeadResult& result = resultOf(panel, slot);
  SegmentResult& found = segmentOf(panel, slot, segment);
  found = {};
  const int32_t first = idsOf(panel, segment).first, n = idsOf(panel, segment).n();
  float* upper = executable.logits().row(slot) + first;
  // Dividing and adding round monotonously: a bound of the logit becomes one of the perturbed logit.
  if (head.want == Want::Winner && n > 0) kernels.perturb(upper, n, head.perturbation(first), upper);
  Candidate* probes = result.probes + static_cast<size_t>(segment) * result.perSegmentProbes;
  BestOf best(probes, result.perSegmentProbes);
  if (n > 0) rankValues(upper, n, first, head.ranked, best);
  found.nProbes = best.count();
  found.nExact = best.count();
  for (size_t i = 0; i < found.nProbes; i++) probes[i].value = exactValue(panel, slot, probes[i].id);
}

// What the request ranks by, of one row.
float HeadWorker::exactValue(const HeadPanel& panel, int32_t slot, int32_t id) {
  const HeadRequest& head = requestOf(panel, slot);
  float value = exactLogit(panel, slot, id);
  if (head.want == Want::Winner) kernels.perturb(&value, 1, head.perturbation(id), &value);
  return value;
}

// The exact value that a row must be able to reach in order to matter.
float HeadWorker::barOf(const HeadPanel& panel, int32_t slot) {
  const HeadRequest& head = requestOf(panel, slot);
  const HeadResult& result = resultOf(panel, slot);
  float* values = scratch.logits;
  int32_t n = 0;
  for (int32_t segment = 0; segment < panel.nSegments; segment++) {
    const Candidate* probes = result.probes + static_cast<size_t>(segment) * result.perSegmentProbes;
    for (size_t i = 0; i < segmentOf(panel, slot, segment).nProbes; i++) values[n++] = probes[i].value;
  }
  const int32_t wanted = head.want == Want::Top ? head.k : 1;
  if (n < wanted) return lowest;
  std::nth_element(values, values + (wanted - 1), values + n, std::greater<float>());
  const float bar = values[wanted - 1];
  return head.want == Want::Above ? bar - head.real : bar;
}

// Computes every row of a segment exactly whose bound is not below the bar, and its share of the ids asked for apart.
void HeadWorker::collectSegment(const HeadPanel& panel, int32_t slot, int32_t segment) {
  const HeadRequest& head = requestOf(panel, slot);
  SegmentResult& found = segmentOf(panel, slot, segment);
  if (found.isTooMuch) return;
  const float bar = head.want == Want::Mass ? barOfMass(panel, slot, segment) : barOf(panel, slot);
  if (found.isTooMuch || !collectRows(panel, slot, segment, bar)) {
    found.isTooMuch = true;
    return;
  }
  for (int32_t i = segment; i < head.nApart; i += panel.nSegments) resultOf(panel, slot).apart[i] = exactLogit(panel, slot, head.apart[i]);
}

// False when they are too many.
bool HeadWorker::collectRows(const HeadPanel& panel, int32_t slot, int32_t segment, float bar) {
  const HeadRequest& head = requestOf(panel, slot);
  const HeadResult& result = resultOf(panel, slot);
  SegmentResult& found = segmentOf(panel, slot, segment);
  Candidate* candidates = result.candidates + static_cast<size_t>(segment) * result.perSegment;
  const bool keepsAll = head.want == Want::Above || head.want == Want::Mass;
  BestOf best(candidates, keepsAll ? 1 : result.perSegment);
  const size_t limit = keepsAll ? std::min(result.perSegment, job.candidateLimit(head.want)) : job.candidateLimit(head.want);
  const float* upper = executable.logits().row(slot);
  size_t n = 0;
  found.passedOver = lowest;
  const IdRange ids = idsOf(panel, segment);
  for (int32_t from = ids.first; from < ids.end; from += collectBlock) {
    const int32_t end = std::min(from + collectBlock, ids.end);
    const float most = kernels.maximum(upper + from, end - from);
    if (most < bar) {
      found.passedOver = std::max(found.passedOver, most);
      continue;
    }
    for (int32_t id = from; id < end; id++) {
      if (!isRanked(head.ranked, id)) continue;
      if (upper[id] < bar) {
        found.passedOver = std::max(found.passedOver, upper[id]);
        continue;
      }
      if (n == limit) return false;
      const Candidate candidate = {exactValue(panel, slot, id), id};
      if (keepsAll) {
        candidates[n] = candidate;
      } else {
        best.offer(candidate);
      }
      n++;
    }
  }
  found.nExact += n;
  found.nFound = keepsAll ? n : best.count();
  return true;
}

// The logit of one row, as the whole product computes it.
float HeadWorker::exactLogit(const HeadPanel& panel, int32_t slot, int32_t id) {
  const DenseType type = program.buffer(panel.op.table).type;
  const DenseMatrix table = executable.dense(panel.op.table);
  const bool plain = isPlain(type);
  if (!plain) kernels.widen(type, table.row(id), table.cols, scratch.widened);
  float logit;
  kernels.denseDots(plain ? type : DenseType::F32, plain ? table.part(id, 1) : widened(1, table.cols), executable.headRows().row(slot), &logit);
  return logit;
}

// Completes an answer whose candidates stand in ranking order.
void HeadWorker::answerFromCandidates(const HeadPanel& panel, int32_t slot) {
  const HeadRequest& head = requestOf(panel, slot);
  HeadResult& result = resultOf(panel, slot);
  if (result.count == 0) return;
  if (head.want == Want::Winner) {
    Candidate& winner = result.candidates[0];
    winner.value = exactLogit(panel, slot, winner.id);
  }
  if (head.want != Want::Above) return;
  const float bar = result.candidates[0].value - head.real;
  while (result.candidates[result.count - 1].value < bar) result.count--;
}

}  // namespace bitnet::engine
