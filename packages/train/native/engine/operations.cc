#include "operations.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "team.h"

namespace bitnet::train {
namespace {

constexpr size_t elementsPerTask = 1 << 15;
constexpr size_t weightsPerSum = 1 << 18;

int tasksOf(size_t n, size_t each) { return static_cast<int>((n + each - 1) / each); }

// Memory that is kept from call to call, and grows.
class Scratch {
 public:
  float* of(size_t n) {
    if (n <= size_) return data_;
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
    void* data = nullptr;
    if (posix_memalign(&data, 64, n * sizeof(float)) != 0) return nullptr;
    data_ = static_cast<float*>(data);
    size_ = n;
    return data_;
  }

 private:
  float* data_ = nullptr;
  size_t size_ = 0;
};

Scratch packedA, packedB, innerFactors, partials, attentions;

// Calls each(first, end) for runs of `n` elements.
template <class Fn>
void eachRun(size_t n, size_t length, Fn each) {
  Team::instance().run(tasksOf(n, length), [&](int task, int) {
    const size_t first = static_cast<size_t>(task) * length;
    each(first, first + length < n ? first + length : n);
  });
}

// The same for rows, in runs that fill a thread for some time.
template <class Fn>
void eachRows(int rows, int width, Fn each) {
  const size_t length = elementsPerTask / static_cast<size_t>(width) + 1;
  eachRun(static_cast<size_t>(rows), length, [&](size_t first, size_t end) { each(static_cast<int>(first), static_cast<int>(end)); });
}

}  // namespace

const TrainKernels* chooseKernels(const char* name) {
  struct Choice {
    const TrainKernels* kernels;
    bool runs;
  };
  Choice choices[5] = {};
  int n = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  choices[n++] = {avx512bf16TrainKernels(), vnni && __builtin_cpu_supports("avx512bf16")};
  choices[n++] = {avx512vnniTrainKernels(), vnni};
  choices[n++] = {avx512TrainKernels(), avx512};
  choices[n++] = {avx2TrainKernels(), avx2};
#elif defined(__aarch64__)
  choices[n++] = {neonTrainKernels(), true};
#endif
  choices[n++] = {scalarTrainKernels(), true};
  for (int i = 0; i < n; i++) {
    const auto& [kernels, runs] = choices[i];
    if (kernels && runs && (name == nullptr || std::strcmp(name, kernels->isa) == 0)) return kernels;
  }
  return nullptr;
}

namespace {

// Calls each(first, end) for rows of a product: few of them in smaller parts, so that every thread has some.
template <class Fn>
void eachPart(const TrainKernels& k, int rows, Fn each) {
  Team& team = Team::instance();
  int length = rowsPerTask;
  while (length > k.tileRows && rows < 2 * length * team.threads()) length -= k.tileRows;
  team.run((rows + length - 1) / length, [&](int task, int) {
    const int first = task * length;
    each(first, first + length < rows ? first + length : rows);
  });
}

bool productOfTrits(const TrainKernels& k, Product p) {
  const int nPanels = (p.n + k.panelCols - 1) / k.panelCols;
  const size_t columns = static_cast<size_t>(byteColumns(p.k));
  p.bytesA = reinterpret_cast<int8_t*>(packedA.of(static_cast<size_t>(p.m + k.tileRows) * columns / sizeof(float)));
  p.bytesB = reinterpret_cast<int8_t*>(packedB.of(static_cast<size_t>(nPanels) * k.panelCols * columns / sizeof(float)));
  if (p.bytesA == nullptr || p.bytesB == nullptr) return false;
  Team::instance().run(nPanels, [&](int panel, int) { k.packTrits(p, panel); });
  eachPart(k, p.m, [&](int first, int end) { k.multiplyTrits(p, first, end); });
  return true;
}

// Columns that are packed at a time: so many rows of a transposed matrix stay in the cache from tile to tile.
constexpr size_t columnsPerTask = 128;

bool findInnerFactors(Product& p) {
  if (p.innerDivisors == nullptr) return true;
  float* factors = innerFactors.of(static_cast<size_t>(p.k));
  if (factors == nullptr) return false;
  for (int i = 0; i < p.k; i++) factors[i] = 1.0f / p.innerDivisors[i];
  p.innerFactors = factors;
  return true;
}

bool productOfBrains(const TrainKernels& k, Product p) {
  const size_t pairs = (static_cast<size_t>(p.k) + 1) / 2;
  const int nPanels = (p.n + k.panelCols - 1) / k.panelCols;
  p.packedA = packedA.of((static_cast<size_t>(p.m) + k.tileRows) * pairs);
  p.packedB = packedB.of(static_cast<size_t>(nPanels) * k.panelCols * pairs);
  if (p.packedA == nullptr || p.packedB == nullptr || !findInnerFactors(p)) return false;
  Team::instance().run(nPanels, [&](int panel, int) { k.packBrainsB(p, panel); });
  if (p.transA) eachRun(pairs, columnsPerTask / 2, [&](size_t first, size_t end) { k.packBrainsA(p, static_cast<int>(first), static_cast<int>(end)); });
  eachPart(k, p.m, [&](int first, int end) { k.multiplyBrains(p, first, end); });
  return true;
}

}  // namespace

bool product(const TrainKernels& k, Product p) {
  if (p.isBrain) return k.multiplyBrains && !p.transB && productOfBrains(k, p);
  if (p.isTernary && k.multiplyTrits && p.transB && !p.transA && !p.adds && p.k <= maxExactColumns) return productOfTrits(k, p);
  const int nPanels = (p.n + k.panelCols - 1) / k.panelCols;
  const int nTiles = (p.m + k.tileRows - 1) / k.tileRows;
  p.packedB = packedB.of(static_cast<size_t>(nPanels) * k.panelCols * p.k);
  if (p.packedB == nullptr) return false;
  Team& team = Team::instance();
  team.run(nPanels, [&](int panel, int) { k.packB(p, panel); });
  if (!findInnerFactors(p)) return false;
  if (p.transA) {
    p.packedA = packedA.of(static_cast<size_t>(nTiles) * k.tileRows * p.k);
    if (p.packedA == nullptr) return false;
    eachRun(static_cast<size_t>(p.k), columnsPerTask, [&](size_t first, size_t end) { k.packA(p, static_cast<int>(first), static_cast<int>(end)); });
  }
  eachPart(k, p.m, [&](int first, int end) { k.multiply(p, first, end); });
  return true;
}

void stripedProduct(const TrainKernels& k, const float* a, const float* b, float* out, int m, int n, int columns) {
  constexpr int each = 32;
  Team::instance().run((m + each - 1) / each, [&](int task, int) {
    const int first = task * each;
    k.stripedDots(a, b, out, first, first + each < m ? first + each : m, n, columns);
  });
}

void embed(const float* table, const int32_t* ids, int rows, int width, float* out) {
  const size_t bytes = static_cast<size_t>(width) * sizeof(float);
  for (int row = 0; row < rows; row++)
    std::memcpy(out + static_cast<size_t>(row) * width, table + static_cast<size_t>(ids[row]) * width, bytes);
}

void embedGradient(const int32_t* ids, const float* dOut, int rows, int width, float* dTable) {
  eachRun(static_cast<size_t>(width), 64, [&](size_t first, size_t end) {
    for (int row = 0; row < rows; row++) {
      float* to = dTable + static_cast<size_t>(ids[row]) * width;
      const float* from = dOut + static_cast<size_t>(row) * width;
      for (size_t i = first; i < end; i++) to[i] += from[i];
    }
  });
}

void rmsNorm(const TrainKernels& k, const float* x, const float* weight, float eps, float* out, float* r, int rows, int width) {
  eachRows(rows, width, [&](int first, int end) { k.rmsNorm(x, weight, eps, out, r, first, end, width); });
}

bool rmsNormGradient(const TrainKernels& k, const float* x, const float* weight, const float* r, const float* dOut, float* dX, float* dWeight, int rows,
                     int width) {
  const int nChains = tasksOf(static_cast<size_t>(rows), chainLength);
  float* sums = partials.of(static_cast<size_t>(nChains) * width);
  if (sums == nullptr) return false;
  Team::instance().run(nChains, [&](int task, int) {
    const int first = task * chainLength, end = first + chainLength < rows ? first + chainLength : rows;
    k.rmsNormGradient(x, weight, r, dOut, dX, sums + static_cast<size_t>(task) * width, first, end, width);
  });
  for (int chain = 0; chain < nChains; chain++)
    for (int i = 0; i < width; i++) dWeight[i] += sums[static_cast<size_t>(chain) * width + i];
  return true;
}

bool quantise(const TrainKernels& k, const float* x, float* q, float* s, int rows, int width) {
  std::atomic<bool> isFinite{true};
  eachRows(rows, width, [&](int first, int end) {
    if (!k.quantise(x, q, s, first, end, width)) isFinite.store(false, std::memory_order_relaxed);
  });
  return isFinite.load();
}

float formWeights(const TrainKernels& k, const float* master, size_t n, WeightForm form, float* out) {
  double magnitudes = 0, plain = 0;
  for (size_t first = 0; first < n; first += weightsPerSum) {
    double m, p;
    k.sumWeights(master + first, first + weightsPerSum < n ? weightsPerSum : n - first, &m, &p);
    magnitudes += m;
    plain += p;
  }
  const float scale = static_cast<float>(magnitudes / static_cast<double>(n));
  const float mean = static_cast<float>(plain / static_cast<double>(n));
  const float inverse = 1.0f / (scale > 1e-5f ? scale : 1e-5f);
  eachRun(n, elementsPerTask, [&](size_t first, size_t end) {
    if (form == WeightForm::ternary) k.trits(master + first, out + first, end - first, inverse);
    else k.signs(master + first, out + first, end - first, mean);
  });
  return scale;
}

void rope(const TrainKernels& k, float* x, const int32_t* starts, int nDocuments, int nHeads, int headDim, const float* table, bool isInverse) {
  const size_t width = static_cast<size_t>(nHeads) * headDim;
  Team::instance().run(nDocuments, [&](int document, int) {
    k.rope(x + static_cast<size_t>(starts[document]) * width, starts[document + 1] - starts[document], nHeads, headDim, table, isInverse);
  });
}

bool attention(const TrainKernels& k, const Attention& p, int nDocuments, bool isGradient) {
  int longest = 0;
  for (int d = 0; d < nDocuments; d++) {
    const int n = p.starts[d + 1] - p.starts[d];
    if (n > longest) longest = n;
  }
  Team& team = Team::instance();
  const size_t each = attentionScratch(longest, p.headDim);
  float* scratch = attentions.of(each * static_cast<size_t>(team.threads()));
  if (scratch == nullptr) return false;
  team.run(nDocuments * p.nKvHeads, [&](int part, int thread) {
    float* own = scratch + each * static_cast<size_t>(thread);
    (isGradient ? k.attentionGradient : k.attention)(p, part / p.nKvHeads, part % p.nKvHeads, own);
  });
  return true;
}

void gate(const TrainKernels& k, GateFn fn, const float* gate, const float* up, float* out, size_t n) {
  eachRun(n, elementsPerTask, [&](size_t first, size_t end) { k.gate(fn, gate + first, up + first, out + first, end - first); });
}

void gateGradient(const TrainKernels& k, GateFn fn, const float* gate, const float* up, const float* dOut, float* dGate, float* dUp, size_t n) {
  eachRun(n, elementsPerTask, [&](size_t first, size_t end) {
    k.gateGradient(fn, gate + first, up + first, dOut + first, dGate + first, dUp + first, end - first);
  });
}

void add(const TrainKernels& k, const float* a, const float* b, float* out, size_t n) {
  eachRun(n, elementsPerTask, [&](size_t first, size_t end) { k.add(a + first, b + first, out + first, end - first); });
}

void addScaled(const TrainKernels& k, const float* a, const float* b, float factor, float* out, size_t n) {
  eachRun(n, elementsPerTask, [&](size_t first, size_t end) { k.addScaled(a + first, b + first, factor, out + first, end - first); });
}

void dropout(const TrainKernels& k, const Dropout& p, int rows) {
  eachRows(rows, p.width, [&](int first, int end) { k.dropout(p, first, end); });
}

void crossEntropy(const TrainKernels& k, const CrossEntropy& p, int rows) {
  eachRows(rows, p.vocab, [&](int first, int end) { k.crossEntropy(p, first, end); });
}

void adamw(const TrainKernels& k, const Adamw& p, size_t n) {
  eachRun(n, elementsPerTask, [&](size_t first, size_t end) { k.adamw(p, first, end); });
}

}  // namespace bitnet::train
