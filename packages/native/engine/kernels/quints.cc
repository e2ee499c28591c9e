#include "quints.h"

#include <cstdlib>
#include <cstring>

#include "isa.h"
#include "kernels.h"

namespace bitnet {
namespace {

#if defined(__x86_64__)
const QuintKernels* builtQuints() { return avx512VbmiQuintKernels(); }
#else
const QuintKernels* builtQuints() { return nullptr; }
#endif

constexpr int mostRows = 9, mostCols = 128 * 11;

struct Answers {
  alignas(64) uint8_t weights[mostRows * mostCols / 4];
  alignas(64) int8_t x[quintActivations * mostCols];
  alignas(64) uint8_t quints[(mostRows + quintRows) * (mostCols + quintVectorCodes) / 5];
  int32_t sums[quintActivations], expected[quintActivations * mostRows], actual[quintActivations * mostRows];
};

// Random bytes without codes of 3, and random activations from the lowest to the highest.
void fill(Answers& a) {
  uint32_t state = 1;
  const auto next = [&] { return (state = state * 1664525u + 1013904223u) >> 24; };
  for (uint8_t& byte : a.weights) {
    const uint32_t bits = next(), high = bits & 0xaa;
    byte = static_cast<uint8_t>(high | (bits & 0x55 & ~(high >> 1)));
  }
  for (int8_t& value : a.x) value = static_cast<int8_t>(next());
  a.x[1] = -128;
  a.x[2] = 127;
}

bool agrees(const QuintKernels& k, Answers& a, int nRows, int nX, int cols) {
  const size_t rowBytes = static_cast<size_t>(cols) / 4, xStride = static_cast<size_t>(cols);
  for (int i = 0; i < nX; i++) {
    a.sums[i] = 0;
    for (int j = 0; j < cols; j++) a.sums[i] += a.x[i * xStride + j];
  }
  // Sums that a kernel must not touch are compared as well.
  std::memset(a.expected, 0x55, sizeof a.expected);
  std::memset(a.actual, 0x55, sizeof a.actual);
  if (!k.pack(a.weights, rowBytes, nRows, cols, a.quints)) return false;
  scalarKernels()->ternaryMatmul(a.weights, rowBytes, nRows, a.x, xStride, a.sums, nX, cols, a.expected, mostRows);
  k.matmul(a.quints, nRows, a.x, xStride, a.sums, nX, cols, a.actual, mostRows);
  return std::memcmp(a.expected, a.actual, sizeof a.actual) == 0;
}

bool refusesThree(const QuintKernels& k, Answers& a) {
  constexpr int cols = 640, rowBytes = cols / 4, step = 29;
  for (int at = 0; at < 2 * rowBytes; at += step) {
    const uint8_t kept = a.weights[at];
    a.weights[at] |= static_cast<uint8_t>(3 << (2 * (at % 4)));
    const bool packed = k.pack(a.weights, rowBytes, 2, cols, a.quints);
    a.weights[at] = kept;
    if (packed) return false;
  }
  return true;
}

const char* whyNot(const char* isa) {
  if (std::strcmp(isa, "avx512vnni") != 0 && std::strcmp(isa, "amx") != 0) return "it needs the instruction set avx512vnni or amx";
  if (!builtQuints()) return "the compiler of this build does not know AVX-512 VBMI";
  if (!hasAvx512Vbmi()) return "this processor or operating system does not offer AVX-512 VBMI";
  static const bool isRight = checkQuints(*builtQuints());
  return isRight ? nullptr : "its kernel gives wrong answers here";
}

}  // namespace

bool checkQuints(const QuintKernels& kernels) {
  auto* answers = static_cast<Answers*>(std::aligned_alloc(64, (sizeof(Answers) + 63) / 64 * 64));
  if (!answers) return false;
  fill(*answers);
  bool isRight = refusesThree(kernels, *answers);
  for (int nRows = 1; nRows <= mostRows; nRows++) {
    for (int cols = 128; cols <= mostCols; cols += 128) isRight = isRight && agrees(kernels, *answers, nRows, 1 + (nRows + cols / 128) % quintActivations, cols);
  }
  std::free(answers);
  return isRight;
}

const QuintKernels* provenQuints(const char* isa, const char** reason) {
  *reason = whyNot(isa);
  return *reason ? nullptr : builtQuints();
}

}  // namespace bitnet
