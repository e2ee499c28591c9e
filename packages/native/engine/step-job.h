// One step on its way through an executable: the pool's threads run it phase by phase, and its results wait here for the JavaScript
// thread. Two steps of one executable must not be in the pool at once.
#pragma once
#include <atomic>

#include "executable.h"
#include "ranking.h"
#include "step.h"
#include "team.h"

namespace bitnet::engine {

// The most candidates that a request for a share of the mass is answered with.
constexpr size_t massListed = 1024;

struct HeadResult {
  Candidate* candidates;  // room for what the request can yield, then the answer, best first
  size_t count;
  size_t perSegment;      // candidates that each segment of the vocabulary may yield
  float* logits;          // all: [vocab]; state: [cols of the table]
  float* apart;           // [nApart]
  float logSumExp;
  double restLow, restHigh;  // mass
  // Answered by the screen, unless nothing bounds the products with this row of x or too many rows of the table qualify.
  bool isScreened, isUnbounded;
  Candidate* probes;         // [segments, perSegmentProbes] ranked ids that look best, with exact values
  size_t perSegmentProbes;
};

// What scanning one segment of the vocabulary for one request has found.
struct SegmentResult {
  size_t nFound, nProbes;
  size_t nExact;    // rows computed exactly for a screened request
  bool isTooMuch;   // more rows qualify than are worth computing one by one
  // mass: weights relative to the highest ranked logit of the segment; or, of rows that were not computed, at most, relative to the best probe
  float highest;
  double weight;
  float passedOver;  // highest bound of a ranked row that was not computed for a screened request
};

// The vocabulary is scanned in segments of so many ids, a multiple of 64.
int32_t segmentLength(int32_t vocabSize, int32_t nSegments);

class StepJob : public Job {
 public:
  // `closing`: set when the step's environment goes away, after which the step ends at the next barrier.
  StepJob(Executable& executable, const void* owner, const std::atomic<bool>& closing);

  // Decodes the step and obtains all memory that it will need. Run on the JavaScript thread.
  bool prepare(const int32_t* words, size_t nWords);

  void run(Team& team, int thread) override;
  bool shouldStop() override;

  Executable& executable() const { return executable_; }
  const Step& step() const { return step_; }
  // Ends the step with a failure, that of the first operation and row of all that are told.
  void numericFailure(int32_t op, int32_t row);

  const Failure& failure() const { return failure_; }
  // Results as core/backend/engine/decode-result.ts reads them; empty after a failure.
  const Array<int32_t>& result() const { return result_; }
  // Steps that kernels of this name have completed in this process.
  static uint64_t stepsRun(const char* isa);

 protected:
  Failure failure_;

 private:
  friend class HeadWorker;

  bool prepareHeads();
  bool isWorthScreening(const HeadRequest& head) const;
  // Floats that a request is answered with, but for those of its candidates.
  size_t floatsOf(const HeadRequest& head) const;
  void planHead(size_t request);
  void settleScreen();
  bool commitPages();
  void settle();
  void writeResult();
  // Segments in which the requests of this one's panel are scanned: few requests are shared out among the threads.
  int32_t segmentsOf(int32_t request) const;
  SegmentResult& segmentResult(int32_t request, int32_t segment) {
    return segments_[static_cast<size_t>(request) * static_cast<size_t>(executable_.limits().threads) + static_cast<size_t>(segment)];
  }
  // One a thread or one a request of the panel.
  int32_t drawsAtOnce() const;
  // Rows computed exactly, at most, for a screened request.
  size_t candidateLimit(Want want) const;
  bool isAnsweredByScreen(int32_t request);

  Executable& executable_;
  const std::atomic<bool>& closing_;
  Step step_;
  Array<HeadResult> heads_;
  Array<Candidate> candidates_;
  Array<SegmentResult> segments_;  // [heads, threads]
  bool buildsScreen_ = false;      // the first panel of requests makes a piece of the copy for the screen
  Array<float> headFloats_;
  Array<int32_t> result_;
  // Operation and row of the first numeric failure in program order, in one word, so that threads agree on it.
  std::atomic<uint64_t> firstFailure_{UINT64_MAX};
};

}  // namespace bitnet::engine
