// One thread's way through a step. All threads of the team run the same operations in the same order and share out the work inside
// each by counters; who computes what never changes a bit. Functions that meet barriers return true when the step is to stop.
#pragma once
#include "step-job.h"

namespace bitnet::engine {

// Asks for bytes that will be read soon.
inline void prefetch(const void* bytes, size_t n) {
#pragma GCC unroll 8
  for (size_t i = 0; i < n; i += 64) __builtin_prefetch(static_cast<const uint8_t*>(bytes) + i);
}

// Requests of a panel, by their place in it.
struct SlotList {
  int32_t slots[headPanel];
  int32_t n = 0;
};

// Where a slot stands in a list that holds it.
inline int32_t placeOf(const SlotList& list, int32_t slot) {
  int32_t place = 0;
  while (list.slots[place] != slot) place++;
  return place;
}

// Head requests that share their passes over the table.
struct HeadPanel {
  const Op& op;
  int32_t opIndex;
  int32_t first, n;  // requests
  int32_t nSegments, segmentLength;
  SlotList split;            // those that were meant for the screen: a place in this list is one in ScreenedPanel
  SlotList whole, screened;  // how they are answered, once the rows are prepared
};

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
  bool usesLanes(const Op& op) const;
  void runBlock(const Op& op, int32_t opIndex, int32_t first);
  void embedLanes(const Op& op, int32_t row);
  void rmsNormQuantLanes(const Op& op, int32_t opIndex, int32_t first);
  // Whether this step keeps an activation in lanes or strips.
  bool inLanes(int32_t buffer) const { return hasLanes_ && exe_.suitsLanes(buffer); }
  int32_t firstOf(const Phase& phase) const;
  void runRow(const Op& op, int32_t opIndex, int32_t row);
  void embed(const Op& op, int32_t row);
  void rmsNormQuant(const Op& op, int32_t opIndex, int32_t row);
  void rmsNorm(const Op& op, int32_t row);
  void quantise(const Op& op, int32_t opIndex, int32_t row);
  void rope(const Op& op, int32_t row);
  void writeKv(const Op& op, int32_t row);
  void activation(const Op& op, int32_t row);
  void multiplyRows(const Op& op, int32_t row);
  void quantiseGroups(const float* x, const Q8Rows& out, int32_t row, int32_t cols);
  void quantiseRow(const float* x, const Q8Rows& out, int32_t row, int32_t cols, float scale);
  void ropeKv(const Op& op, int32_t row);
  void ropeHead(const Op& op, int32_t row, int32_t kvHead);
  const float* anglesOf(const Op& op, int32_t row) const;
  uint8_t* cachedKey(const Op& op, int32_t row, int32_t kvHead) const;
  void cache(const float* x, int32_t n, uint8_t* out) const;
  void normalise(const float* x, const float* weight, int32_t cols, float eps, float* out, uint32_t* absMax);
  static uint32_t take(WorkCounter& counter) { return counter.next.fetch_add(1, std::memory_order_relaxed); }

  // bit-linear.cc
  const Op* joinedTo(int32_t op) const;
  struct ChunkPlan;
  ChunkPlan planOf(int32_t op) const;
  void bitLinear(int32_t op, WorkCounter* counters);
  struct ChunkCursor;
  struct WeightChunk;
  struct XPanel;
  void arrange(XPanel& panel, int32_t first, int32_t n);
  WeightChunk chunkOf(int32_t id, int32_t firstRow, int32_t nRows) const;
  void linearChunk(const ChunkCursor& at, const XPanel& panel);
  void gatedChunk(const ChunkCursor& at, const XPanel& panel);
  void rotatedChunk(const ChunkCursor& at, const XPanel& panel);
  void ternaryChunk(const WeightChunk& chunk, const XPanel& panel, F32Rows out, F32Rows ahead = {}, bool adds = false, bool toLanes = false);
  void groupedChunk(const WeightChunk& chunk, const XPanel& panel, F32Rows out, bool adds);
  void groupChunk(const WeightChunk& chunk, const XPanel& panel, F32Rows out);
  void multiply(const WeightChunk& chunk, const XPanel& panel, int32_t firstCol, int32_t cols, const int32_t* xSums);

  // attention.cc
  bool attention(const Op& op, WorkCounter* counters);
  bool isSplit(const Op& op, int32_t maxKeys) const;
  struct QueryTile;
  bool attendSplit(const Op& op, WorkCounter* counters, int32_t maxKeys);
  void finishTile(const Op& op, const QueryTile& tile);
  void attendTile(const Op& op, int32_t firstRow, int32_t nRows, int32_t kvHead);
  const float* queriesOf(const Op& op, int32_t row, int32_t kvHead) const;
  QueryTile gatherTile(const Op& op, int32_t firstRow, int32_t nRows, int32_t kvHead);
  template <class Fn>
  void eachPage(const Op& op, const QueryTile& tile, bool isValue, int32_t firstKey, int32_t endKey, Fn use);
  void scoreKeys(const Op& op, const QueryTile& tile, int32_t firstKey, int32_t endKey);
  void sumValues(const Op& op, const QueryTile& tile, int32_t firstKey, int32_t endKey, float* sums, float* total);
  float toProbabilities(float* scores, int32_t n, float scale);
  void softmax(const Op& op, const QueryTile& tile);
  static int32_t firstKeyOf(const Op& op, int32_t nKeys);
  static void maskBefore(const Op& op, float* scores, int32_t nKeys);

  // head.cc
  bool head(const Op& op, int32_t opIndex, WorkCounter* counters);
  bool headOfPanel(HeadPanel panel, WorkCounter* counters);
  bool redoWhole(const HeadPanel& panel, WorkCounter* counters);
  HeadPanel panelFrom(const Op& op, int32_t opIndex, int32_t first) const;
  void divide(HeadPanel& panel) const;
  void prepareRow(const HeadPanel& panel, int32_t slot);
  void headDots(const HeadPanel& panel, const SlotList& slots, bool fillsScreen, WorkCounter& counter);
  void fillScreen(const HeadPanel& panel, int32_t firstRow, int32_t endRow);
  void scanSegment(const HeadPanel& panel, int32_t slot, int32_t segment);
  void rankRun(const float* values, int32_t n, int32_t firstId, const uint32_t* ranked, BestOf& best);
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

  StepJob& job_;
  Executable& exe_;
  const Program& program_;
  const Step& step_;
  const Kernels& k_;
  Team& team_;
  const int thread_;
  const Scratch& scratch_;
  const bool hasLanes_;
};

}  // namespace bitnet::engine
