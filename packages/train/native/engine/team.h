// Threads that share the parts of one operation. Who does which part changes no result. Between operations they wait without using the
// processor.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>

namespace bitnet::train {

class Team {
 public:
  // Never destroyed: its threads may still wait while the process exits.
  static Team& instance();

  // How many threads operations may use from now on, the caller's included. Fewer where threads cannot be started.
  int resize(int threads);
  int threads() const { return threads_; }
  // Calls part(0) … part(n − 1), each once, on all threads, in standard floating-point mode; returns when all have ended. One caller at a time.
  void run(int n, const std::function<void(int part, int thread)>& part);

 private:
  struct Start;
  static void* helperMain(void* start);
  void takeParts(int thread);

  static constexpr int maxThreads = 256;
  int threads_ = 1;   // that take part
  int nStarted_ = 1;  // that exist
  int nParts_ = 0;
  const std::function<void(int, int)>* part_ = nullptr;
  std::atomic<int> next_{0};
  std::atomic<uint32_t> round_{0};
  std::atomic<uint32_t> nBusy_{0};
};

}  // namespace bitnet::train
