#include "vectors.h"

#include <cmath>
#include <cstdio>
#include <set>

#include "guarded.h"
#include "strips.h"

namespace bitnet::test {
namespace {

constexpr int nKernels = 26;  // arrangeQueries is checked with laneScores

class Reader {
 public:
  explicit Reader(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    if (file == nullptr) return;
    char chunk[65536];
    for (size_t n; (n = std::fread(chunk, 1, sizeof chunk, file)) > 0;) bytes_.insert(bytes_.end(), chunk, chunk + n);
    std::fclose(file);
    failed_ = bytes_.size() < 8 || std::memcmp(bytes_.data(), "BNKV", 4) != 0;
    at_ = 8;
  }

  bool failed() const { return failed_; }

  uint32_t count() {
    uint32_t value = 0;
    if (at_ + 8 > bytes_.size()) failed_ = true;
    if (!failed_) std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += 8;
    return value;
  }

  std::vector<uint8_t> block() {
    const size_t length = count();
    if (failed_ || at_ + length > bytes_.size()) {
      failed_ = true;
      return {};
    }
    std::vector<uint8_t> copy(length);
    if (length > 0) std::memcpy(copy.data(), bytes_.data() + at_, length);
    at_ += (length + 7) / 8 * 8;
    return copy;
  }

 private:
  std::vector<uint8_t> bytes_;
  size_t at_ = 0;
  bool failed_ = true;
};

// One case in progress: its arrays as guarded copies of exactly their size.
class Run {
 public:
  Run(const Kernels& kernels, const VectorCase& vectorCase, Report& report)
      : k(kernels), case_(vectorCase), report_(report) {}

  const Kernels& k;

  int number(size_t index) const { return static_cast<int>(case_.params[index]); }
  float real(size_t index) const { return static_cast<float>(case_.params[index]); }
  uint32_t word(size_t index) const { return static_cast<uint32_t>(case_.params[index]); }

  template <class T>
  Guarded<T> array(size_t index) const {
    const auto& bytes = case_.arrays[index];
    return Guarded<T>(reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T));
  }

  // Compares with array `index`, which is an answer.
  template <class T>
  void answer(size_t index, const T* actual) {
    const auto& bytes = case_.arrays[index];
    report_.equal(actual, reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T), k.isa,
                  case_.kernel.c_str());
  }

 private:
  const VectorCase& case_;
  Report& report_;
};

void runTernary(Run& run) {
  const int nRows = run.number(0), nX = run.number(1), cols = run.number(2);
  auto weights = run.array<uint8_t>(0);
  auto x = run.array<int8_t>(1);
  auto sums = run.array<int32_t>(2);
  Guarded<int32_t> acc(static_cast<size_t>(nRows) * nX);
  const size_t stride = static_cast<size_t>(cols), accStride = static_cast<size_t>(nRows);
  const PackedMatrix matrix = {weights.data(), stride / 4, nRows, cols};
  run.k.ternaryMatmul(matrix, {x.data(), stride, nX, cols}, sums.data(), {acc.data(), accStride, nX, nRows});
  run.answer(3, acc.data());
  if (!run.k.tiles) return;
  Strips strips(*run.k.tiles, x.data(), nX, cols);
  run.k.tiles->ternary(matrix, strips.matrix(), sums.data(), {acc.data(), accStride, nX, nRows});
  run.answer(3, acc.data());
}

void runScreen(Run& run, const std::string& kernel) {
  if (kernel == "residualSquares") {
    auto weights = run.array<float>(0);
    auto q = run.array<int8_t>(1);
    const float sum = run.k.residualSquares(weights.data(), q.data(), run.real(1), run.number(0));
    return run.answer(2, &sum);
  }
  if (kernel == "screenBounds") {
    auto scales = run.array<float>(0), losses = run.array<float>(1), norms = run.array<float>(2);
    auto high = run.array<int32_t>(3), low = run.array<int32_t>(4);
    const int n = run.number(0);
    const ScreenFactors x = {run.real(1), run.real(2), run.real(3), run.real(4), run.real(5)};
    Guarded<float> upper(n);
    run.k.screenBounds(x, {scales.data(), losses.data(), norms.data(), n}, {high.data(), low.data()}, upper.data());
    return run.answer(5, upper.data());
  }
  const int nRows = run.number(0), nX = run.number(1), cols = run.number(2);
  auto rows = run.array<int8_t>(0);
  auto x = run.array<int8_t>(1);
  auto sums = run.array<int32_t>(2);
  Guarded<int32_t> acc(static_cast<size_t>(nRows) * nX);
  const size_t stride = static_cast<size_t>(cols), accStride = static_cast<size_t>(nRows);
  const Int8Matrix table = {rows.data(), stride, nRows, cols};
  run.k.screenDots(table, {x.data(), stride, nX, cols}, sums.data(), {acc.data(), accStride, nX, nRows});
  run.answer(3, acc.data());
  if (!run.k.tiles || !run.k.tiles->screen) return;
  Strips strips(*run.k.tiles, x.data(), nX, cols);
  run.k.tiles->screen(table, strips.matrix(), {acc.data(), accStride, nX, nRows});
  run.answer(3, acc.data());
}

