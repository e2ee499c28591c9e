#include "bandwidth.h"

#include <algorithm>
#include <chrono>

#include "allocations.h"
#include "kernels/bare-read.h"
#include "pool.h"

namespace bitnet::engine {
namespace {

// The threads of the pool read their shares of the memory at the same time, once for each of `seconds`.
class Reading final : public Job {
 public:
  Reading(const Array<uint64_t>& memory, Array<double>& seconds, int threads) : Job(nullptr), memory_(memory), seconds_(seconds) {
    askForThreads(threads);
  }

  void run(Team& team, int thread) override {
    const size_t n = static_cast<size_t>(team.size()), share = memory_.size() / n;
    if (thread == 0) words_ = share * n;
    uint64_t sum = 0;
    for (double& seconds : seconds_) {
      team.barrier();
      const auto start = std::chrono::steady_clock::now();
      sum += sumWords(memory_.data() + share * static_cast<size_t>(thread), share);
      team.barrier();
      if (thread == 0) seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    sink_ += sum;
  }
  bool shouldStop() override { return false; }
  void done(bool) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    isDone_ = true;
    ended_.notify_one();
  }

  // Words that are read at a time.
  size_t wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    ended_.wait(lock, [&] { return isDone_; });
    return words_;
  }

 private:
  const Array<uint64_t>& memory_;
  Array<double>& seconds_;
  size_t words_ = 0;
  std::atomic<uint64_t> sink_{0};
  std::mutex mutex_;
  std::condition_variable ended_;
  bool isDone_ = false;
};

}  // namespace

double measureBandwidth(const BandwidthTask& task) {
  Array<uint64_t> memory;
  Array<double> seconds;
  const int threads = Pool::instance().reserve(task.threads);
  if (threads == 0 || !memory.allocate(task.bytes / sizeof(uint64_t)) || !seconds.allocate(static_cast<size_t>(task.repeats))) return 0;
  for (size_t i = 0; i < memory.size(); i++) memory[i] = i;  // every page, so that none is the shared zero page
  Reading reading(memory, seconds, threads);
  Pool::instance().submit(&reading);
  const size_t words = reading.wait();
  std::sort(seconds.begin(), seconds.end());
  return static_cast<double>(words * sizeof(uint64_t)) / seconds[seconds.size() / 2];
}

}  // namespace bitnet::engine
