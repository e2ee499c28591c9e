#include "quint-test.h"

#include "../kernels.h"
#include "../quints.h"
#include "../samples.h"
#include "guarded.h"

namespace bitnet::test {
namespace {

constexpr const char* name = "quints";

enum class Codes { Random, Zeros, Twos };

struct Shape {
  int nRows, nX, cols;
};

uint8_t codesOf(Codes codes, uint8_t random) {
  if (codes == Codes::Zeros) return 0;
  if (codes == Codes::Twos) return 0xaa;
  const uint8_t high = random & 0xaa;
  return static_cast<uint8_t>(high | (random & 0x55 & ~(high >> 1)));
}

// Exactly as many bytes as the sizes say, so that reading or writing more stops the program.
void compare(const QuintKernels& k, Shape shape, Codes codes, SampleKind kind, Report& report) {
  const auto [nRows, nX, cols] = shape;
  const size_t weightBytes = static_cast<size_t>(nRows) * cols / 4, nSums = static_cast<size_t>(nX) * nRows;
  const size_t xBytes = static_cast<size_t>(nX) * cols;
  const SampleBuffers buffers(weightBytes > xBytes ? weightBytes : xBytes, kind, 3);
  Guarded<uint8_t> weights(buffers.samples().bytes, weightBytes), quints(quintBytes(nRows, cols));
  for (size_t i = 0; i < weightBytes; i++) weights.data()[i] = codesOf(codes, weights.data()[i]);
  Guarded<int8_t> x(buffers.samples().activations, xBytes);
  Guarded<int32_t> actual(nSums), expected(nSums), sums(nX);
  for (int i = 0; i < nX; i++) {
    sums.data()[i] = 0;
    for (int j = 0; j < cols; j++) sums.data()[i] += x.data()[i * cols + j];
  }
  scalarKernels()->ternaryMatmul(weights.data(), cols / 4, nRows, x.data(), cols, sums.data(), nX, cols, expected.data(), nRows);
  char what[128];
  std::snprintf(what, sizeof what, "%d × %d, %d activations", nRows, cols, nX);
  report.check(k.pack(weights.data(), cols / 4, nRows, cols, quints.data()), name, what);
  k.matmul(quints.data(), nRows, x.data(), cols, sums.data(), nX, cols, actual.data(), nRows);
  report.equal(actual.data(), expected.data(), nSums, name, what);
}

void compareShapes(const QuintKernels& k, Report& report) {
  for (int nX = 1; nX <= quintActivations; nX++) {
    compare(k, {320, nX, 6912}, Codes::Random, SampleKind::Random, report);
    compare(k, {640, nX, 2560}, Codes::Random, SampleKind::Random, report);
    for (const Codes codes : {Codes::Zeros, Codes::Twos, Codes::Random}) {
      compare(k, {7, nX, 128 * 355}, codes, SampleKind::Extremes, report);
      compare(k, {5, nX, 640}, codes, SampleKind::Zeros, report);
    }
    for (int nRows = 1; nRows <= 20; nRows++) {
      for (int cols = 128; cols <= 1408; cols += 128) compare(k, {nRows, nX, cols}, Codes::Random, SampleKind::Random, report);
    }
  }
}

// ---- deliberately wrong kernels ----

const QuintKernels* genuine;

// A code of 3 that comes through would be taken for another weight.
bool packAnything(const uint8_t* weights, size_t rowBytes, int nRows, int cols, uint8_t* out) {
  genuine->pack(weights, rowBytes, nRows, cols, out);
  return true;
}

bool packNothing(const uint8_t*, size_t, int, int, uint8_t*) { return true; }

void wrongLastRow(const uint8_t* quints, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums, int nX, int cols, int32_t* acc,
                  size_t accStride) {
  genuine->matmul(quints, nRows, x, xStride, xSums, nX, cols, acc, accStride);
  if (nRows % quintRows != 0) acc[nRows - 1]++;
}

// Writes one sum more than there are rows.
void tooFar(const uint8_t* quints, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums, int nX, int cols, int32_t* acc,
            size_t accStride) {
  genuine->matmul(quints, nRows, x, xStride, xSums, nX, cols, acc, accStride);
  if (nRows == 3) acc[nRows] = 0;
}

}  // namespace

void testQuints(Report& report) {
  const char* reason = nullptr;
  const QuintKernels* k = provenQuints("avx512vnni", &reason);
  if (k == nullptr) {
    std::printf("no quints: %s\n", reason);
    return;
  }
  const int before = report.failures;
  compareShapes(*k, report);
  genuine = k;
  report.check(checkQuints(*k), name, "passes its check");
  const QuintKernels wrong[] = {{packAnything, k->matmul}, {packNothing, k->matmul}, {k->pack, wrongLastRow}, {k->pack, tooFar}};
  for (const QuintKernels& kernels : wrong) report.check(!checkQuints(kernels), name, "a wrong kernel fails its check");
  std::printf("%s quints\n", report.failures == before ? "passed" : "failed");
}

}  // namespace bitnet::test
