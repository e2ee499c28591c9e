// The engine without any runtime around it: small models in memory through engine.h, prefill and decode on every instruction set of this
// machine with one and two threads, compared bit for bit with the scalar kernels on one thread; the pool; and the bounds of the screened head.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "../engine.h"
#include "pool-test.h"
#include "screen-test.h"
#include "small-model.h"

namespace bitnet::test {
namespace {

using namespace engine;

constexpr int32_t maxRows = 80, nPages = 8;

struct StepShape {
  int32_t nRows, firstPosition;
};

// Rows of one sequence, and for the last of them all logits, for the one before it the best five, then a winner under noise.
std::vector<int32_t> stepWords(StepShape shape) {
  const auto [nRows, first] = shape;
  const int32_t nHeads = std::min(nRows, 3);
  std::vector<int32_t> words;
  putRecord(words, StepCounts{.nRows = nRows, .nTables = 1, .nCopies = 0, .nHeads = nHeads, .nInputs = 0, .nOutputs = 0, .hasAdapters = 0});
  for (int32_t i = 0; i < nRows; i++) words.push_back((17 * (first + i) + 3) % SmallModel::vocab);
  for (int32_t i = 0; i < nRows; i++) words.push_back(first + i);
  words.insert(words.end(), static_cast<size_t>(nRows), 0);
  words.insert(words.end(), {4, 5, 2, 7, 0});
  AskedHead all = {}, best = {}, winner = {};
  all.want = Want::All;
  all.hasLogSumExp = 1;
  best.want = Want::Top;
  best.k = 5;
  winner.want = Want::Winner;
  winner.real = 0.8f;
  winner.seed = 3;
  winner.choice = 1;
  winner.index = static_cast<uint32_t>(first);
  int32_t row = nRows;
  for (AskedHead head : {all, best, winner}) {
    if (row == nRows - nHeads) break;
    head.row = --row;
    putRecord(words, head);
  }
  return words;
}

// A prompt in two pieces, of which the second makes tiles of every kind, then single rows and a few together.
constexpr StepShape steps[] = {{7, 0}, {70, 7}, {1, 77}, {1, 78}, {3, 79}, {1, 82}, {20, 83}, {1, 103}};

struct Way {
  const Kernels* kernels;
  int32_t threads;
  KvType kvType;
};

// The words of all results, one step after the other; empty when something failed.
std::vector<int32_t> answersOf(const SmallModel& model, Way way, Report& report) {
  Executable* executable = model.load(way.kernels, {maxRows, nPages, way.kvType, way.threads, 1, 1});
  report.check(executable != nullptr, way.kernels->isa, "loads");
  if (!executable) return {};
  std::vector<int32_t> all;
  for (const StepShape& shape : steps) {
    const std::vector<int32_t> words = stepWords(shape);
    Array<int32_t> result;
    Failure failure;
    const bool isDone = runStep(*executable, words.data(), words.size(), result, failure);
    report.check(isDone, way.kernels->isa, failure.message);
    all.insert(all.end(), result.begin(), result.end());
  }
  destroy(executable);
  return all;
}

void testModel(const std::vector<const Kernels*>& tables, const char* name, ModelKind kind, Report& report) {
  const SmallModel model(kind);
  for (const KvType kvType : {KvType::F16, KvType::F32}) {
    const std::vector<int32_t> expected = answersOf(model, {scalarKernels(), 1, kvType}, report);
    for (const Kernels* kernels : tables) {
      for (const int32_t threads : {1, 2}) {
        const std::vector<int32_t> actual = answersOf(model, {kernels, threads, kvType}, report);
        const std::string what = std::string(name) + (kvType == KvType::F16 ? ", f16 cache, " : ", f32 cache, ") + std::to_string(threads) + " threads";
        report.check(actual.size() == expected.size() && !actual.empty(), kernels->isa, what.c_str());
        if (actual.size() == expected.size()) report.equal(actual.data(), expected.data(), actual.size(), kernels->isa, what.c_str());
      }
    }
  }
}

void testRefusals(Report& report) {
  SmallModel model({ScaleKind::Tensor, DenseType::F16});
  Executable* executable = model.load(scalarKernels(), {maxRows, nPages, KvType::F16, 1, 1, 1});
  if (executable) {
    std::vector<int32_t> words = stepWords({4, 0});
    Array<int32_t> result;
    for (size_t n = 0; n < words.size(); n++) {
      Failure failure;
      report.check(!runStep(*executable, words.data(), n, result, failure), "engine", "a step that is cut off is refused");
    }
    words[2] = 1 << 30;
    Failure failure;
    report.check(!runStep(*executable, words.data(), words.size(), result, failure), "engine", "a wrong count is refused");
  }
  destroy(executable);
  report.check(liveAllocations().count == 0, "engine", "everything was given back");
}

int testMain(bool isShort) {
  Report report;
  std::vector<const Kernels*> tables;
  int count;
  const Variant* variants = kernelVariants(&count);
  for (int i = 0; i < count; i++) {
    char reason[160];
    if (whyRejected(i, reason, sizeof reason)) {
      std::printf("without %s: %s\n", variants[i].isa, reason);
    } else {
      tables.push_back(variants[i].kernels());
      std::printf("with %s\n", variants[i].isa);
    }
  }
  testPool(report);
  testScreen(tables, report);
  testModel(tables, "scale of a tensor, f16", {ScaleKind::Tensor, DenseType::F16}, report);
  if (!isShort) {
    testModel(tables, "scales of rows, bf16", {ScaleKind::Row, DenseType::BF16}, report);
    testModel(tables, "scales of groups, f32", {ScaleKind::Group, DenseType::F32}, report);
    testModel(tables, "scale of a tensor, q8_0", {ScaleKind::Tensor, DenseType::Q8_0}, report);
  }
  testRefusals(report);
  std::printf("%d checks, %d failures\n", report.checks, report.failures);
  return report.failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace bitnet::test

int main(int argc, char** argv) { return bitnet::test::testMain(argc > 1 && std::strcmp(argv[1], "short") == 0); }
