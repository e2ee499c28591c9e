// Speed of the kernels on one core: bytes/s of decode against a bare read of the same memory, multiply-adds/s of tiles against a bare loop
// of the same instruction. Working sets for bytes/s are larger than the last-level cache. Best of several repeats.
// Usage: kernel-bench [isa].
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../isa.h"
#include "bare-loops.h"
#include "../bare-read.h"

namespace bitnet::bench {
namespace {

constexpr size_t workingSet = size_t{256} << 20;
constexpr int cols = 2560;
constexpr int ffn = 6912;

uint8_t* allocate(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 4096, bytes) != 0) std::abort();
  return static_cast<uint8_t*>(memory);
}

uint8_t* randomBytes(size_t bytes) {
  auto* words = reinterpret_cast<uint32_t*>(allocate(bytes));
  uint32_t state = 1;
  for (size_t i = 0; i < bytes / 4; i++) words[i] = state = state * 1664525u + 1013904223u;
  return reinterpret_cast<uint8_t*>(words);
}

volatile uint64_t sink;

double bareRead(const uint8_t* data) {
  const auto* words = reinterpret_cast<const uint64_t*>(data);
  return workingSet / bestSeconds(7, [&] { sink = sink + sumWords(words, workingSet / 8); });
}

// ---- the kernels ----

struct Buffers {
  uint8_t* weights;  // workingSet
  int8_t* x;         // [512, ffn]
  int8_t* strips;    // [128, ffn]
  float* floats;     // [ffn]
  int32_t* sums;
  int32_t* acc;
};

// In chunks, as a step does.
void benchDecode(const Kernels& k, const Buffers& b, double readSpeed) {
  constexpr int chunkRows = 256;
  for (const int columns : {cols, ffn}) {
    const size_t rowBytes = columns / 4;
    const int nRows = static_cast<int>(workingSet / rowBytes);
    const double seconds = bestSeconds(7, [&] {
      for (int r = 0; r < nRows; r += chunkRows) {
        const int count = nRows - r < chunkRows ? nRows - r : chunkRows;
        k.ternaryMatmul({b.weights + r * rowBytes, rowBytes, count, columns}, {b.x, ffn, 1, columns}, b.sums, {b.acc, chunkRows, 1, count});
      }
    });
    const double speed = nRows * rowBytes / seconds;
    std::printf("%-11s ternary decode, %d columns: %6.1f GB/s, %3.0f %% of a bare read\n", k.isa, columns, speed * 1e-9,
                100 * speed / readSpeed);
  }
}

// As a step does: in chunks of weights whose sums stay in the cache.
void multiplyChunks(const Kernels& k, const Buffers& b, int nRows, int nX, int columns) {
  constexpr int panel = 128, chunkRows = 128;
  const size_t rowBytes = static_cast<size_t>(columns) / 4;
  for (int i = 0; i < nX; i += panel) {
    const int n = nX - i < panel ? nX - i : panel;
    const Int8Matrix x = {b.x + static_cast<size_t>(i) * ffn, ffn, n, columns};
    const bool byTiles = k.tiles != nullptr && n >= k.tiles->ternaryFrom;
    if (byTiles) k.tiles->arrange(x, b.strips);
    for (int r = 0; r < nRows; r += chunkRows) {
      const int count = nRows - r < chunkRows ? nRows - r : chunkRows;
      const PackedMatrix rows = {b.weights + static_cast<size_t>(r) * rowBytes, rowBytes, count, columns};
      const SumMatrix acc = {b.acc, chunkRows, n, count};
      if (byTiles) {
        k.tiles->ternary(rows, {b.strips, static_cast<size_t>(stripRows) * columns, n, columns}, b.sums, acc);
      } else {
        k.ternaryMatmul(rows, x, b.sums, acc);
      }
    }
  }
}

void benchTiles(const Kernels& k, const Buffers& b) {
  const double peak = bareMultiply(k.isa);
  if (peak > 0) std::printf("%-11s bare multiply loop: %6.1f GMAC/s\n", k.isa, peak * 1e-9);
  for (const int columns : {cols, ffn}) {
    const int nRows = columns == cols ? ffn : cols;
    for (const int nX : {1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 128, 512}) {
      const double seconds = bestSeconds(nX > 100 ? 4 : 10, [&] { multiplyChunks(k, b, nRows, nX, columns); });
      const double speed = 1.0 * nRows * columns * nX / seconds;
      std::printf("%-11s ternary %d × %d, %3d activations: %6.1f GMAC/s", k.isa, nRows, columns, nX, speed * 1e-9);
      if (peak > 0) std::printf(", %3.0f %% of the bare loop", 100 * speed / peak);
      std::printf("\n");
    }
  }
}

