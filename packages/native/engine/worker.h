// One thread's part of the head (head.cc, screened-head.cc, head-mass.cc). Functions that meet barriers return true when the step is to stop.
#pragma once
#include "row-operations.h"

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

class Worker {
 public:
  explicit Worker(const StepContext& c)
      : c_(c), job_(c.job), exe_(c.executable), program_(c.program), step_(c.step), k_(c.kernels), team_(c.team), thread_(c.thread), scratch_(c.scratch) {}
  bool head(const HeadOp& op, int32_t opIndex, WorkCounter* counters);

 private:
  bool inLanes(int32_t buffer) const { return c_.inLanes(buffer); }
  void normalise(const float* x, const float* weight, int32_t cols, float eps, float* out, uint32_t* absMax) {
    engine::normalise(c_, x, weight, cols, eps, out, absMax);
  }

  // Rows of the table that were widened to the scratch.
  DenseMatrix widened(int32_t n, int32_t cols) const {
    return {reinterpret_cast<const uint8_t*>(scratch_.widened), (static_cast<size_t>(cols) + 15) / 16 * 16 * sizeof(float), n, cols};
  }

  // head.cc
  bool headOfPanel(HeadPanel panel, WorkCounter* counters);
  bool redoWhole(const HeadPanel& panel, WorkCounter* counters);
  HeadPanel panelFrom(const HeadOp& op, int32_t opIndex, int32_t first) const;
  bool isOfStates(int32_t first) const;
  bool isState(const HeadPanel& panel, int32_t slot) const { return step_.heads[static_cast<size_t>(panel.first + slot)].want == Want::State; }
  void statesOfPanel(const HeadPanel& panel, WorkCounter& counter);
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
  struct DrawScratch;
  size_t rankAll(const HeadRequest& head, const float* logits, DrawScratch& scratch);
  void weigh(const HeadRequest& head, const DrawScratch& scratch, size_t start, size_t end);
  int32_t drawWindow(const HeadRequest& head, const float* logits, const uint64_t* keys, size_t start, size_t end);
  int32_t drawAll(const HeadRequest& head, const float* logits, uint64_t first, uint64_t last);

  // screened-head.cc
  void screenTable(const HeadPanel& panel, WorkCounter& counter);
  void probeSegment(const HeadPanel& panel, int32_t slot, int32_t segment);
  void collectSegment(const HeadPanel& panel, int32_t slot, int32_t segment);
  float barOf(const HeadPanel& panel, int32_t slot);
  bool collectRows(const HeadPanel& panel, int32_t slot, int32_t segment, float bar);
  void exactValues(const HeadPanel& panel, int32_t slot, const int32_t* ids, int32_t n, float* values);
  void exactLogit(const HeadPanel& panel, int32_t slot, int32_t id, int32_t next, float* logit);
  void answerFromCandidates(const HeadPanel& panel, int32_t slot);

  // head-mass.cc
  void weighSegment(const HeadPanel& panel, int32_t slot, int32_t segment);
  float barOfMass(const HeadPanel& panel, int32_t slot, int32_t segment);
  size_t countToShare(const HeadRequest& head, const Candidate* candidates, size_t n, double total, const float* logits, float* apart);
  void listMass(const HeadPanel& panel, int32_t slot, size_t found, bool isWhole);

  const StepContext& c_;
  StepJob& job_;
  Executable& exe_;
  const Program& program_;
  const Step& step_;
  const Kernels& k_;
  Team& team_;
  const int thread_;
  const Scratch& scratch_;
};

}  // namespace bitnet::engine
