// One probe a kernel: inputs that tell a wrong answer, and the bits that it must give. Long, because there are so many kernels.
#include "probe-parts.h"

#include <cstring>
#include <initializer_list>

namespace bitnet {
namespace {

constexpr int elementBytes(DenseType type) { return type == DenseType::F32 ? 4 : 2; }

// Samples that are finite numbers of that type.
const void* elementsOf(DenseType type, const Samples& s, int shift) {
  if (type == DenseType::F32) return s.b + shift;
  return (type == DenseType::F16 ? s.halves : s.brains) + shift;
}

// Rows of activations as they are, and arranged where the table has tiles.
struct Activations {
  StripMatrix strips;
  Int8Matrix x;
  const int32_t* sums;
};

// n weight rows of 1 … 6 blocks, against counts of activation rows on both sides of every register tile. Rows overlap, so that few
// samples serve many rows.
void probeTernary(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  constexpr size_t rowBytes = 33, xStride = 64;
  auto* acc = reinterpret_cast<int32_t*>(out) + shift;
  for (const int nX : {1, 2, 3, 5, 8, 17, 33}) {
    const int cols = 128 * (1 + (n + nX) % 6);
    const size_t accStride = static_cast<size_t>(n) + 3;
    int32_t sums[33] = {};
    for (int i = 0; i < nX; i++) {
      for (int j = 0; j < cols; j++) sums[i] += s.activations[i * xStride + j];
    }
    k.ternaryMatmul({s.bytes + shift, rowBytes, n, cols}, {s.activations, xStride, nX, cols}, sums, {acc, accStride, nX, n});
    acc += nX * accStride;
  }
}

void probeGroupDots(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  constexpr size_t rowBytes = 33;
  constexpr int nX = 6;  // more than any table takes at once
  // With few rows more groups than vectors of scales hold, in pairs and not; with many rows few of them, since the judge is slow.
  constexpr int mostGroups = 33;
  const int nGroups = n <= 16 ? mostGroups + 1 - n : 1 + n % 6, groupsPerScale = 1 + n % 2;
  float reciprocals[nX + mostGroups], scales[520];
  alignas(64) int32_t offsets[8 * (mostGroups + 1)] = {};
  for (int g = 0; g < nX + mostGroups; g++) reciprocals[g] = 0.01f * static_cast<float>(g + 1);
  for (int g = 0; g < 520; g++) scales[g] = 0.75f + 0.125f * static_cast<float>(g % 9);
  for (int c = 0; c < 128 * nGroups; c++) offsets[c / 128 * 8 + c % 32 / 4] -= s.activations[c];
  // Rows of scales and of activations may overlap as well as rows of weights.
  const GroupedRows x = {s.activations, 64, reciprocals, 1, offsets, 0, nX, nGroups};
  const size_t stride = static_cast<size_t>(n) + 1;
  const PackedMatrix weights = {s.bytes + shift, rowBytes, n, 128 * nGroups};
  k.groupDots(weights, x, {scales, 1, groupsPerScale}, {floats(out, shift), stride, nX, n});
  k.groupDots(weights, x, {nullptr, 0, 1}, {floats(out, shift) + nX * stride, stride, nX, n});
}

void probeGroupOffsets(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  k.groupOffsets(s.activations, 1 + n % 5, reinterpret_cast<int32_t*>(out) + shift);
}

// Either product by tiles; by its counterpart where a table has none, whose answer is the same.
template <class Run>
void probeTiles(const Kernels& k, const Samples& s, int n, int shift, int colsStep, uint8_t* out, Run run) {
  constexpr size_t xStride = 64;
  alignas(64) int8_t strips[48 * 1024];
  auto* acc = reinterpret_cast<int32_t*>(out) + shift;
  for (const int nX : {1, 16, 17, 33}) {
    const int cols = colsStep * (1 + (n + nX) % (768 / colsStep));
    const size_t accStride = static_cast<size_t>(n) + 3;
    int32_t sums[33] = {};
    for (int i = 0; i < nX; i++) {
      for (int j = 0; j < cols; j++) sums[i] += s.activations[i * xStride + j];
    }
    const Int8Matrix x = {s.activations, xStride, nX, cols};
    if (k.tiles) k.tiles->arrange(x, strips);
    run(Activations{{strips, stripRows * static_cast<size_t>(cols), nX, cols}, x, sums}, SumMatrix{acc, accStride, nX, n});
    acc += nX * accStride;
  }
}

void probeTernaryTiles(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  constexpr size_t rowBytes = 33;
  const uint8_t* weights = s.bytes + shift;
  probeTiles(k, s, n, shift, 128, out, [&](const Activations& a, const SumMatrix& acc) {
    const PackedMatrix rows = {weights, rowBytes, n, a.x.cols};
    if (k.tiles) return k.tiles->ternary(rows, a.strips, a.sums, acc);
    k.ternaryMatmul(rows, a.x, a.sums, acc);
  });
}

void probeScaledTiles(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  constexpr size_t rowBytes = 33;
  const uint8_t* weights = s.bytes + shift;
  probeTiles(k, s, n, shift, 128, out, [&](const Activations& a, const SumMatrix& acc) {
    const PackedMatrix rows = {weights, rowBytes, n, a.x.cols};
    auto* scaled = reinterpret_cast<float*>(acc.data);
    const bool adds = a.x.rows % 2 != 0;
    const auto heldAt = [&](int r) { return adds ? s.a[shift + r] : 0.0f; };
    for (int i = 0; i < a.x.rows; i++) {
      for (int r = 0; r < n; r++) scaled[i * acc.stride + r] = heldAt(r);
    }
    const ScaledRows to = {s.a, scaled, acc.stride, adds, scaled, acc.stride};
    if (k.tiles) return k.tiles->ternaryScaled(rows, a.strips, a.sums, to);
    k.ternaryMatmul(rows, a.x, a.sums, acc);
    for (int i = 0; i < a.x.rows; i++) {
      for (int r = 0; r < n; r++) {
        int32_t sum;
        std::memcpy(&sum, acc.row(i) + r, sizeof sum);
        const float value = static_cast<float>(sum) * s.a[i];
        scaled[i * acc.stride + r] = adds ? heldAt(r) + value : value;
      }
    }
  });
}

void probeScaleTensor(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  k.scaleTensor(s.ints + shift, n, s.a[0], floats(out, shift));
}

void probeScaleRow(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  k.scaleRow(s.ints + shift, n, s.a + shift, 37.25f, floats(out, shift));
}

void probeFoldGroup(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  std::memcpy(floats(out, shift), s.b, n * sizeof(float));
  k.foldGroup(s.ints + shift, n, s.a + shift, 1, floats(out, shift));
  k.foldGroup(s.ints, n, s.a + shift, 3, floats(out, shift));
}

void probeMultiply(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  std::memcpy(floats(out, shift), s.b, n * sizeof(float));
  k.multiply(floats(out, shift), n, s.a[1]);
}

void probeSumSquares(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  floats(out, shift)[0] = k.sumSquares(s.a + shift, n);
}

void probeNormalise(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  const uint32_t most = k.normalise(s.a + shift, 0.8125f, s.b + shift, n, floats(out, shift));
  std::memcpy(floats(out, shift) + n + 1, &most, sizeof most);
}

void probeQuantise(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  // Ties, values past both ends, and every rounding in between.
  for (const float scale : {0.5f, 41.7f}) {
    const int nPadded = roundUp(n, 128);
    auto* q = reinterpret_cast<int8_t*>(out) + shift + (scale == 0.5f ? 0 : nPadded + 1);
    const int32_t sum = k.quantise(s.a + shift, scale, n, nPadded, q);
    std::memcpy(out + 4 * n + 1024 + (scale == 0.5f ? 0 : 4), &sum, sizeof sum);
  }
}

void probeAbsMaxBits(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  const uint32_t most = k.absMaxBits(s.a + shift, n);
  std::memcpy(out, &most, sizeof most);
}

void probeAdd(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  std::memcpy(floats(out, shift), s.b, n * sizeof(float));
  k.add(floats(out, shift), s.a + shift, n);
}

void probeGate(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  for (const GateFn fn : {GateFn::Relu2, GateFn::Silu, GateFn::Gelu}) {
    k.gate(fn, s.a + shift, s.b + shift, n, floats(out, shift) + static_cast<int>(fn) * (n + 1));
  }
}

void probeRope(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  for (const Pairing pairing : {Pairing::Half, Pairing::Adjacent}) {
    float* x = floats(out, shift) + static_cast<int>(pairing) * (2 * n + 1);
    std::memcpy(x, s.a, 2 * n * sizeof(float));
    k.rope(x, s.b + shift, 2 * n, pairing);
  }
}

void probeNarrow(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  auto* halves = reinterpret_cast<uint16_t*>(out) + shift;
  float* scaled = floats(out, shift) + 5 * n;
  // As they are, near the subnormals, near the largest value and past it.
  for (const float factor : {1.0f, 0x1p-17f, 0x1p-22f, 0x1p9f, 0x1p14f}) {
    for (int i = 0; i < n; i++) scaled[i] = s.a[shift + i] * factor;
    k.narrow(scaled, n, halves);
    halves += n + 1;
  }
}

void probeWiden(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  float* to = floats(out, shift);
  for (const DenseType type : {DenseType::F32, DenseType::F16, DenseType::BF16}) {
    k.widen(type, elementsOf(type, s, shift), n, to);
    to += n + 1;
  }
  for (const DenseType type : {DenseType::Q8_0, DenseType::Q4_0, DenseType::Q6_K, DenseType::Trits, DenseType::Q4_K}) {
    const bool isLarge = type == DenseType::Q6_K || type == DenseType::Q4_K;
    const int ofSmall = type == DenseType::Trits ? 128 : 32, block = isLarge ? 256 : ofSmall;
    const int elements = roundUp(n, block);
    // Random bytes, with finite scales written into every block.
    alignas(2) uint8_t blocks[2048];
    const int used = elements < 512 ? elements : 512;
    const size_t bytes = denseRowBytes(type, used);
    std::memcpy(blocks + shift, s.bytes, bytes);
    const size_t blockBytes = denseRowBytes(type, block);
    for (size_t at = 0; at < bytes; at += blockBytes) {
      std::memcpy(blocks + shift + at + (type == DenseType::Q6_K ? 208 : 0), s.halves + at, 2);
      if (type == DenseType::Q4_K) std::memcpy(blocks + shift + at + 2, s.halves + at + 2, 2);
    }
    k.widen(type, blocks + shift, used, to);
    to += used + 1;
  }
}

void probeDenseDots(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  float* to = floats(out, shift);
  for (const DenseType type : {DenseType::F32, DenseType::F16, DenseType::BF16}) {
    const size_t rowBytes = static_cast<size_t>(n + 1) * elementBytes(type);
    for (const int nRows : {4, 7}) {
      k.denseDots(type, {static_cast<const uint8_t*>(elementsOf(type, s, shift)), rowBytes, nRows, n}, s.a + shift, to);
      to += nRows + 1;
    }
  }
}

// Rows overlap, as in probeTernary; what they hold is a copy, because −128 is no value of theirs.
constexpr size_t screenRowBytes = 37;
struct ScreenRows {
  int8_t values[24 * 1024];

