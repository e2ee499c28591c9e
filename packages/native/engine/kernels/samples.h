// Seeded inputs for the probes.
#pragma once
#include <cstdint>
#include <vector>

#include "probes.h"

namespace bitnet {

enum class SampleKind {
  Random,
  Zeros,
  Ones,  // floats and activations ±1, weights ±1
  // Activations −128 or 127, every weight code 3, floats of very different sizes.
  Extremes,
};

class SampleBuffers {
 public:
  SampleBuffers(size_t elements, SampleKind kind, uint32_t seed);
  Samples samples() const;

 private:
  std::vector<float> a_, b_;
  std::vector<uint16_t> halves_, brains_;
  std::vector<uint8_t> bytes_;
  std::vector<int8_t> activations_;
  std::vector<int32_t> ints_;
};

}  // namespace bitnet
