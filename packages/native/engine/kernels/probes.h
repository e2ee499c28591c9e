// One probe per function of the table: runs it on given samples at a given size and misalignment, and leaves every result in one
// buffer, so that two tables are compared by comparing bytes. Serves the known-answer test and the larger test program.
#pragma once
#include "kernels.h"

namespace bitnet {

// Inputs, each with room for `probeElements(largest n)` elements. All f32 and f16 values are finite.
struct Samples {
  const float* a;
  const float* b;
  const uint16_t* halves;  // f16
  const uint16_t* brains;  // bf16
  const uint8_t* bytes;
  const int8_t* activations;
  const int32_t* ints;
};

struct Probe {
  const char* name;
  // `shift` moves every pointer by that many elements. Writes at most probeElements(n) · 4 bytes at `out`.
  void (*run)(const Kernels& kernels, const Samples& samples, int n, int shift, uint8_t* out);
};

// Elements that a probe at size n and shift ≤ 15 reads or writes at most.
constexpr size_t probeElements(int n) { return 72 * static_cast<size_t>(n) + 5120; }

// One probe for each function of the table, in its order, then for those of its tiles and lanes. Sets `count`.
const Probe* kernelProbes(int* count);

// Bytes of the blocks that `widen` reads for n elements of a quantised type.
size_t denseRowBytes(DenseType type, int n);

}  // namespace bitnet
