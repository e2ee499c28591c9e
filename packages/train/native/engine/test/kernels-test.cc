// Runs every operation with every table of kernels that this machine has, and prints a hash of all that each leaves in its buffers: equal lines,
// of whatever machines, are equal bits. Products in bf16 are left out, whose order is the instruction set's.
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../operations.h"
#include "../team.h"

namespace {

using namespace bitnet::train;
using Floats = std::vector<float>;

// Uniform in [−size, size), from a linear congruence (Knuth's MMIX).
Floats noise(size_t n, uint64_t seed, float size = 1.0f) {
  Floats out(n);
  uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  for (auto& x : out) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    x = size * (static_cast<float>(state >> 40) / static_cast<float>(1 << 23) - 1.0f);
  }
  return out;
}

Floats magnitudes(Floats values, float least) {
  for (auto& x : values) x = std::fabs(x) + least;
  return values;
}

class Hash {
 public:
  // −0 counts as 0.
  void add(const Floats& values) {
    for (const float x : values) {
      const float plain = x == 0.0f ? 0.0f : x;
      uint32_t bits;
      std::memcpy(&bits, &plain, sizeof bits);
      word(bits);
    }
  }
  void add(double x) {
    uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    word(static_cast<uint32_t>(bits));
    word(static_cast<uint32_t>(bits >> 32));
  }
  uint64_t value() const { return state_; }

 private:
  // Fowler, Noll and Vo's, by words.
  void word(uint32_t bits) { state_ = (state_ ^ bits) * 0x100000001b3ull; }
  uint64_t state_ = 0xcbf29ce484222325ull;
};

void products(const TrainKernels& k, Hash& hash) {
  constexpr int sizes[][3] = {{1, 1, 1}, {13, 33, 7}, {30, 20, 257}, {12, 32, 256}, {5, 70, 600}, {200, 17, 40}};
  for (const auto& [m, n, inner] : sizes) {
    const Floats a = noise(static_cast<size_t>(m) * inner, 1), b = noise(static_cast<size_t>(n) * inner, 2);
    const Floats rows = magnitudes(noise(m, 4), 1.0f), columns = magnitudes(noise(inner, 5), 1.0f);
    for (int flags = 0; flags < 8; flags++) {
      Floats out = noise(static_cast<size_t>(m) * n, 3);
      Product p{};
      p.a = a.data(), p.b = b.data(), p.out = out.data(), p.m = m, p.n = n, p.k = inner;
      p.transA = flags & 1, p.transB = flags & 2, p.adds = flags & 4, p.factor = 0.37f;
      p.rowDivisors = rows.data(), p.innerDivisors = p.transA ? columns.data() : nullptr;
      if (!product(k, p)) std::exit(1);
      hash.add(out);
    }
    Floats whole = a, trits = b, out(static_cast<size_t>(m) * n);
    for (auto& x : whole) x = std::nearbyint(127.0f * x);
    for (auto& x : trits) x = std::nearbyint(1.4f * x);
    Product p{};
    p.a = whole.data(), p.b = trits.data(), p.out = out.data(), p.m = m, p.n = n, p.k = inner;
    p.transB = p.isTernary = true, p.factor = 0.37f, p.rowDivisors = rows.data();
    if (!product(k, p)) std::exit(1);
    hash.add(out);
    stripedProduct(k, a.data(), b.data(), out.data(), m, n, inner);
    hash.add(out);
  }
}