// Activations and scales in groups of 128 beside the same codes with one scale each, the two taking turns. A single row of activations reads
// the whole working set, many a matrix.
void benchGroups(const Kernels& k, const Buffers& b) {
  constexpr int columns = 2048, nGroups = columns / 128, chunkRows = 128, most = 128;
  constexpr size_t rowBytes = columns / 4;
  constexpr int allRows = workingSet / rowBytes;
  auto* const scales = reinterpret_cast<float*>(allocate(size_t{allRows} * nGroups * sizeof(float)));
  for (size_t at = 0; at < size_t{allRows} * nGroups; at++) scales[at] = 0.01f * static_cast<float>(at % 50 + 1);
  auto* const out = reinterpret_cast<float*>(b.acc);
  for (const int nX : {1, 4, 16, most}) {
    const int nRows = nX == 1 ? allRows : 6144;
    // The order of activations takes no part in the time: b.x may stand for arranged ones, b.sums for offsets and b.floats for reciprocals.
    const GroupedRows x = {b.x, columns, b.floats, 0, b.sums, 0, nX, nGroups};
    double best[2] = {1e9, 1e9};
    for (int turn = 0; turn < 5; turn++) {
      best[0] = std::min(best[0], bestSeconds(1, [&] {
        for (int r = 0; r < nRows; r += chunkRows)
          k.groupDots({b.weights + r * rowBytes, rowBytes, chunkRows, columns}, x, {scales + static_cast<size_t>(r) * nGroups, nGroups, 1}, {out, chunkRows, nX, chunkRows});
      }));
      best[1] = std::min(best[1], bestSeconds(1, [&] { multiplyChunks(k, b, nRows, nX, columns); }));
    }
    const double macs = 1.0 * nRows * columns * nX;
    for (int i = 0; i < 2; i++) {
      std::printf("%-11s %s, %d × %d, %3d activations: %6.1f GMAC/s\n", k.isa, i == 0 ? "groups of 128" : "one scale for the same", nRows, columns, nX,
                  macs / best[i] * 1e-9);
    }
  }
  std::free(scales);
}

void benchDense(const Kernels& k, const Buffers& b, double readSpeed) {
  constexpr struct {
    DenseType type;
    const char* name;
    int bytes;
  } types[] = {{DenseType::F16, "f16", 2}, {DenseType::BF16, "bf16", 2}, {DenseType::F32, "f32", 4}};
  for (const auto& [type, name, bytes] : types) {
    const size_t rowBytes = static_cast<size_t>(cols) * bytes;
    const int nRows = static_cast<int>(workingSet / rowBytes);
    auto* out = reinterpret_cast<float*>(b.acc);
    const auto run = [&, type = type] { k.denseDots(type, {b.weights, rowBytes, nRows, cols}, b.floats, out); };
    const double speed = nRows * rowBytes / bestSeconds(5, run);
    std::printf("%-11s denseDots %-4s: %6.1f GB/s, %3.0f %% of a bare read\n", k.isa, name, speed * 1e-9,
                100 * speed / readSpeed);
  }
}

// One query that streams a long cache, the heads of one row on a page, and a tile of rows, in lanes, on a page that has been widened.
void benchAttention(const Kernels& k, const Buffers& b) {
  constexpr int headDim = 128, mostQueries = 64, pageKeys = 32;
  constexpr struct {
    KvType type;
    const char* name;
    int nQ, nKeys;
  } shapes[] = {{KvType::F16, "f16", 1, 2048}, {KvType::F16, "f16", 4, pageKeys}, {KvType::F32, "f32", mostQueries, pageKeys}};
  const double peak = bareFma(k.isa);
  if (peak > 0) std::printf("%-11s bare f32 fma loop: %6.1f GFMA/s\n", k.isa, peak * 1e-9);
  auto* scores = reinterpret_cast<float*>(b.acc);
  float* sums = scores + mostQueries * (pageKeys + 16) + 2048;
  float* queries = sums + mostQueries * headDim;
  for (int i = 0; i < mostQueries * headDim; i++) queries[i] = 0.01f * static_cast<float>(i % 100) - 0.5f;
  // As f32, too, these bytes are finite.
  const void* cache = b.weights;
  for (const auto& [type, name, nQ, nKeys] : shapes) {
    const bool inLanes = nQ == mostQueries;
    const size_t stride = static_cast<size_t>(nKeys) + 16;
    const double products = 1.0 * nQ * nKeys * headDim;
    const double score = bestSeconds(200, [&, type = type, nQ = nQ, nKeys = nKeys] {
      // Any order of the queries takes the same time.
      if (inLanes) return k.laneScores({queries, mostQueries, headDim, mostQueries}, {static_cast<const float*>(cache), headDim, nKeys, headDim}, {scores, mostQueries, nKeys, mostQueries});
      k.scores({queries, headDim, nQ, headDim}, {type, cache, nKeys, headDim}, {scores, stride, nQ, nKeys});
    });
    for (size_t i = 0; i < nQ * stride; i++) scores[i] = 0.001f * static_cast<float>(i % 999);
    const double values = bestSeconds(200, [&, type = type, nQ = nQ, nKeys = nKeys] {
      k.accumulateValues({scores, inLanes ? 1 : stride, inLanes ? size_t{mostQueries} : 1, nQ}, {type, cache, nKeys, headDim}, {sums, headDim, false, nullptr});
    });
    std::printf("%-11s %2d queries, %4d keys of %d (%s): scores %6.1f GFMA/s, values %6.1f GFMA/s\n", k.isa, nQ, nKeys, headDim, name,
                products / score * 1e-9, products / values * 1e-9);
  }
  float stripes[16] = {};
  const double exps = bestSeconds(20, [&] { k.expStripes(scores, 2048, 0.088f, 1.0f, stripes); });
  std::printf("%-11s exp %.2f ns\n", k.isa, exps / 2048 * 1e9);
}

