// One thread's way through a step. All threads of the team run the same operations in the same order and share out the work inside
// each by counters; who computes what never changes a bit. Functions that meet barriers return true when the step is to stop.
#pragma once
#include "step-job.h"

namespace bitnet::addon {

class Worker {
 public:
  Worker(StepJob& job, Team& team, int thread);
  void run();

 private:
  // executor.cc
  bool setUp();
  void copyPages();
  bool runPhase(const Phase& phase);
  void runRows(const Phase& phase);
  void runRow(const Op& op, int32_t opIndex, int32_t row);
  void embed(const Op& op, int32_t row);
  void rmsNormQuant(const Op& op, int32_t opIndex, int32_t row);
  void quantiseRow(const Q8Rows& out, int32_t row, int32_t cols, float scale);
  void ropeKv(const Op& op, int32_t row);
  void normalise(const float* x, const float* weight, int32_t cols, float eps, float* out, uint32_t* absMax);
  static uint32_t take(WorkCounter& counter) { return counter.next.fetch_add(1, std::memory_order_relaxed); }

  // bit-linear.cc
  void bitLinear(const Op& op, WorkCounter* counters);
  void ternaryChunk(const Op& op, int32_t i, int32_t firstRow, int32_t nRows, int32_t panel);
  void groupChunk(const Buffer& weight, const uint8_t* rows, const Q8Rows& x, int32_t x0, int32_t nX, const F32Rows& out,
                  int32_t firstRow, int32_t nRows);

  // attention.cc
  bool attention(const Op& op, WorkCounter* counters);
  struct QueryTile;
  bool attendSplit(const Op& op, WorkCounter* counters, int32_t maxKeys);
  void attendTile(const Op& op, int32_t firstRow, int32_t nRows, int32_t kvHead);
  QueryTile gatherTile(const Op& op, int32_t firstRow, int32_t nRows, int32_t kvHead);
  template <class Fn>
  void eachPage(const Op& op, const QueryTile& tile, bool isValue, int32_t firstKey, int32_t endKey, Fn use);
  void scoreKeys(const Op& op, const QueryTile& tile, int32_t firstKey, int32_t endKey);
  void sumValues(const Op& op, const QueryTile& tile, int32_t firstKey, int32_t endKey, float* sums);
  float toProbabilities(float* scores, int32_t n, float scale);

  // head.cc
  bool head(const Op& op, int32_t opIndex, WorkCounter* counters);
  void headDots(const Op& op, int32_t nRequests, WorkCounter& counter);
  void scanSegment(int32_t opIndex, int32_t request, int32_t slot, int32_t segment, int32_t nSegments);
  void rankRun(const float* values, int32_t n, int32_t firstId, const uint32_t* ranked, BestOf& best);
  void answer(int32_t request, int32_t slot, int32_t nSegments);
  void collectAbove(const HeadRequest& request, HeadResult& result, const float* logits, float highest);
  float logSumExp(const float* logits);

  StepJob& job_;
  Executable& exe_;
  const Program& program_;
  const Step& step_;
  const Kernels& k_;
  Team& team_;
  const int thread_;
  const Scratch& scratch_;
};

}  // namespace bitnet::addon
