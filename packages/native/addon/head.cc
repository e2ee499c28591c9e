// Logits of the requested rows and what the requests want of them. Requests go in panels that share one pass over the table; within a
// panel each weight row is read once for all of them.
#include <algorithm>
#include <cstring>

#include "../kernels/elementary.h"
#include "worker.h"

namespace bitnet::addon {
namespace {

constexpr uint32_t chunkRows = 64;  // rows of the table that a thread takes at a time
constexpr int32_t sliceRows = 8;    // of those, so many at a time for several requests, so that they stay in the cache
constexpr int32_t rankBlock = 64;   // logits that are passed over together when none can enter

bool isPlain(DenseType type) { return type == DenseType::F32 || type == DenseType::F16 || type == DenseType::BF16; }


}  // namespace

bool Worker::head(const Op& op, int32_t opIndex, WorkCounter* counters) {
  const int32_t nHeads = static_cast<int32_t>(step_.heads.size());
  for (int32_t first = 0; first < nHeads; first += headPanel, counters += 4) {
    const int32_t n = std::min(headPanel, nHeads - first);
    const uint32_t requests = static_cast<uint32_t>(n);
    for (uint32_t i = take(counters[0]); i < requests; i = take(counters[0])) {
      const int32_t slot = static_cast<int32_t>(i);
      const int32_t row = step_.heads[static_cast<size_t>(first + slot)].row;
      uint32_t ignored;  // what is not finite here is not finite in the logits
      normalise(exe_.f32(op.x).row(row), exe_.vector(op.weight), program_.buffer(op.x).cols, op.real, exe_.headRows().row(slot), &ignored);
    }
    if (team_.barrier()) return true;
    headDots(op, n, counters[1]);
    if (team_.barrier()) return true;
    const int32_t nSegments = job_.segmentsOf(first);
    const uint32_t scans = requests * static_cast<uint32_t>(nSegments);
    for (uint32_t i = take(counters[2]); i < scans; i = take(counters[2])) {
      const int32_t slot = static_cast<int32_t>(i) / nSegments;
      scanSegment(opIndex, first + slot, slot, static_cast<int32_t>(i) % nSegments, nSegments);
    }
    if (team_.barrier()) return true;
    for (uint32_t i = take(counters[3]); i < requests; i = take(counters[3]))
      answer(first + static_cast<int32_t>(i), static_cast<int32_t>(i), nSegments);
    if (team_.barrier()) return true;
  }
  return false;
}

void Worker::headDots(const Op& op, int32_t nRequests, WorkCounter& counter) {
  const Buffer& table = program_.buffer(op.table);
  const uint8_t* weights = exe_.weightBytes(op.table);
  const size_t rowBytes = denseRowBytes(table.type, table.cols);
  const bool plain = isPlain(table.type);
  const uint32_t chunks = (static_cast<uint32_t>(table.rows) + chunkRows - 1) / chunkRows;
  const int32_t slice = !plain ? widenedRows : nRequests == 1 ? static_cast<int32_t>(chunkRows) : sliceRows;
  const size_t widenedStride = (static_cast<size_t>(table.cols) + 15) / 16 * 16;
  for (uint32_t chunk = take(counter); chunk < chunks; chunk = take(counter)) {
    const int32_t begin = static_cast<int32_t>(chunk * chunkRows), end = std::min(table.rows, begin + static_cast<int32_t>(chunkRows));
    for (int32_t row = begin; row < end; row += slice) {
      const int32_t n = std::min(slice, end - row);
      const uint8_t* rows = weights + static_cast<size_t>(row) * rowBytes;
      if (!plain)
        for (int32_t r = 0; r < n; r++)
          k_.widen(table.type, rows + static_cast<size_t>(r) * rowBytes, table.cols, scratch_.widened + static_cast<size_t>(r) * widenedStride);
      for (int32_t i = 0; i < nRequests; i++) {
        float* out = exe_.logits().row(i) + row;
        if (plain) {
          k_.denseDots(table.type, rows, rowBytes, n, exe_.headRows().row(i), table.cols, out);
        } else {
          k_.denseDots(DenseType::F32, scratch_.widened, widenedStride * sizeof(float), n, exe_.headRows().row(i), table.cols, out);
        }
      }
    }
  }
}

// Checks one segment of the vocabulary for what is not finite, and finds its best candidates.
void Worker::scanSegment(int32_t opIndex, int32_t request, int32_t slot, int32_t segment, int32_t nSegments) {
  const HeadRequest& head = step_.heads[static_cast<size_t>(request)];
  HeadResult& result = job_.heads_[static_cast<size_t>(request)];
  const int32_t length = segmentLength(program_.vocabSize, nSegments);
  const int64_t begin = static_cast<int64_t>(segment) * length;
  const int32_t n = static_cast<int32_t>(std::clamp<int64_t>(program_.vocabSize - begin, 0, length));
  if (n == 0) return;
  const int32_t first = static_cast<int32_t>(begin);
  const float* logits = exe_.logits().row(slot) + first;
  if (k_.absMaxBits(logits, n) >= 0x7f800000u) return job_.numericFailure(opIndex, head.row);
  if (head.want == Want::All) return;
  BestOf best(result.candidates + static_cast<size_t>(segment) * result.perSegment, result.perSegment);
  if (head.want == Want::Winner) {
    for (int32_t from = 0; from < n; from += logitScratch) {
      const int32_t count = std::min(logitScratch, n - from);
      k_.perturb(logits + from, count, static_cast<uint32_t>(first + from), head.real, head.noise, scratch_.logits);
      rankRun(scratch_.logits, count, first + from, head.ranked, best);
    }
  } else {
    rankRun(logits, n, first, head.ranked, best);
  }
  job_.segmentCount(request, segment) = best.count();
}

void Worker::rankRun(const float* values, int32_t n, int32_t firstId, const uint32_t* ranked, BestOf& best) {
  for (int32_t from = 0; from < n; from += rankBlock) {
    const int32_t end = std::min(n, from + rankBlock);
    if (best.isClosedTo(k_.maximum(values + from, end - from))) continue;
    for (int32_t i = from; i < end; i++)
      if (isRanked(ranked, firstId + i)) best.offer({values[i], firstId + i});
  }
}

// Joins what the segments found, and completes the request's answer.
void Worker::answer(int32_t request, int32_t slot, int32_t nSegments) {
  const HeadRequest& head = step_.heads[static_cast<size_t>(request)];
  HeadResult& result = job_.heads_[static_cast<size_t>(request)];
  const float* logits = exe_.logits().row(slot);
  size_t found = 0;
  for (int32_t segment = 0; segment < nSegments; segment++) {
    const Candidate* from = result.candidates + static_cast<size_t>(segment) * result.perSegment;
    for (size_t i = 0; i < job_.segmentCount(request, segment); i++) result.candidates[found++] = from[i];
  }
  const size_t most = head.want == Want::Top ? static_cast<size_t>(head.k) : 1;
  result.count = std::min(found, most);
  std::partial_sort(result.candidates, result.candidates + result.count, result.candidates + found, ranksBefore);
  if (head.want == Want::Above && result.count > 0) collectAbove(head, result, logits, result.candidates[0].value);
  if (head.want == Want::Winner && result.count > 0) result.candidates[0].value = logits[result.candidates[0].id];
  if (head.want == Want::All) std::memcpy(result.logits, logits, static_cast<size_t>(program_.vocabSize) * sizeof(float));
  for (int32_t i = 0; i < head.nApart; i++) result.apart[i] = logits[head.apart[i]];
  if (head.logSumExp) result.logSumExp = logSumExp(logits);
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

}  // namespace bitnet::addon
