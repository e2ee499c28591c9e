// Head requests answered from the screen's copy of the table (docs/kernels.md, "The screened head"): upper bounds of all logits, a bar that
// the exact values of the best-looking rows set, and the exact values of every row whose bound reaches the bar. An upper bound takes the
// place of the logit in the panel's rows of logits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "worker.h"

namespace bitnet::engine {
namespace {

constexpr uint32_t chunkRows = 256;
constexpr int32_t collectBlock = 64;  // bounds that are passed over together when none reaches the bar
constexpr float lowest = -std::numeric_limits<float>::infinity();

}  // namespace

void Worker::screenTable(const HeadPanel& panel, WorkCounter& counter) {
  if (panel.screened.n == 0) return;
  const int32_t n = panel.split.n;
  const Screen& screen = exe_.screen();
  const ScreenedPanel& screened = exe_.screenedPanel();
  const int cols = static_cast<int>(screen.stride());
  const Int8Matrix digits = {screened.digits, screen.stride(), 2 * n, cols};
  const uint32_t rows = static_cast<uint32_t>(program_.vocabSize), chunks = (rows + chunkRows - 1) / chunkRows;
  const bool byTiles = k_.tiles && k_.tiles->screen && 2 * n >= k_.tiles->screenFrom;
  bool isArranged = false;
  for (uint32_t chunk = take(counter); chunk < chunks; chunk = take(counter)) {
    const int32_t first = static_cast<int32_t>(chunk * chunkRows);
    const int32_t count = static_cast<int32_t>(std::min(chunkRows, rows - chunk * chunkRows));
    const Int8Matrix table = {screen.row(first), screen.stride(), count, cols};
    const SumMatrix acc = {scratch_.acc, chunkRows, 2 * n, count};
    if (byTiles) {
      if (!isArranged) k_.tiles->arrange(digits, scratch_.strips);
      isArranged = true;
      k_.tiles->screen(table, {scratch_.strips, screen.stride() * stripRows, 2 * n, cols}, acc);
    } else {
      k_.screenDots(table, digits, screened.sums, acc);
    }
    for (int32_t i = 0; i < n; i++) {
      const int32_t slot = panel.split.slots[i];
      if (job_.heads_[static_cast<size_t>(panel.first + slot)].isUnbounded) continue;
      const int32_t* sums = scratch_.acc + static_cast<size_t>(2 * i) * chunkRows;
      screen.upperBounds(k_, screened.rows[i], {first, count}, {sums, sums + chunkRows}, exe_.logits().row(slot) + first);
    }
  }
}

// Computes the rows exactly whose bounds are the best of a segment.
void Worker::probeSegment(const HeadPanel& panel, int32_t slot, int32_t segment) {
  const int32_t request = panel.first + slot;
  const HeadRequest& head = step_.heads[static_cast<size_t>(request)];
  const HeadResult& result = job_.heads_[static_cast<size_t>(request)];
  SegmentResult& found = job_.segmentResult(request, segment);
  found = {};
  const int64_t begin = static_cast<int64_t>(segment) * panel.segmentLength;
  const int32_t n = static_cast<int32_t>(std::clamp<int64_t>(program_.vocabSize - begin, 0, panel.segmentLength));
  const int32_t first = static_cast<int32_t>(begin);
  float* upper = exe_.logits().row(slot) + first;
  // Dividing and adding round monotonously: a bound of the logit becomes one of the perturbed logit.
  if (head.want == Want::Winner && n > 0) k_.perturb(upper, n, head.perturbation(first), upper);
  Candidate* probes = result.probes + static_cast<size_t>(segment) * result.perSegmentProbes;
  BestOf best(probes, result.perSegmentProbes);
  if (n > 0) rankValues(upper, n, first, head.ranked, best);
  found.nProbes = best.count();
  found.nExact = best.count();
  for (size_t i = 0; i < found.nProbes; i++) exactValues(panel, slot, &probes[i].id, 1, &probes[i].value);
}

// What the request ranks by, of rows that it names.
void Worker::exactValues(const HeadPanel& panel, int32_t slot, const int32_t* ids, int32_t n, float* values) {
  const HeadRequest& head = step_.heads[static_cast<size_t>(panel.first + slot)];
  for (int32_t i = 0; i < n; i++) {
    exactLogit(panel, slot, ids[i], ids[std::min(i + 1, n - 1)], values + i);
    if (head.want == Want::Winner) k_.perturb(values + i, 1, head.perturbation(ids[i]), values + i);
  }
}

// The exact value that a row must be able to reach in order to matter.
float Worker::barOf(const HeadPanel& panel, int32_t slot) {
  const int32_t request = panel.first + slot;
  const HeadRequest& head = step_.heads[static_cast<size_t>(request)];
  const HeadResult& result = job_.heads_[static_cast<size_t>(request)];
  float* values = scratch_.logits;
  int32_t n = 0;
  for (int32_t segment = 0; segment < panel.nSegments; segment++) {
    const Candidate* probes = result.probes + static_cast<size_t>(segment) * result.perSegmentProbes;
    for (size_t i = 0; i < job_.segmentResult(request, segment).nProbes; i++) values[n++] = probes[i].value;
  }
  const int32_t wanted = head.want == Want::Top ? head.k : 1;
  if (n < wanted) return lowest;
  std::nth_element(values, values + (wanted - 1), values + n, std::greater<float>());
  const float bar = values[wanted - 1];
  return head.want == Want::Above ? bar - head.real : bar;
}

// Computes every row of a segment exactly whose bound is not below the bar, and its share of the ids asked for apart.
void Worker::collectSegment(const HeadPanel& panel, int32_t slot, int32_t segment) {
  const int32_t request = panel.first + slot;
  const HeadRequest& head = step_.heads[static_cast<size_t>(request)];
  SegmentResult& found = job_.segmentResult(request, segment);
  if (found.isTooMuch) return;
  const float bar = head.want == Want::Mass ? barOfMass(panel, slot, segment) : barOf(panel, slot);
  if (found.isTooMuch || !collectRows(panel, slot, segment, bar)) {
    found.isTooMuch = true;
    return;
  }
  for (int32_t i = segment; i < head.nApart; i += panel.nSegments)
    exactLogit(panel, slot, head.apart[i], head.apart[i], job_.heads_[static_cast<size_t>(request)].apart + i);
}

// False when they are too many.
bool Worker::collectRows(const HeadPanel& panel, int32_t slot, int32_t segment, float bar) {
  const int32_t request = panel.first + slot;
  const HeadRequest& head = step_.heads[static_cast<size_t>(request)];
  const HeadResult& result = job_.heads_[static_cast<size_t>(request)];
  SegmentResult& found = job_.segmentResult(request, segment);
  Candidate* candidates = result.candidates + static_cast<size_t>(segment) * result.perSegment;
  const bool keepsAll = head.want == Want::Above || head.want == Want::Mass;
  BestOf best(candidates, keepsAll ? 1 : result.perSegment);
  const size_t limit = keepsAll ? std::min(result.perSegment, job_.candidateLimit(head.want)) : job_.candidateLimit(head.want);
  const float* upper = exe_.logits().row(slot);
  int32_t ids[collectBlock] = {};
  float values[collectBlock];
  int32_t nIds = 0;
  size_t n = 0;
  found.passedOver = lowest;
  const auto flush = [&] {
    exactValues(panel, slot, ids, nIds, values);
    for (int32_t i = 0; i < nIds; i++) {
      if (keepsAll) {
        candidates[n - static_cast<size_t>(nIds - i)] = {values[i], ids[i]};
      } else {
        best.offer({values[i], ids[i]});
      }
    }
    found.nExact += static_cast<size_t>(nIds);
    nIds = 0;
  };
  const int64_t begin = static_cast<int64_t>(segment) * panel.segmentLength;
  const int64_t end = std::min<int64_t>(begin + panel.segmentLength, program_.vocabSize);
  for (int64_t at = begin; at < end; at += collectBlock) {
    const int32_t from = static_cast<int32_t>(at), count = static_cast<int32_t>(std::min<int64_t>(collectBlock, end - at));
    const float most = k_.maximum(upper + from, count);
    if (most < bar) {
      found.passedOver = std::max(found.passedOver, most);
      continue;
    }
    for (int32_t id = from; id < from + count; id++) {
      if (!isRanked(head.ranked, id)) continue;
      if (upper[id] < bar) {
        found.passedOver = std::max(found.passedOver, upper[id]);
        continue;
      }
      if (++n > limit) return false;
      ids[nIds++] = id;
      if (nIds == collectBlock) flush();
    }
  }
  flush();
  found.nFound = keepsAll ? n : best.count();
  return true;
}

// The logit of one row, as the whole product computes it. `next`: a row that will be asked for soon.
void Worker::exactLogit(const HeadPanel& panel, int32_t slot, int32_t id, int32_t next, float* logit) {
  const DenseType type = program_.buffer(panel.op.table).type;
  const DenseMatrix table = exe_.dense(panel.op.table);
  const uint8_t* const nextRow = table.row(next);
  prefetch(nextRow, std::min<size_t>(table.stride, 2048));
  const float* x = exe_.headRows().row(slot);
  if (isPlain(type)) {
    k_.denseDots(type, table.part(id, 1), x, logit);
    return;
  }
  k_.widen(type, table.row(id), table.cols, scratch_.widened);
  k_.denseDots(DenseType::F32, widened(1, table.cols), x, logit);
}

// Completes an answer whose candidates stand in ranking order.
void Worker::answerFromCandidates(const HeadPanel& panel, int32_t slot) {
  const HeadRequest& head = step_.heads[static_cast<size_t>(panel.first + slot)];
  HeadResult& result = job_.heads_[static_cast<size_t>(panel.first + slot)];
  if (result.count == 0) return;
  if (head.want == Want::Winner) {
    Candidate& winner = result.candidates[0];
    exactLogit(panel, slot, winner.id, winner.id, &winner.value);
  }
  if (head.want != Want::Above) return;
  const float bar = result.candidates[0].value - head.real;
  while (result.candidates[result.count - 1].value < bar) result.count--;
}

}  // namespace bitnet::engine