void rowsAndElements(const TrainKernels& k, Hash& hash) {
  constexpr int sizes[][2] = {{1, 1}, {3, 15}, {5, 16}, {300, 33}, {513, 48}};
  for (const auto& [rows, width] : sizes) {
    const size_t n = static_cast<size_t>(rows) * width;
    const Floats x = noise(n, 1, 3.0f), weight = noise(width, 2), dOut = noise(n, 3);
    Floats out(n), r(rows), dX = noise(n, 4), dWeight = noise(width, 5);
    rmsNorm(k, x.data(), weight.data(), 1e-5f, out.data(), r.data(), rows, width);
    if (!rmsNormGradient(k, x.data(), weight.data(), r.data(), dOut.data(), dX.data(), dWeight.data(), rows, width)) std::exit(1);
    for (const auto* each : {&out, &r, &dX, &dWeight}) hash.add(*each);
    if (!quantise(k, x.data(), out.data(), r.data(), rows, width)) std::exit(1);
    hash.add(out), hash.add(r);
    for (const auto fn : {GateFn::relu2, GateFn::silu}) {
      const Floats up = noise(n, 6);
      Floats dUp = noise(n, 7);
      gate(k, fn, x.data(), up.data(), out.data(), n);
      hash.add(out);
      gateGradient(k, fn, x.data(), up.data(), dOut.data(), dX.data(), dUp.data(), n);
      hash.add(dX), hash.add(dUp);
    }
    add(k, x.data(), dOut.data(), out.data(), n);
    hash.add(out);
    addScaled(k, x.data(), dOut.data(), 0.7f, out.data(), n);
    hash.add(out);
    const Dropout p{x.data(), out.data(), width, 0xdeadbeef, 7, 3u << 16, 1000, 0x4ccd, 1.4285714f, true};
    dropout(k, p, rows);
    hash.add(out);
    for (const auto form : {WeightForm::ternary, WeightForm::binary}) {
      hash.add(formWeights(k, x.data(), n, form, out.data()));
      hash.add(out);
    }
    Floats weights = noise(n, 8), m = noise(n, 9), v = magnitudes(noise(n, 10), 0.0f);
    const Adamw step{weights.data(), dOut.data(), m.data(), v.data(), 2.5e-3f, 0.9f, 0.95f, 0.1f, 0.05f, 3.69f, 7.01f, 1e-8f, 0.1f, 0.7f};
    adamw(k, step, n);
    for (const auto* each : {&weights, &m, &v}) hash.add(*each);
    hash.add(k.sumSquares(x.data(), n));
  }
}

void attentions(const TrainKernels& k, Hash& hash) {
  struct Case {
    int headDim, nHeads, nKvHeads;
    std::vector<int32_t> starts;
  };
  for (const auto& [headDim, nHeads, nKvHeads, starts] : {Case{6, 4, 2, {0, 5, 6, 8}}, Case{32, 2, 1, {0, 19, 289}}, Case{48, 3, 3, {0, 33, 49}}}) {
    const int rows = starts.back(), nDocuments = static_cast<int>(starts.size()) - 1;
    const size_t wide = static_cast<size_t>(rows) * nHeads * headDim, narrow = static_cast<size_t>(rows) * nKvHeads * headDim;
    const Floats q = noise(wide, 1, 2.0f), keys = noise(narrow, 2, 2.0f), v = noise(narrow, 3), dOut = noise(wide, 4);
    Floats out(wide), stats(2 * static_cast<size_t>(rows) * nHeads), dQ = noise(wide, 5), dK = noise(narrow, 6), dV = noise(narrow, 7);
    const Attention p{starts.data(), nHeads, nKvHeads, headDim, 1.0f / std::sqrt(static_cast<float>(headDim)), q.data(), keys.data(), v.data(),
                      out.data(), stats.data(), dOut.data(), dQ.data(), dK.data(), dV.data()};
    if (!attention(k, p, nDocuments, false) || !attention(k, p, nDocuments, true)) std::exit(1);
    for (const auto* each : {&out, &stats, &dQ, &dK, &dV}) hash.add(*each);
    const Floats table = noise(static_cast<size_t>(rows) * headDim, 8);
    for (const bool isInverse : {false, true}) {
      rope(k, out.data(), starts.data(), nDocuments, nHeads, headDim, table.data(), isInverse);
      hash.add(out);
    }
  }
}

void losses(const TrainKernels& k, Hash& hash) {
  for (const int vocab : {1, 19, 64, 130}) {
    constexpr int rows = 9;
    Floats logits = noise(static_cast<size_t>(rows) * vocab, 1, 20.0f), weights(rows), found(rows);
    std::vector<int32_t> labels(rows);
    for (int row = 0; row < rows; row++) labels[row] = row * 7 % vocab, weights[row] = static_cast<float>(row % 4) / 2;
    crossEntropy(k, CrossEntropy{logits.data(), vocab, labels.data(), weights.data(), found.data(), true, 1.0f / 7}, rows);
    hash.add(found), hash.add(logits);
  }
}

}  // namespace

int main() {
  for (const char* isa : {"avx512bf16", "avx512vnni", "avx512", "avx2", "neon", "scalar"}) {
    const TrainKernels* kernels = chooseKernels(isa);
    if (kernels == nullptr) continue;
    for (const int threads : {1, 3}) {
      Team::instance().resize(threads);
      Hash hash;
      products(*kernels, hash);
      rowsAndElements(*kernels, hash);
      attentions(*kernels, hash);
      losses(*kernels, hash);
      std::printf("%s %d %016" PRIx64 "\n", isa, threads, hash.value());
    }
  }
}