void runScale(Run& run, const std::string& kernel) {
  const int n = run.number(0);
  if (kernel == "multiply") {
    auto x = run.array<float>(0);
    run.k.multiply(x.data(), n, run.real(1));
    return run.answer(1, x.data());
  }
  auto acc = run.array<int32_t>(0);
  Guarded<float> out(n);
  if (kernel == "scaleTensor") {
    run.k.scaleTensor(acc.data(), n, run.real(1), out.data());
    return run.answer(1, out.data());
  }
  auto scale = run.array<float>(1);
  if (kernel == "scaleRow") {
    run.k.scaleRow(acc.data(), n, scale.data(), run.real(1), out.data());
    return run.answer(2, out.data());
  }
  auto sum = run.array<float>(2);
  run.k.foldGroup(acc.data(), n, scale.data(), run.number(1), sum.data());
  run.answer(3, sum.data());
}

void runRow(Run& run, const std::string& kernel) {
  const int n = run.number(0);
  auto x = run.array<float>(0);
  Guarded<float> out(n);
  if (kernel == "sumSquares") {
    const float sum = run.k.sumSquares(x.data(), n);
    run.answer(1, &sum);
  } else if (kernel == "maximum") {
    const float most = run.k.maximum(x.data(), n);
    run.answer(1, &most);
  } else if (kernel == "absMaxBits") {
    const uint32_t most = run.k.absMaxBits(x.data(), n);
    run.answer(1, &most);
  } else if (kernel == "add") {
    auto y = run.array<float>(1);
    run.k.add(x.data(), y.data(), n);
    run.answer(2, x.data());
  } else if (kernel == "divide") {
    run.k.divide(x.data(), n, run.real(1), out.data());
    run.answer(1, out.data());
  } else if (kernel == "normalise") {
    auto weight = run.array<float>(1);
    const uint32_t most = run.k.normalise(x.data(), run.real(1), weight.data(), n, out.data());
    run.answer(2, out.data());
    run.answer(3, &most);
  } else if (kernel == "quantise") {
    const int nPadded = run.number(1);
    Guarded<int8_t> q(nPadded);
    const int32_t sum = run.k.quantise(x.data(), run.real(2), n, nPadded, q.data());
    run.answer(1, q.data());
    run.answer(2, &sum);
  } else if (kernel == "narrow") {
    Guarded<uint16_t> halves(n);
    run.k.narrow(x.data(), n, halves.data());
    run.answer(1, halves.data());
  } else if (kernel == "gate") {
    auto up = run.array<float>(1);
    run.k.gate(static_cast<GateFn>(run.number(1)), x.data(), up.data(), n, out.data());
    run.answer(2, out.data());
  } else if (kernel == "rope") {
    auto table = run.array<float>(1);
    run.k.rope(x.data(), table.data(), n, static_cast<Pairing>(run.number(1)));
    run.answer(2, x.data());
  } else if (kernel == "expStripes") {
    auto stripes = run.array<float>(1);
    run.k.expStripes(x.data(), n, run.real(1), run.real(2), stripes.data());
    run.answer(2, x.data());
    run.answer(3, stripes.data());
  } else if (kernel == "perturb") {
    const NoiseKey key = {run.word(3), run.word(4), run.word(5)};
    run.k.perturb(x.data(), n, {run.real(2), key, run.word(1)}, out.data());
    run.answer(1, out.data());
  }
}

void runDense(Run& run, const std::string& kernel) {
  const int n = run.number(0);
  if (kernel == "widen") {
    auto row = run.array<uint8_t>(0);
    Guarded<float> out(n);
    run.k.widen(static_cast<DenseType>(run.number(1)), row.data(), n, out.data());
    return run.answer(1, out.data());
  }
  const auto type = static_cast<DenseType>(run.number(1));
  auto rows = run.array<uint8_t>(0);
  auto x = run.array<float>(1);
  Guarded<float> out(run.number(2));
  const size_t rowBytes = static_cast<size_t>(n) * (type == DenseType::F32 ? 4 : 2);
  run.k.denseDots(type, {rows.data(), rowBytes, run.number(2), n}, x.data(), out.data());
  run.answer(2, out.data());
}

