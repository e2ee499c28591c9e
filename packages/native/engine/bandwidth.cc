#include "bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "allocations.h"
#include "kernels/bare-read.h"

namespace bitnet::engine {

double measureBandwidth(const BandwidthTask& task) {
  const size_t words = task.bytes / sizeof(uint64_t);
  Array<uint64_t> memory;
  Array<double> seconds;
  if (!memory.allocate(words) || !seconds.allocate(static_cast<size_t>(task.repeats))) return 0;
  for (size_t i = 0; i < words; i++) memory[i] = i;  // every page, so that none is the shared zero page
  std::atomic<int32_t> arrived{0};
  std::atomic<uint64_t> sink{0};
  // Threads meet by counting, so that all of them read at the same time.
  const auto meet = [&](int32_t round) {
    arrived.fetch_add(1);
    while (arrived.load() < (round + 1) * task.threads) std::this_thread::yield();
  };
  const size_t share = words / static_cast<size_t>(task.threads);
  const auto read = [&](int32_t thread) {
    for (int32_t r = 0; r < task.repeats; r++) {
      meet(2 * r);
      const auto start = std::chrono::steady_clock::now();
      sink += sumWords(memory.data() + share * static_cast<size_t>(thread), share);
      meet(2 * r + 1);
      if (thread == 0) seconds[static_cast<size_t>(r)] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
  };
  std::thread helpers[maxBandwidthThreads];
  for (int32_t t = 1; t < task.threads; t++) helpers[t] = std::thread(read, t);
  read(0);
  for (int32_t t = 1; t < task.threads; t++) helpers[t].join();
  std::sort(seconds.data(), seconds.data() + seconds.size());
  return static_cast<double>(share * static_cast<size_t>(task.threads) * sizeof(uint64_t)) / seconds[seconds.size() / 2];
}

}  // namespace bitnet::engine
