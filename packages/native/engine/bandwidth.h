// The yardstick of benchmarks: how fast this machine reads memory when it does nothing else.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bitnet::engine {

struct BandwidthTask {
  int32_t threads;  // 1…maxBandwidthThreads
  int32_t repeats;  // 1…maxBandwidthRepeats
  size_t bytes;     // at least 4096
};

constexpr int32_t maxBandwidthThreads = 256;
constexpr int32_t maxBandwidthRepeats = 100;

// Bytes per second: the median over the passes in which threads of the pool, as many as can be started, read the bytes together; 0 when there is no
// memory for them, or no thread.
double measureBandwidth(const BandwidthTask& task);

}  // namespace bitnet::engine
