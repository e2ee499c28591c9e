// Judges every kernel table that this machine can run: the answers of the TypeScript reference, equality with the scalar table over
// sizes, misalignments and kinds of input, real shapes, and the known-answer test itself.
// Usage: kernel-test <vectors file> [isa to run although this machine does not announce it].
#include <cstdio>
#include <vector>

#include "../isa.h"
#include "../known-answer.h"
#include "../probes.h"
#include "../samples.h"
#include "guarded.h"
#include "report.h"
#include "strips.h"
#include "vectors.h"
#include "wrong-kernels.h"

namespace bitnet::test {
namespace {

std::vector<const Kernels*> availableTables(const char* forced) {
  std::vector<const Kernels*> tables;
  int count = 0;
  const Variant* variants = kernelVariants(&count);
  for (int i = 0; i < count; i++) {
    const Kernels* kernels = variants[i].kernels();
    const bool isForced = forced != nullptr && std::strcmp(forced, variants[i].isa) == 0;
    if (kernels == nullptr || !(isForced || variants[i].supported())) continue;
    if (std::strcmp(kernels->isa, variants[i].isa) != 0) std::printf("FAIL %s calls itself %s\n", variants[i].isa, kernels->isa);
    tables.push_back(kernels);
  }
  return tables;
}

constexpr struct {
  SampleKind kind;
  const char* name;
} kinds[] = {
    {SampleKind::Random, "random"},
    {SampleKind::Zeros, "zeros"},
    {SampleKind::Ones, "ones"},
    {SampleKind::Extremes, "extremes"},
};

// N = 64 rows or elements of the widest register tile.
constexpr int sizes[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64 / 2, 64, 100, 8 * 64 + 2};
constexpr int largestSize = 8 * 64 + 2;

void compareWithScalar(const Kernels& kernels, Report& report) {
  const size_t elements = probeElements(largestSize);
  std::vector<uint8_t> actual(4 * elements), expected(4 * elements);
  int count = 0;
  const Probe* probes = kernelProbes(&count);
  for (const auto& [kind, kindName] : kinds) {
    const SampleBuffers buffers(elements, kind, 7);
    for (int i = 0; i < count; i++) {
      for (const int size : sizes) {
        const size_t used = 4 * probeElements(size);
        for (const int shift : {0, 1, 3, size % 16}) {
          std::memset(actual.data(), 0x55, used);
          std::memset(expected.data(), 0x55, used);
          probes[i].run(kernels, buffers.samples(), size, shift, actual.data());
          probes[i].run(*scalarKernels(), buffers.samples(), size, shift, expected.data());
          char what[128];
          std::snprintf(what, sizeof what, "%s, size %d, shift %d, %s (bytes)", probes[i].name, size, shift, kindName);
          report.equal(actual.data(), expected.data(), used, kernels.isa, what);
        }
      }
    }
  }
}

struct TernaryShape {
  int nRows, nX, cols;
};

// Exactly as many bytes as the sizes say, so that reading more stops the program.
void compareTernary(const Kernels& kernels, TernaryShape shape, SampleKind kind, Report& report) {
  const int nRows = shape.nRows, nX = shape.nX, cols = shape.cols;
  const size_t weightBytes = static_cast<size_t>(nRows) * cols / 4, xBytes = static_cast<size_t>(nX) * cols;
  const SampleBuffers buffers(weightBytes > xBytes ? weightBytes : xBytes, kind, 3);
  Guarded<uint8_t> weights(buffers.samples().bytes, weightBytes);
  Guarded<int8_t> x(buffers.samples().activations, xBytes);
  std::vector<int32_t> sums(nX);
  for (int i = 0; i < nX; i++) {
    for (int k = 0; k < cols; k++) sums[i] += x.data()[static_cast<size_t>(i) * cols + k];
  }
  const size_t nSums = static_cast<size_t>(nRows) * nX;
  const size_t nSumRows = static_cast<size_t>(nRows);
  const PackedMatrix matrix = {weights.data(), static_cast<size_t>(cols) / 4, nRows, cols};
  Guarded<int32_t> actual(nSums), expected(nSums), byTiles(nSums);
  const auto run = [&](const Kernels& k, int32_t* acc) {
    k.ternaryMatmul(matrix, {x.data(), static_cast<size_t>(cols), nX, cols}, sums.data(), {acc, nSumRows, nX, nRows});
  };
  run(kernels, actual.data());
  run(*scalarKernels(), expected.data());
  char what[128];
  std::snprintf(what, sizeof what, "ternaryMatmul %d × %d, %d activations", nRows, cols, nX);
  report.equal(actual.data(), expected.data(), nSums, kernels.isa, what);
  if (!kernels.tiles) return;
  Strips strips(*kernels.tiles, x.data(), nX, cols);
  kernels.tiles->ternary(matrix, strips.matrix(), sums.data(), {byTiles.data(), nSumRows, nX, nRows});
  std::snprintf(what, sizeof what, "ternary tiles %d × %d, %d activations", nRows, cols, nX);
  report.equal(byTiles.data(), expected.data(), nSums, kernels.isa, what);

  Guarded<float> t(nX), scaled(nSums), scaledExpected(nSums);
  for (int i = 0; i < nX; i++) t.data()[i] = 0.37f / static_cast<float>(i + 3);
  for (size_t at = 0; at < nSums; at++) scaledExpected.data()[at] = static_cast<float>(expected.data()[at]) * t.data()[at / nRows];
  kernels.tiles->ternaryScaled(matrix, strips.matrix(), sums.data(), {t.data(), scaled.data(), nSumRows, false, scaled.data(), nSumRows});
  std::snprintf(what, sizeof what, "scaled ternary tiles %d × %d, %d activations", nRows, cols, nX);
  report.equal(scaled.data(), scaledExpected.data(), nSums, kernels.isa, what);

  for (size_t at = 0; at < nSums; at++) {
    scaled.data()[at] = 0.11f * static_cast<float>(at % 97) - 3;
    scaledExpected.data()[at] = scaled.data()[at] + scaledExpected.data()[at];
  }
  kernels.tiles->ternaryScaled(matrix, strips.matrix(), sums.data(), {t.data(), scaled.data(), nSumRows, true, nullptr, 0});
  std::snprintf(what, sizeof what, "scaled ternary tiles %d × %d, %d activations, added", nRows, cols, nX);
  report.equal(scaled.data(), scaledExpected.data(), nSums, kernels.isa, what);

  if (!kernels.tiles->lanes) return;
  // The same once more in lanes, of which only those with a row count.
  const size_t nLanes = static_cast<size_t>(nX + stripRows - 1) / stripRows * stripRows * nSumRows;
  Guarded<float> lanes(nLanes);
  const auto laneOf = [&](size_t i, size_t r) -> float& { return lanes.data()[i / stripRows * stripRows * nSumRows + r * stripRows + i % stripRows]; };
  for (size_t at = 0; at < nSums; at++) laneOf(at / nRows, at % nRows) = 0.11f * static_cast<float>(at % 97) - 3;
  kernels.tiles->lanes->ternary(matrix, strips.matrix(), sums.data(), {t.data(), lanes.data(), nSumRows, true, lanes.data(), nSumRows});
  for (size_t at = 0; at < nSums; at++) scaled.data()[at] = laneOf(at / nRows, at % nRows);
  std::snprintf(what, sizeof what, "ternary lanes %d × %d, %d activations, added", nRows, cols, nX);
  report.equal(scaled.data(), scaledExpected.data(), nSums, kernels.isa, what);
}

// Likewise.
void compareScreen(const Kernels& kernels, TernaryShape shape, SampleKind kind, Report& report) {
  const int nRows = shape.nRows, nX = shape.nX, cols = shape.cols;
  const size_t rowBytes = static_cast<size_t>(nRows) * cols, xBytes = static_cast<size_t>(nX) * cols;
  const SampleBuffers buffers(rowBytes > xBytes ? rowBytes : xBytes, kind, 5);
  Guarded<int8_t> rows(buffers.samples().activations, rowBytes), x(buffers.samples().activations, xBytes);
  for (size_t i = 0; i < rowBytes; i++) {
    if (rows.data()[i] == -128) rows.data()[i] = -127;
  }
  std::vector<int32_t> sums(nX);
  for (int i = 0; i < nX; i++) {
    for (int k = 0; k < cols; k++) sums[i] += x.data()[static_cast<size_t>(i) * cols + k];
  }
  const size_t nSums = static_cast<size_t>(nRows) * nX;
  const size_t accStride = static_cast<size_t>(nRows);
  const Int8Matrix table = {rows.data(), static_cast<size_t>(cols), nRows, cols};
  Guarded<int32_t> actual(nSums), expected(nSums), byTiles(nSums);
  const auto run = [&](const Kernels& k, int32_t* acc) {
    k.screenDots(table, {x.data(), static_cast<size_t>(cols), nX, cols}, sums.data(), {acc, accStride, nX, nRows});
  };
  run(kernels, actual.data());
  run(*scalarKernels(), expected.data());
  char what[128];
  std::snprintf(what, sizeof what, "screenDots %d × %d, %d activations", nRows, cols, nX);
  report.equal(actual.data(), expected.data(), nSums, kernels.isa, what);
  if (!kernels.tiles || !kernels.tiles->screen) return;
  Strips strips(*kernels.tiles, x.data(), nX, cols);
  kernels.tiles->screen(table, strips.matrix(), {byTiles.data(), accStride, nX, nRows});
  std::snprintf(what, sizeof what, "screen tiles %d × %d, %d activations", nRows, cols, nX);
  report.equal(byTiles.data(), expected.data(), nSums, kernels.isa, what);
}

// Likewise: in every row of activations and of weights nothing behind its last group may be read or written. groupsPerScale 0: no scales.
void compareGroups(const Kernels& kernels, TernaryShape shape, int groupsPerScale, SampleKind kind, Report& report) {
  const int nRows = shape.nRows, nX = shape.nX, nGroups = shape.cols / 128;
  const size_t pairs = static_cast<size_t>(nGroups + 1) / 2, xBytes = pairs * 256 * static_cast<size_t>(nX);
  const size_t weightBytes = static_cast<size_t>(nRows) * nGroups * 32;
  const SampleBuffers buffers(weightBytes > xBytes ? weightBytes : xBytes, kind, 11);
  Guarded<uint8_t> weights(buffers.samples().bytes, weightBytes);
  Guarded<int8_t> x(buffers.samples().activations, xBytes);
  Guarded<int32_t> offsets(pairs * 16 * static_cast<size_t>(nX));
  for (size_t at = 0; at < xBytes; at++) {
    // The half that an odd number of groups lacks is zeros.
    if (nGroups % 2 == 1 && at / 256 % pairs == pairs - 1 && at % 64 >= 32) x.data()[at] = 0;
    offsets.data()[at / 256 * 16 + at % 64 / 4] -= x.data()[at];
  }
  Guarded<float> reciprocals(static_cast<size_t>(nX) * nGroups);
  for (int at = 0; at < nX * nGroups; at++) reciprocals.data()[at] = 0.003f * static_cast<float>(at % 41 + 1);
  const int perRow = groupsPerScale == 0 ? 1 : (nGroups + groupsPerScale - 1) / groupsPerScale;
  Guarded<float> scales(static_cast<size_t>(nRows) * perRow);
  for (int at = 0; at < nRows * perRow; at++) scales.data()[at] = 0.7f + 0.01f * static_cast<float>(at % 67);
  const GroupedRows rows = {x.data(), pairs * 256, reciprocals.data(), static_cast<size_t>(nGroups), offsets.data(), pairs * 16, nX, nGroups};
  const GroupScales of = {groupsPerScale == 0 ? nullptr : scales.data(), static_cast<size_t>(perRow), groupsPerScale == 0 ? 1 : groupsPerScale};
  const size_t nSums = static_cast<size_t>(nRows) * nX;
  Guarded<float> actual(nSums), expected(nSums);
  const PackedMatrix matrix = {weights.data(), static_cast<size_t>(nGroups) * 32, nRows, 128 * nGroups};
  kernels.groupDots(matrix, rows, of, {actual.data(), static_cast<size_t>(nRows), nX, nRows});
  scalarKernels()->groupDots(matrix, rows, of, {expected.data(), static_cast<size_t>(nRows), nX, nRows});
  char what[128];
  std::snprintf(what, sizeof what, "groupDots %d × %d, %d activations, %d groups a scale", nRows, shape.cols, nX, groupsPerScale);
  report.equal(actual.data(), expected.data(), nSums, kernels.isa, what);
}

void compareRealShapes(const Kernels& kernels, Report& report) {
  for (const int nX : {1, 2, 3, 4, 7, 16, 40, 150}) compareTernary(kernels, {640, nX, 2560}, SampleKind::Random, report);
  for (const int nX : {1, 5}) compareTernary(kernels, {320, nX, 6912}, SampleKind::Random, report);
  // Long rows of the largest products, for accumulators that are too narrow.
  for (const int nX : {1, 3, 20}) compareTernary(kernels, {35, nX, 128 * 355}, SampleKind::Extremes, report);
  for (int nX = 1; nX <= 40; nX++) compareTernary(kernels, {37, nX, 384}, SampleKind::Random, report);
  for (int nRows = 1; nRows <= 70; nRows++) compareTernary(kernels, {nRows, nRows % 23 + 1, 640}, SampleKind::Random, report);
  for (const int nX : {1, 2, 3, 4, 5, 8, 11, 40}) compareGroups(kernels, {70, nX, 2048}, 1, SampleKind::Random, report);
  // Numbers of groups that fill vectors of scales, whole pairs, or neither.
  for (int nGroups = 1; nGroups <= 35; nGroups++) compareGroups(kernels, {nGroups % 11 + 1, nGroups % 7 + 1, 128 * nGroups}, nGroups % 4, SampleKind::Random, report);
  for (int nRows = 1; nRows <= 20; nRows++) compareGroups(kernels, {nRows, nRows % 5 + 1, 640}, 1, SampleKind::Extremes, report);
  for (const int nX : {1, 2, 4, 9, 33, 64, 150}) compareScreen(kernels, {64, nX, 2560}, SampleKind::Random, report);
  for (const int nX : {1, 2, 5}) compareScreen(kernels, {6, nX, 1 << 16}, SampleKind::Extremes, report);
  for (int nRows = 1; nRows <= 70; nRows++) compareScreen(kernels, {nRows, nRows % 37 + 1, 192}, SampleKind::Random, report);
}

void checkKnownAnswers(const Kernels& kernels, Report& report) {
  const char* wrong = checkKernels(&kernels);
  report.check(wrong == nullptr, kernels.isa, wrong == nullptr ? "" : wrong);
  int nTables = 0, nProbes = 0;
  const WrongTable* tables = wrongTables(kernels, &nTables);
  const Probe* probes = kernelProbes(&nProbes);
  report.check(nTables == nProbes, kernels.isa, "the known-answer test has a probe for every wrong function");
  for (int i = 0; i < nTables && i < nProbes; i++) {
    report.check(std::strcmp(tables[i].name, probes[i].name) == 0, kernels.isa, "probes and wrong functions in one order");
    const char* rejected = checkKernels(&tables[i].kernels);
    report.check(rejected != nullptr && std::strcmp(rejected, tables[i].name) == 0, kernels.isa, tables[i].name);
  }
}

int testMain(const char* vectorsPath, const char* forced) {
  Report report;
  const auto cases = readVectors(vectorsPath);
  if (cases.empty()) {
    std::printf("FAIL %s holds no cases\n", vectorsPath);
    return 1;
  }
  for (const Kernels* kernels : availableTables(forced)) {
    const int before = report.failures;
    if (!checkVectors(*kernels, cases, report)) return 1;
    if (kernels != scalarKernels()) {
      compareWithScalar(*kernels, report);
      compareRealShapes(*kernels, report);
    }
    checkKnownAnswers(*kernels, report);
    std::printf("%s %s\n", report.failures == before ? "passed" : "failed", kernels->isa);
    std::fflush(stdout);
  }
  std::printf("%d checks, %d failures\n", report.checks, report.failures);
  return report.failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace bitnet::test

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: kernel-test <vectors file> [isa]\n");
    return 2;
  }
  return bitnet::test::testMain(argv[1], argc == 3 ? argv[2] : nullptr);
}