// Parameter 3 is the number of queries; 4 says how far apart they, their scores or weights and their sums lie beyond what they take; the gaps
// hold the same before and after. Weights of one query follow each other, or those of one key (by lane). Sums go on, begin anew, or are
// added to a total.
void runAttention(Run& run, const std::string& kernel) {
  const int headDim = run.number(0), nKeys = run.number(2), nQ = run.number(3);
  const size_t gap = static_cast<size_t>(run.number(4)), wide = static_cast<size_t>(headDim) + gap, narrow = static_cast<size_t>(nKeys) + gap;
  const auto type = static_cast<KvType>(run.number(1));
  auto x = run.array<float>(0);
  auto bytes = run.array<uint8_t>(1);
  const CachedHead cached = {type, bytes.data(), nKeys, headDim};
  auto out = run.array<float>(2);
  if (kernel == "scores") {
    run.k.scores({x.data(), wide, nQ, headDim}, cached, {out.data(), narrow, nQ, nKeys});
  } else {
    const bool byLane = run.number(5) != 0;
    const int kind = run.number(6);
    Guarded<float> acc(static_cast<int>(wide) * nQ);
    for (size_t i = 0; i < wide * static_cast<size_t>(nQ); i++) acc.data()[i] = NAN;
    const ValueSums sums = kind == 2 ? ValueSums{acc.data(), wide, true, out.data()} : ValueSums{out.data(), wide, kind == 1, nullptr};
    run.k.accumulateValues({x.data(), byLane ? 1 : narrow, byLane ? static_cast<size_t>(nQ) : 1, nQ}, cached, sums);
  }
  run.answer(3, out.data());
}

// The order of arranged queries is the kernels' own, so that the first two are checked together. Lanes without a query hold 0.
void runLaneScores(Run& run) {
  const int headDim = run.number(0), nKeys = run.number(1), nQ = run.number(2);
  const int lanes = (nQ + 15) / 16 * 16;
  const size_t stride = static_cast<size_t>(lanes), width = static_cast<size_t>(headDim);
  auto q = run.array<float>(0);
  auto keys = run.array<float>(1);
  Guarded<float> arranged(headDim * lanes), scores(nKeys * lanes);
  std::memset(arranged.data(), 0, width * stride * sizeof(float));
  // In two parts, as the rows of a tile come.
  const int first = nQ / 3;
  run.k.arrangeQueries({q.data(), width, first, headDim}, {arranged.data(), stride, headDim, lanes});
  run.k.arrangeQueries({q.data() + first * headDim, width, nQ - first, headDim}, {arranged.data() + first, stride, headDim, lanes - first});
  run.k.laneScores({arranged.data(), stride, headDim, lanes}, {keys.data(), width, nKeys, headDim}, {scores.data(), stride, nKeys, lanes});
  run.answer(2, scores.data());
}

void runLaneSoftmax(Run& run) {
  const int stride = run.number(0), nKeys = run.number(1);
  auto scores = run.array<float>(0);
  Guarded<float> denominators(stride);
  run.k.laneSoftmax({scores.data(), static_cast<size_t>(stride), nKeys, stride}, run.real(2), denominators.data());
  run.answer(1, scores.data());
  run.answer(2, denominators.data());
}

bool isOneOf(const std::string& kernel, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (kernel == name) return true;
  }
  return false;
}

bool runCase(Run& run, const std::string& kernel) {
  if (kernel == "ternaryMatmul") {
    runTernary(run);
  } else if (isOneOf(kernel, {"screenDots", "screenBounds", "residualSquares"})) {
    runScreen(run, kernel);
  } else if (isOneOf(kernel, {"scaleTensor", "scaleRow", "foldGroup", "multiply"})) {
    runScale(run, kernel);
  } else if (isOneOf(kernel, {"sumSquares", "maximum", "absMaxBits", "add", "divide", "normalise", "quantise", "narrow", "gate",
                              "rope", "expStripes", "perturb"})) {
    runRow(run, kernel);
  } else if (isOneOf(kernel, {"widen", "denseDots"})) {
    runDense(run, kernel);
  } else if (isOneOf(kernel, {"scores", "accumulateValues"})) {
    runAttention(run, kernel);
  } else if (kernel == "laneScores") {
    runLaneScores(run);
  } else if (kernel == "laneSoftmax") {
    runLaneSoftmax(run);
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::vector<VectorCase> readVectors(const char* path) {
  Reader reader(path);
  std::vector<VectorCase> cases;
  while (!reader.failed()) {
    VectorCase next;
    const auto name = reader.block();
    if (reader.failed()) return {};
    if (name.empty()) return cases;
    next.kernel.assign(name.begin(), name.end());
    const auto params = reader.block();
    next.params.resize(params.size() / sizeof(double));
    std::memcpy(next.params.data(), params.data(), params.size());
    const uint32_t nArrays = reader.count();
    for (uint32_t i = 0; i < nArrays && !reader.failed(); i++) next.arrays.push_back(reader.block());
    cases.push_back(next);
  }
  return {};
}

bool checkVectors(const Kernels& kernels, const std::vector<VectorCase>& cases, Report& report) {
  std::set<std::string> seen;
  for (const auto& vectorCase : cases) {
    Run run(kernels, vectorCase, report);
    if (!runCase(run, vectorCase.kernel)) {
      std::printf("FAIL unknown kernel \"%s\" in the vectors\n", vectorCase.kernel.c_str());
      return false;
    }
    seen.insert(vectorCase.kernel);
  }
  if (seen.size() != nKernels) std::printf("FAIL vectors for %zu kernels, expected %d\n", seen.size(), nKernels);
  return seen.size() == nKernels;
}

}  // namespace bitnet::test
