// RMSNorm and quantisation of sixteen rows, each in a lane of its own (LaneKernels). Include after a lanes.h, and for strips whose lines hold 4
// columns of 16 rows.
#pragma once
#include "f32-rows.inl.h"

namespace bitnet {
namespace {

void laneSquares(const float* x, int n, float* sums) {
  F32x16 chains[lanes];
#pragma GCC unroll 16
  for (F32x16& chain : chains) chain = splat(0.0f);
  int k = 0;
  for (; k + lanes <= n; k += lanes, x += lanes * lanes) {
#pragma GCC unroll 16
    for (int j = 0; j < lanes; j++) {
      const F32x16 v = load(x + lanes * j);
      chains[j] = mulAdd(v, v, chains[j]);
    }
  }
  for (int j = 0; k + j < n; j++) {
    const F32x16 v = load(x + lanes * j);
    chains[j] = mulAdd(v, v, chains[j]);
  }
#pragma GCC unroll 4
  for (int half = lanes / 2; half >= 1; half /= 2) {
#pragma GCC unroll 8
    for (int j = 0; j < half; j++) chains[j] = add(chains[j], chains[j + half]);
  }
  store(sums, add(chains[0], splat(0.0f)));
}

// Column k.
inline F32x16 normalised(const LaneNorm& y, int k, F32x16 factors) { return multiply(multiply(load(y.x + lanes * k), factors), splat(y.weight[k])); }

void laneMagnitudes(const LaneNorm& y, uint32_t* most) {
  const F32x16 factors = load(y.factors);
  I32x16 largest[4] = {splatInt(0), splatInt(0), splatInt(0), splatInt(0)};
  const auto take = [&](I32x16& of, int k) { of = maxInt(of, magnitudeBits(normalised(y, k, factors))); };
  int k = 0;
  for (; k + 4 <= y.n; k += 4) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) take(largest[j], k + j);
  }
  for (; k < y.n; k++) take(largest[0], k);
  const I32x16 all = maxInt(maxInt(largest[0], largest[1]), maxInt(largest[2], largest[3]));
  store(reinterpret_cast<float*>(most), floatOf(all));
}

void laneQuantise(const LaneNorm& y, const float* s, const QuantisedLanes& to) {
  const F32x16 factors = load(y.factors), scales = load(s);
  I32x16 total = splatInt(0);
  const auto column = [&](int k) {
    const I32x16 q = quantiseLanes(normalised(y, k, factors), scales);
    total = addInt(total, q);
    return q;
  };
  // 4 columns of a lane, whose values + 128 do not run into each other; the sign bits are turned back at the end.
  const auto put = [&](int k, I32x16 a, I32x16 b, I32x16 c, I32x16 d) {
    const I32x16 low = addInt(a, shiftLeft<8>(b)), high = addInt(c, shiftLeft<8>(d));
    const I32x16 biased = addInt(addInt(low, shiftLeft<16>(high)), splatInt(static_cast<int32_t>(0x80808080u)));
    store(reinterpret_cast<float*>(to.strip + lanes * k), floatOf(xorInt(biased, splatInt(static_cast<int32_t>(0x80808080u)))));
  };
  int k = 0;
  for (; k + 4 <= y.n; k += 4) {
    const I32x16 a = column(k), b = column(k + 1), c = column(k + 2), d = column(k + 3);
    put(k, a, b, c, d);
  }
  const I32x16 zero = splatInt(0);
  const auto upTo = [&](int i) { return i < y.n ? column(i) : zero; };
  for (; k < to.nPadded; k += 4) {
    const I32x16 a = upTo(k), b = upTo(k + 1), c = upTo(k + 2);
    put(k, a, b, c, zero);
  }
  store(reinterpret_cast<float*>(to.sums), floatOf(total));
}

constexpr LaneKernels laneTable(int from, decltype(LaneKernels::ternary) ternary) {
  return {.from = from, .ternary = ternary, .squares = laneSquares, .magnitudes = laneMagnitudes, .quantise = laneQuantise};
}

}  // namespace
}  // namespace bitnet
