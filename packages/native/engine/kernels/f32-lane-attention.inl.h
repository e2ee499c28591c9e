// Attention of sixteen queries or more, each in a lane of its own. Where the elements of one query stand in the lanes instead
// (f32-attention-tile.inl.h), every dot product ends in a fold across lanes, which took a quarter of the time. The order within each sum is
// that of docs/numerics.md in both. Include after a lanes.h.
#pragma once
#include <cstring>

#include "f32-lanes.inl.h"

namespace bitnet {
namespace {

// The 16 chains of a dot product, in an order in which the fold can take each as soon as it is done.
inline constexpr int foldOrder[lanes] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
inline constexpr int foldLevels = 4;

// `count` queries, whose number the compiler knows.
template <int count>
void arrangeSome(const float* q, size_t qStride, int headDim, float* arranged, size_t stride) {
  for (const int chain : foldOrder) {
    for (int d = chain; d < headDim; d += lanes, arranged += stride) {
      float elements[count];
#pragma GCC unroll 4
      for (int i = 0; i < count; i++) elements[i] = q[i * qStride + d];
      std::memcpy(arranged, elements, sizeof elements);
    }
  }
}

// Elements of a query follow each other chain by chain.
void arrangeQueries(const float* q, size_t qStride, int nQ, int headDim, float* arranged, size_t stride) {
  int i = 0;
  for (; i + 4 <= nQ; i += 4) arrangeSome<4>(q + i * qStride, qStride, headDim, arranged + i, stride);
  for (; i < nQ; i++) arrangeSome<1>(q + i * qStride, qStride, headDim, arranged + i, stride);
}

// nG vectors of queries against nK keys. `steps`: headDim is this many vectors, and there are no other queries; or 0. Where another hardware
// thread has half of the core, instructions count as much as products: hence steps that are written out, with addresses the compiler knows,
// and first products that are not added to a zero. (That can change the sign of a zero only, which the last addition takes away.)
template <int nG, int nK, int steps>
void laneTile(const float* arranged, size_t anyStride, const float* keys, int anyHeadDim, float* scores) {
  const size_t stride = steps > 0 ? nG * lanes : anyStride;
  const int headDim = steps > 0 ? steps * lanes : anyHeadDim;
  // Sums whose other half is still to come, by level of the fold.
  alignas(64) float waiting[foldLevels][nG * nK * lanes];
  F32x16 sums[nG * nK];
  const auto addStep = [&]<bool isFirst>(const float* key, const float* query) __attribute__((always_inline)) {
    F32x16 q[nG];
#pragma GCC unroll 4
    for (int g = 0; g < nG; g++) q[g] = load(query + lanes * g);
#pragma GCC unroll 8
    for (int j = 0; j < nK; j++) {
      const F32x16 element = splat(key[j * headDim]);
#pragma GCC unroll 4
      for (int g = 0; g < nG; g++) {
        F32x16& sum = sums[j * nG + g];
        sum = isFirst ? multiply(q[g], element) : mulAdd(q[g], element, sum);
      }
    }
  };
  for (int n = 0; n < lanes; n++) {
    const float* const key = keys + foldOrder[n];
    if constexpr (steps > 0) {
      addStep.template operator()<true>(key, arranged);
#pragma GCC unroll 8
      for (int i = 1; i < steps; i++) addStep.template operator()<false>(key + i * lanes, arranged + i * stride);
      arranged += steps * stride;
    } else {
#pragma GCC unroll 32
      for (F32x16& sum : sums) sum = splat(0.0f);
      for (int d = foldOrder[n]; d < headDim; d += lanes, arranged += stride) addStep.template operator()<false>(keys + d, arranged);
    }
    int level = 0;
    for (; n >> level & 1; level++) {
#pragma GCC unroll 32
      for (int i = 0; i < nG * nK; i++) sums[i] = add(load(waiting[level] + lanes * i), sums[i]);
    }
    if (level == foldLevels) break;
#pragma GCC unroll 32
    for (int i = 0; i < nG * nK; i++) store(waiting[level] + lanes * i, sums[i]);
  }
#pragma GCC unroll 8
  for (int j = 0; j < nK; j++) {
#pragma GCC unroll 4
    for (int g = 0; g < nG; g++) store(scores + j * stride + lanes * g, add(sums[j * nG + g], splat(0.0f)));
  }
}

// Most keys nK at a time, the last ones nRest at a time, then one by one: as few of these as there can be.
template <int nG, int nK, int nRest, int steps>
void laneKeys(const float* arranged, size_t stride, const float* keys, int nKeys, int headDim, float* scores) {
  int j = 0;
  const auto take = [&]<int n>() {
    laneTile<nG, n, steps>(arranged, stride, keys + static_cast<size_t>(j) * headDim, headDim, scores + j * stride);
    j += n;
  };
  const auto leavesFew = [&](int rest) { return rest > 1 && rest < nRest; };
  while (nKeys - j >= nK && !leavesFew(nKeys - j - nK)) take.template operator()<nK>();
  while (nKeys - j >= nRest) take.template operator()<nRest>();
  while (j < nKeys) take.template operator()<1>();
}

void laneScores(const float* arranged, size_t stride, const float* keys, int nKeys, int headDim, float* scores) {
  const int nQ = static_cast<int>(stride);
  int i = 0;
  if constexpr (registerVectors >= 32) {
    if (nQ == 4 * lanes && headDim == 8 * lanes) return laneKeys<4, 6, 4, 8>(arranged, stride, keys, nKeys, headDim, scores);
    if (nQ == 4 * lanes && headDim == 4 * lanes) return laneKeys<4, 6, 4, 4>(arranged, stride, keys, nKeys, headDim, scores);
    for (; i + 4 * lanes <= nQ; i += 4 * lanes) laneKeys<4, 6, 4, 0>(arranged + i, stride, keys, nKeys, headDim, scores + i);
    for (; i + 2 * lanes <= nQ; i += 2 * lanes) laneKeys<2, 8, 1, 0>(arranged + i, stride, keys, nKeys, headDim, scores + i);
    for (; i < nQ; i += lanes) laneKeys<1, 8, 1, 0>(arranged + i, stride, keys, nKeys, headDim, scores + i);
  } else {
    for (; i < nQ; i += lanes) laneKeys<1, 4, 1, 0>(arranged + i, stride, keys, nKeys, headDim, scores + i);
  }
}

// scores → exp(score · factor + offset), added to the chains of the denominators. isBounded: none of the exponents is above expHighest.
template <int nG, bool isBounded>
void expOfScores(float* scores, size_t stride, int nKeys, F32x16 factor, const F32x16* offset, float (*chains)[nG * lanes]) {
  for (int j = 0; j < nKeys; j++) {
    for (int g = 0; g < nG; g++) {
      float* x = scores + j * stride + lanes * g;
      float* chain = chains[j % lanes] + lanes * g;
      const F32x16 exponent = mulAdd(load(x), factor, offset[g]);
      const F32x16 p = isBounded ? expOfBounded(exponent) : expLanes(exponent);
      store(x, p);
      store(chain, add(load(chain), p));
    }
  }
}

// nG vectors of lanes.
template <int nG>
void softmaxLanes(float* scores, size_t stride, int nKeys, float scale, float* denominators) {
  F32x16 offset[nG];
  for (int g = 0; g < nG; g++) offset[g] = load(scores + lanes * g);
  for (int j = 1; j < nKeys; j++) {
    for (int g = 0; g < nG; g++) offset[g] = maximum(offset[g], load(scores + j * stride + lanes * g));
  }
  const F32x16 factor = splat(scale);
  // + 0.0f so that the sign of a zero does not depend on the order.
  for (F32x16& most : offset) most = negate(multiply(add(most, splat(0.0f)), factor));
  // score ≤ most, so that an exponent is at most what rounding has taken from the offset: less than 1 of 2²³. A NaN among the scores of a
  // lane makes its denominator NaN, whatever the others become.
  F32x16 farthest = magnitude(offset[0]);
  for (int g = 1; g < nG; g++) farthest = floatOf(maxInt(bitsOf(farthest), magnitudeBits(offset[g])));
  alignas(64) float chains[lanes][nG * lanes] = {};
  if (maxOfInts(bitsOf(farthest)) < floatBits(0x1p23f)) {
    expOfScores<nG, true>(scores, stride, nKeys, factor, offset, chains);
  } else {
    expOfScores<nG, false>(scores, stride, nKeys, factor, offset, chains);
  }
  for (int half = lanes / 2; half >= 1; half /= 2) {
    for (int j = 0; j < half; j++) {
      for (int i = 0; i < nG * lanes; i += lanes) store(chains[j] + i, add(load(chains[j] + i), load(chains[j + half] + i)));
    }
  }
  for (int i = 0; i < nG * lanes; i += lanes) store(denominators + i, add(load(chains[0] + i), splat(0.0f)));
}

void laneSoftmax(float* scores, size_t stride, int nKeys, float scale, float* denominators) {
  size_t i = 0;
  for (; i + 4 * lanes <= stride; i += 4 * lanes) softmaxLanes<4>(scores + i, stride, nKeys, scale, denominators + i);
  for (; i < stride; i += lanes) softmaxLanes<1>(scores + i, stride, nKeys, scale, denominators + i);
}

}  // namespace
}  // namespace bitnet
