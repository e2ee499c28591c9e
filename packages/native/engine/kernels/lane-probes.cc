// Probes of the functions that take activations in lanes.
#include <cstring>
#include <initializer_list>

#include "probe-parts.h"

namespace bitnet {
namespace {

// Sixteen rows of samples, as lanes or gathered one by one.
struct LaneRows {
  const float* lanes;
  int n;
  void gather(int i, float* row) const {
    for (int k = 0; k < n; k++) row[k] = lanes[stripRows * k + i];
  }
};

constexpr int mostProbed = 1024;

}  // namespace

// Like scaled tiles, but in lanes.
void probeTernaryLanes(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  constexpr size_t rowBytes = 33;
  const uint8_t* weights = s.bytes + shift;
  auto* to = floats(out, shift);
  for (const int nX : {1, 17}) {
    constexpr size_t xStride = 64;
    alignas(64) int8_t strips[24 * 1024];
    const int cols = 128 * (1 + n % 6);
    const size_t stride = static_cast<size_t>(n) + 3;
    const bool adds = nX == 17;
    const size_t nLanes = static_cast<size_t>(roundUp(nX, stripRows)) * stride;
    int32_t sums[17] = {};
    for (int i = 0; i < nX; i++) {
      for (int j = 0; j < cols; j++) sums[i] += s.activations[i * xStride + j];
    }
    for (size_t at = 0; at < nLanes; at++) to[at] = adds ? 0.25f * static_cast<float>(at % 31) : 0.0f;
    if (k.tiles && k.tiles->lanes) {
      k.tiles->arrange({s.activations, xStride, nX, cols}, strips);
      k.tiles->lanes->ternary({weights, rowBytes, n, cols}, {strips, stripRows * static_cast<size_t>(cols), nX, cols}, sums,
                              {s.a, to, stride, adds, to, stride});
    } else {
      for (int i = 0; i < nX; i++) {
        float* lane = to + static_cast<size_t>(i / stripRows * stripRows) * stride + i % stripRows;
        for (int r = 0; r < n; r++) {
          int32_t sum;
          k.ternaryMatmul({weights + r * rowBytes, rowBytes, 1, cols}, {s.activations + i * xStride, xStride, 1, cols}, sums + i, {&sum, 1, 1, 1});
          const float value = static_cast<float>(sum) * s.a[i];
          lane[r * stripRows] = adds ? lane[r * stripRows] + value : value;
        }
      }
    }
    // Lanes without a row hold anything.
    for (int i = nX; i < roundUp(nX, stripRows); i++) {
      for (size_t r = 0; r < stride; r++) to[static_cast<size_t>(i / stripRows * stripRows) * stride + r * stripRows + i % stripRows] = 0;
    }
    to += nLanes;
  }
}

void probeLaneSquares(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  const LaneRows rows = {s.a + shift, n};
  if (k.tiles && k.tiles->lanes) return k.tiles->lanes->squares(rows.lanes, n, floats(out, shift));
  for (int i = 0; i < stripRows; i++) {
    float row[mostProbed];
    rows.gather(i, row);
    floats(out, shift)[i] = k.sumSquares(row, n);
  }
}

void probeLaneMagnitudes(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  const LaneRows rows = {s.a + shift, n};
  const float *r = s.b, *w = s.b + shift;
  uint32_t most[stripRows];
  for (int i = 0; i < stripRows && !(k.tiles && k.tiles->lanes); i++) {
    float row[mostProbed];
    rows.gather(i, row);
    most[i] = k.normalise(row, r[i], w, n, row);
  }
  if (k.tiles && k.tiles->lanes) k.tiles->lanes->magnitudes({rows.lanes, r, w, n}, most);
  std::memcpy(out + 4 * shift, most, sizeof most);
}

void probeLaneQuantise(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out) {
  const LaneRows rows = {s.a + shift, n};
  const float *r = s.b, *w = s.b + shift;
  const int nPadded = roundUp(n, 64);
  // Ties, and values past both ends.
  float scales[stripRows];
  for (int i = 0; i < stripRows; i++) scales[i] = i % 2 == 0 ? 0.5f : 41.7f + static_cast<float>(i);
  auto* strip = reinterpret_cast<int8_t*>(out) + 64 * shift;
  auto* sums = reinterpret_cast<int32_t*>(strip + stripRows * nPadded);
  if (k.tiles && k.tiles->lanes) return k.tiles->lanes->quantise({rows.lanes, r, w, n}, scales, {strip, nPadded, sums});
  for (int i = 0; i < stripRows; i++) {
    float row[mostProbed];
    int8_t q[mostProbed];
    rows.gather(i, row);
    k.normalise(row, r[i], w, n, row);
    sums[i] = k.quantise(row, scales[i], n, nPadded, q);
    for (int j = 0; j < nPadded; j++) strip[j / 4 * 64 + 4 * i + j % 4] = q[j];
  }
}

}  // namespace bitnet