void benchRows(const Kernels& k, const Buffers& b) {
  auto* x = reinterpret_cast<float*>(b.acc);
  for (int i = 0; i < 3 * ffn; i++) x[i] = 0.01f * static_cast<float>(i % 300) - 1.5f;
  float* out = x + 2 * ffn;
  const auto time = [&](const char* name, auto fn) {
    std::printf(" %s %.2f", name, bestSeconds(200, fn) / ffn * 1e9);
  };
  std::printf("%-11s ns per element:", k.isa);
  time("sumSquares", [&] { sink = sink + (k.sumSquares(x, ffn) > 0); });
  time("normalise", [&] { sink = sink + k.normalise(x, 0.5f, x + ffn, ffn, out); });
  time("quantise", [&] { sink = sink + k.quantise(x, 40.0f, ffn, ffn, reinterpret_cast<int8_t*>(out)); });
  time("relu2", [&] { k.gate(GateFn::Relu2, x, x + ffn, ffn, out); });
  time("silu", [&] { k.gate(GateFn::Silu, x, x + ffn, ffn, out); });
  time("scaleTensor", [&] { k.scaleTensor(reinterpret_cast<const int32_t*>(x), ffn, 0.1f, out); });
  time("perturb", [&] { k.perturb(x, ffn, {0.7f, {1, 2, 3}, 0}, out); });
  time("q6_k", [&] { k.widen(DenseType::Q6_K, b.weights, ffn, out); });
  std::printf("\n");
}

void benchTable(const Kernels& k, const Buffers& b) {
  const double readSpeed = bareRead(b.weights);
  std::printf("%-11s bare read: %6.1f GB/s\n", k.isa, readSpeed * 1e-9);
  benchDecode(k, b, readSpeed);
  benchDense(k, b, readSpeed);
  benchAttention(k, b);
  benchRows(k, b);
  benchTiles(k, b);
  benchGroups(k, b);
  std::fflush(stdout);
}

int benchMain(const char* isa) {
  Buffers b = {};
  b.weights = randomBytes(workingSet);
  // As f16, bf16 and f32 alike numbers between 2⁻⁷ and 2: what is not finite or subnormal would be slow on some processors.
  for (size_t i = 1; i < workingSet; i += 2) b.weights[i] = static_cast<uint8_t>((b.weights[i] & 0x83) | 0x3c);
  b.x = reinterpret_cast<int8_t*>(randomBytes(512 * static_cast<size_t>(ffn)));
  b.strips = reinterpret_cast<int8_t*>(allocate(128 * static_cast<size_t>(ffn)));
  b.floats = reinterpret_cast<float*>(allocate(ffn * sizeof(float)));
  for (int i = 0; i < ffn; i++) b.floats[i] = 0.001f * static_cast<float>(i % 1000) - 0.5f;
  b.sums = reinterpret_cast<int32_t*>(allocate(512 * sizeof(int32_t)));
  std::memset(b.sums, 0, 512 * sizeof(int32_t));
  b.acc = reinterpret_cast<int32_t*>(allocate(512 * static_cast<size_t>(ffn) * sizeof(int32_t)));
  std::memset(b.acc, 0, 512 * static_cast<size_t>(ffn) * sizeof(int32_t));
  int count = 0, run = 0;
  const Variant* variants = kernelVariants(&count);
  for (int i = 0; i < count; i++) {
    if (isa != nullptr ? std::strcmp(isa, variants[i].isa) != 0 : std::strcmp("scalar", variants[i].isa) == 0) continue;
    const Kernels* kernels = variants[i].kernels();
    if (kernels == nullptr || !variants[i].supported()) continue;
    benchTable(*kernels, b);
    run++;
  }
  if (run == 0) std::fprintf(stderr, "kernel-bench: no such table on this machine\n");
  return run == 0 ? 1 : 0;
}

}  // namespace
}  // namespace bitnet::bench

int main(int argc, char** argv) { return bitnet::bench::benchMain(argc > 1 ? argv[1] : nullptr); }