  ScreenRows(const Samples& s, int n, int shift) {
    for (size_t i = 0; i < n * screenRowBytes + 768; i++) values[i] = s.activations[shift + i] == -128 ? -127 : s.activations[shift + i];
  }
};

void probeScreenDots(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  constexpr size_t xStride = 64;
  const ScreenRows rows(s, n, shift);
  auto* acc = reinterpret_cast<int32_t*>(out) + shift;
  for (const int nX : {1, 2, 3, 5, 8}) {
    const int cols = 64 * (1 + (n + nX) % 6);
    const size_t accStride = static_cast<size_t>(n) + 3;
    int32_t sums[8] = {};
    for (int i = 0; i < nX; i++) {
      for (int j = 0; j < cols; j++) sums[i] += s.activations[i * xStride + j];
    }
    k.screenDots({rows.values, screenRowBytes, n, cols}, {s.activations, xStride, nX, cols}, sums, {acc, accStride, nX, n});
    acc += nX * accStride;
  }
}

void probeScreenTiles(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  const ScreenRows rows(s, n, shift);
  probeTiles(k, s, n, shift, 64, out, [&](const Activations& a, const SumMatrix& acc) {
    const Int8Matrix table = {rows.values, screenRowBytes, n, a.x.cols};
    if (k.tiles && k.tiles->screen) return k.tiles->screen(table, a.strips, acc);
    k.screenDots(table, a.x, a.sums, acc);
  });
}

void probeScreenBounds(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  const ScreenFactors x = {0.25f, 0.013f, 3.5f, 0x1p-12f, 1.75f};
  k.screenBounds(x, {s.a + shift, s.b, s.a, n}, {s.ints + shift, s.ints}, floats(out, shift));
}

void probeResidualSquares(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  floats(out, shift)[0] = k.residualSquares(s.a + shift, s.activations + shift, 0.0625f, n);
  floats(out, shift)[1] = k.residualSquares(s.b, s.activations + shift, 0.037f, n);
}

// Queries and keys on both sides of every register tile; queries overlap, so that few samples serve many.
void probeScores(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  float* to = floats(out, shift);
  for (const int nQ : {1, 2, 5, 9}) {
    for (const int nKeys : {1, 6, 13}) {
      const size_t stride = static_cast<size_t>(nKeys) + 2;
      for (const CachedHead& keys : {CachedHead{KvType::F32, s.b, nKeys, n}, CachedHead{KvType::F16, s.halves, nKeys, n}}) {
        k.scores({s.a + shift, 11, nQ, n}, keys, {to, stride, nQ, nKeys});
        to += nQ * stride;
      }
    }
  }
}

void probeMaximum(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  floats(out, shift)[0] = k.maximum(s.a + shift, n);
  float* negative = floats(out, shift) + 1;
  for (int i = 0; i < n; i++) negative[i] = -1.0f - s.a[i] * s.a[i];
  floats(out, shift)[n + 1] = k.maximum(negative, n);
}

void probeExpStripes(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  for (const float m : {3.5f, -86.0f}) {
    float* x = floats(out, shift) + (m > 0 ? 0 : n + 32);
    std::memcpy(x, s.a, n * sizeof(float));
    for (int i = 0; i < 16; i++) x[n + 8 + i] = 0.25f * static_cast<float>(i);
    k.expStripes(x, n, m > 0 ? 1.0f : 0.088388346f, m, x + n + 8);
  }
}

void probeAccumulateValues(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  float* to = floats(out, shift);
  for (const KvType type : {KvType::F32, KvType::F16}) {
    const void* values = type == KvType::F16 ? static_cast<const void*>(s.halves) : s.b + shift;
    for (const int nQ : {1, 2, 5, 10}) {
      const size_t stride = static_cast<size_t>(n) + 1;
      const bool isTotal = nQ == 2, isFirst = nQ > 2;
      float* total = isTotal ? to + nQ * stride : nullptr;
      for (int i = 0; i < 2 * nQ; i++) std::memcpy(to + i * stride, s.b + i, n * sizeof(float));
      k.accumulateValues({s.a + shift, 7, 1, nQ}, {type, values, 9, n}, {to, stride, isFirst, total});
      // What is left where a total was asked for is up to the kernel.
      if (isTotal) std::memset(to, 0, nQ * stride * sizeof(float));
      to += 2 * nQ * stride;
    }
  }
}

// Lanes that no query fills stay as they are.
void probeArrangeQueries(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  constexpr int stride = 16;
  float* to = floats(out, 0);
  for (const int nQ : {1, 16}) {
    k.arrangeQueries({s.a + shift, 3, nQ, n}, {to, stride, n, stride});
    to += n * stride;
  }
}

void probeLaneScores(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  float* to = floats(out, 0);
  for (const int lanes : {16, 64}) {
    const size_t stride = static_cast<size_t>(lanes);
    // Any f32 do for arranged queries.
    for (const int nKeys : {1, 9}) {
      k.laneScores({s.a + shift, stride, n, lanes}, {s.b + shift, static_cast<size_t>(n), nKeys, n}, {to, stride, nKeys, lanes});
      to += nKeys * stride;
    }
  }
}

void probeLaneSoftmax(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  float* to = floats(out, 0);
  for (const int lanes : {16, 48}) {
    const size_t stride = static_cast<size_t>(lanes);
    std::memcpy(to, s.a + shift, n * stride * sizeof(float));
    k.laneSoftmax({to, stride, n, lanes}, 0.7f, to + n * stride);
    to += (n + 1) * stride;
  }
}

void probeDivide(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  k.divide(s.a + shift, n, 7.3f, floats(out, shift));
}

void probePerturb(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  const NoiseKey key = {0xdeadbeef, 3, static_cast<uint32_t>(n)};
  k.perturb(s.a + shift, n, {0.7f, key, 128000u + static_cast<uint32_t>(shift)}, floats(out, shift));
}

constexpr Probe probes[] = {
    {"ternaryMatmul", probeTernary},
    {"scaleTensor", probeScaleTensor},
    {"scaleRow", probeScaleRow},
    {"groupDots", probeGroupDots},
    {"foldGroup", probeFoldGroup},
    {"groupOffsets", probeGroupOffsets},
    {"multiply", probeMultiply},
    {"sumSquares", probeSumSquares},
    {"normalise", probeNormalise},
    {"quantise", probeQuantise},
    {"absMaxBits", probeAbsMaxBits},
    {"add", probeAdd},
    {"gate", probeGate},
    {"rope", probeRope},
    {"narrow", probeNarrow},
    {"widen", probeWiden},
    {"denseDots", probeDenseDots},
    {"screenDots", probeScreenDots},
    {"screenBounds", probeScreenBounds},
    {"residualSquares", probeResidualSquares},
    {"scores", probeScores},
    {"maximum", probeMaximum},
    {"expStripes", probeExpStripes},
    {"accumulateValues", probeAccumulateValues},
    {"arrangeQueries", probeArrangeQueries},
    {"laneScores", probeLaneScores},
    {"laneSoftmax", probeLaneSoftmax},
    {"divide", probeDivide},
    {"perturb", probePerturb},
    {"ternaryTiles", probeTernaryTiles},
    {"scaledTiles", probeScaledTiles},
    {"screenTiles", probeScreenTiles},
    {"ternaryLanes", probeTernaryLanes},
    {"laneSquares", probeLaneSquares},
    {"laneMagnitudes", probeLaneMagnitudes},
    {"laneQuantise", probeLaneQuantise},
};

}  // namespace

const Probe* kernelProbes(int* count) {
  *count = static_cast<int>(sizeof probes / sizeof probes[0]);
  return probes;
}

size_t denseRowBytes(DenseType type, int n) {
  const auto elements = static_cast<size_t>(n);
  switch (type) {
    case DenseType::F32:
      return elements * 4;
    case DenseType::F16:
    case DenseType::BF16:
      return elements * 2;
    case DenseType::Q8_0:
      return elements / 32 * 34;
    case DenseType::Q4_0:
      return elements / 32 * 18;
    case DenseType::Q6_K:
      return elements / 256 * 210;
    case DenseType::Trits:
      return elements / 128 * 34;
    case DenseType::Q4_K:
      return elements / 256 * 144;
  }
  return 0;
}

}  // namespace bitnet
