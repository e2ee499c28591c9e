// One thread's part of the head (head.cc, head-draw.cc, head-mass.cc, screened-head.cc). Functions that meet barriers return true when the step is to stop.
#pragma once
#include <algorithm>

#include "operations.h"

namespace bitnet::engine {

// Requests of a panel, by slot.
struct SlotList {
  int32_t slots[headPanel];
  int32_t n = 0;
};

// Which of a list a slot is that it holds.
inline int32_t indexIn(const SlotList& list, int32_t slot) {
  int32_t index = 0;
  while (list.slots[index] != slot) index++;
  return index;
}

// Head requests that share their passes over the table.
struct HeadPanel {
  const HeadOp& op;
  int32_t opIndex;
  int32_t first, n;  // requests
  int32_t nSegments, segmentLength;
  SlotList split;            // those that were meant for the screen; ScreenedPanel has them in this order
  SlotList whole, screened;  // how they are answered, once the rows are prepared
};

// Whether kernels multiply a type as it is; rows of others are widened first.
inline bool isPlain(DenseType type) { return type == DenseType::F32 || type == DenseType::F16 || type == DenseType::BF16; }

// Ids [first, end) of a segment of the vocabulary.
struct IdRange {
  int32_t first, end;
  int32_t n() const { return end - first; }
};

class HeadWorker : private StepContext {
 public:
  explicit HeadWorker(const StepContext& c) : StepContext(c) {}
  bool head(const HeadOp& op, int32_t opIndex, WorkCounter* counters);

 private:
  const HeadRequest& requestOf(const HeadPanel& panel, int32_t slot) const { return step.heads[static_cast<size_t>(panel.first + slot)]; }
  HeadResult& resultOf(const HeadPanel& panel, int32_t slot) const { return job.heads_[static_cast<size_t>(panel.first + slot)]; }
  SegmentResult& segmentOf(const HeadPanel& panel, int32_t slot, int32_t segment) const { return job.segmentResult(panel.first + slot, segment); }
  IdRange idsOf(const HeadPanel& panel, int32_t segment) const {
    const int64_t first = static_cast<int64_t>(segment) * panel.segmentLength, end = first + panel.segmentLength;
    return {static_cast<int32_t>(std::min<int64_t>(first, program.vocabSize)), static_cast<int32_t>(std::min<int64_t>(end, program.vocabSize))};
  }

  // Rows of the table that were widened to the scratch.
  DenseMatrix widened(int32_t n, int32_t cols) const {
    return {reinterpret_cast<const uint8_t*>(scratch.widened), (static_cast<size_t>(cols) + 15) / 16 * 16 * sizeof(float), n, cols};
  }

  // head.cc
  bool headOfPanel(HeadPanel panel, WorkCounter* counters);
  bool redoWhole(const HeadPanel& panel, WorkCounter* counters);
  HeadPanel panelFrom(const HeadOp& op, int32_t opIndex, int32_t first) const;
  bool isState(const HeadPanel& panel, int32_t slot) const { return requestOf(panel, slot).want == Want::State; }
  void divide(HeadPanel& panel) const;
  void prepareRow(const HeadPanel& panel, int32_t slot);
  void headDots(const HeadPanel& panel, const SlotList& slots, bool fillsScreen, WorkCounter& counter);
  void fillScreen(const HeadPanel& panel, int32_t firstRow, int32_t endRow);
  void scanSegment(const HeadPanel& panel, int32_t slot, int32_t segment);
  void rankValues(const float* values, int32_t n, int32_t firstId, const uint32_t* ranked, BestOf& best);
  void answer(const HeadPanel& panel, int32_t slot);
  void answerFromLogits(const HeadPanel& panel, int32_t slot);
  void collectAbove(const HeadRequest& request, HeadResult& result, const float* logits, float highest);
  float logSumExp(const float* logits);

  // head-draw.cc
  void addDrawn(const HeadPanel& panel, int32_t slot);
  int32_t draw(const HeadPanel& panel, int32_t slot, const float* logits);
  struct RankRoom;
  size_t rankAll(const HeadRequest& head, const float* logits, RankRoom& room);
  void weigh(const HeadRequest& head, const RankRoom& room, size_t start, size_t end);
  int32_t drawWindow(const HeadRequest& head, const float* logits, const uint64_t* keys, size_t start, size_t end);
  int32_t drawAll(const HeadRequest& head, const float* logits, uint64_t first, uint64_t last);

  // screened-head.cc
  void screenTable(const HeadPanel& panel, WorkCounter& counter);
  void probeSegment(const HeadPanel& panel, int32_t slot, int32_t segment);
  void collectSegment(const HeadPanel& panel, int32_t slot, int32_t segment);
  float barOf(const HeadPanel& panel, int32_t slot);
  bool collectRows(const HeadPanel& panel, int32_t slot, int32_t segment, float bar);
  float exactValue(const HeadPanel& panel, int32_t slot, int32_t id);
  float exactLogit(const HeadPanel& panel, int32_t slot, int32_t id);
  void answerFromCandidates(const HeadPanel& panel, int32_t slot);

  // head-mass.cc
  void weighSegment(const HeadPanel& panel, int32_t slot, int32_t segment);
  float barOfMass(const HeadPanel& panel, int32_t slot, int32_t segment);
  size_t countToShare(const HeadRequest& head, const Candidate* candidates, size_t n, double total, const float* logits, float* apart);
  void listMass(const HeadPanel& panel, int32_t slot, size_t found, bool isWhole);
};

}  // namespace bitnet::engine
