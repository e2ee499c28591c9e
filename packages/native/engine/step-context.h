// What one thread of a step needs, whatever operation it computes. All threads of the team run the same operations in the same order and share out
// the work inside each by counters; who computes what never changes a bit.
#pragma once
#include "step-job.h"

namespace bitnet::engine {

struct StepContext {
  StepContext(StepJob& job, Team& team, int thread);

  StepJob& job;
  Executable& executable;
  const Program& program;
  const Step& step;
  const Kernels& kernels;
  Team& team;
  const int thread;
  const Scratch& scratch;
  const bool hasLanes;  // some activations of this step lie in lanes or strips

  // Whether this step keeps an activation in lanes or strips.
  bool inLanes(int32_t buffer) const { return hasLanes && executable.suitsLanes(buffer); }
};

// One thread's way through a step (executor.cc): from the first page copy to the last operation, or to the barrier at which the step is to stop.
void runOperations(const StepContext& c);

// The next piece of work that no thread has taken.
inline uint32_t take(WorkCounter& counter) { return counter.next.fetch_add(1, std::memory_order_relaxed); }

// Asks for bytes that will be read soon.
inline void prefetch(const void* bytes, size_t n) {
#pragma GCC unroll 8
  for (size_t i = 0; i < n; i += 64) __builtin_prefetch(static_cast<const uint8_t*>(bytes) + i);
}

}  // namespace bitnet::engine
