// The one compute pool of the process: a dispatcher thread takes jobs in the order they came and runs each with as many helpers as it
// asks for. All threads of a job run the same function and meet at barriers. Waiting spins briefly, then sleeps. Knows nothing of models.
#pragma once
#include <condition_variable>
#include <mutex>

#include "team.h"

namespace bitnet::engine {

class Pool {
 public:
  // Never destroyed: its threads may still run while the process exits.
  static Pool& instance();

  // Starts the dispatcher and up to threads − 1 helpers. Returns how many threads a job may then have; 0 when not even the dispatcher
  // could be started.
  int reserve(int threads);
  // Only after `reserve` returned at least 1. The job is to live until its `done`.
  void submit(Job* job);
  // Drops the owner's waiting jobs and returns when none of its jobs runs any more.
  void cancel(const void* owner);

 private:
  struct Helper;

  static constexpr int maxTeam = 256;
  static void* dispatcherMain(void* pool);
  static void* helperMain(void* helper);
  [[noreturn]] void dispatch();
  Job* take();
  void runJob(Job* job);

  std::mutex mutex_;
  std::condition_variable queued_;
  std::condition_variable idle_;
  Job* first_ = nullptr;
  Job* last_ = nullptr;
  bool busy_ = false;                   // a job runs, and this is its owner
  const void* busyOwner_ = nullptr;
  std::atomic<uint32_t> nQueued_{0};
  bool dispatcherStarted_ = false;
  int nHelpers_ = 0;
  Helper* helpers_[maxTeam] = {};
  Team team_;
};

}  // namespace bitnet::engine
