#include "known-answer.h"

#include <cstring>
#include <vector>

#include "probes.h"
#include "samples.h"

namespace bitnet {
namespace {

// Both sides of one vector, of one register tile of weight rows, and of several.
constexpr int sizes[] = {1, 7, 16, 37, 83};
constexpr int largestSize = 83;

bool agrees(const Probe& probe, const Kernels& kernels, const Samples& samples, std::vector<uint8_t>* results) {
  for (const int size : sizes) {
    const int shift = size % 5;
    for (auto& bytes : {&results[0], &results[1]}) std::memset(bytes->data(), 0x55, bytes->size());
    probe.run(kernels, samples, size, shift, results[0].data());
    probe.run(*scalarKernels(), samples, size, shift, results[1].data());
    if (results[0] != results[1]) return false;
  }
  return true;
}

}  // namespace

const char* checkKernels(const Kernels* kernels) {
  const size_t elements = probeElements(largestSize);
  const SampleBuffers buffers(elements, SampleKind::Random, 1);
  std::vector<uint8_t> results[2] = {std::vector<uint8_t>(elements * 4), std::vector<uint8_t>(elements * 4)};
  int count = 0;
  const Probe* probes = kernelProbes(&count);
  for (int i = 0; i < count; i++) {
    if (!agrees(probes[i], *kernels, buffers.samples(), results)) return probes[i].name;
  }
  return nullptr;
}

}  // namespace bitnet
