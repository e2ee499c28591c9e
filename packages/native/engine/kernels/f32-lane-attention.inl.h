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
void arrangeSome(const ConstF32Matrix& queries, float* arranged, size_t stride) {
  for (const int chain : foldOrder) {
    for (int d = chain; d < queries.cols; d += lanes, arranged += stride) {
      float elements[count];
#pragma GCC unroll 4
      for (int i = 0; i < count; i++) elements[i] = queries.row(i)[d];
      std::memcpy(arranged, elements, sizeof elements);
    }
  }
}

// Elements of a query follow each other chain by chain.
void arrangeQueries(const ConstF32Matrix& queries, const F32Matrix& arranged) {
  int i = 0;
  for (; i + 4 <= queries.rows; i += 4) arrangeSome<4>(queries.part(i, 4), arranged.data + i, arranged.stride);
  for (; i < queries.rows; i++) arrangeSome<1>(queries.part(i, 1), arranged.data + i, arranged.stride);
}

// nG vectors of queries against nK keys. `steps`: headDim is this many vectors, and there are no other queries; or 0. Where another hardware
// thread has half of the core, instructions count as much as products: hence steps that are written out, with addresses the compiler knows,
// and first products that are not added to a zero. (That can change the sign of a zero only, which the last addition takes away.)
template <int nG, int nK, int steps>
void laneTile(const ConstF32Matrix& queries, const ConstF32Matrix& keys, float* scores) {
  const size_t stride = steps > 0 ? nG * lanes : queries.stride;
  const int headDim = steps > 0 ? steps * lanes : keys.cols;
  const float* arranged = queries.data;
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
    const float* const key = keys.data + foldOrder[n];
    if constexpr (steps > 0) {
      addStep.template operator()<true>(key, arranged);
#pragma GCC unroll 8
      for (int i = 1; i < steps; i++) addStep.template operator()<false>(key + i * lanes, arranged + i * stride);
      arranged += steps * stride;
    } else {
#pragma GCC unroll 32
      for (F32x16& sum : sums) sum = splat(0.0f);
      for (int d = foldOrder[n]; d < headDim; d += lanes, arranged += stride) addStep.template operator()<false>(keys.data + d, arranged);
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
void laneKeys(const ConstF32Matrix& queries, const ConstF32Matrix& keys, const F32Matrix& scores) {
  const int nKeys = keys.rows;
  int j = 0;
  const auto take = [&]<int n>() {
    laneTile<nG, n, steps>(queries, keys.part(j, n), scores.row(j));
    j += n;
  };
  const auto leavesFew = [&](int rest) { return rest > 1 && rest < nRest; };
  while (nKeys - j >= nK && !leavesFew(nKeys - j - nK)) take.template operator()<nK>();
  while (nKeys - j >= nRest) take.template operator()<nRest>();
  while (j < nKeys) take.template operator()<1>();
}

void laneScores(const ConstF32Matrix& arranged, const ConstF32Matrix& keys, const F32Matrix& scores) {
  const int nQ = arranged.cols, headDim = keys.cols;
  int i = 0;
  // The next nG vectors of lanes.
  const auto take = [&]<int nG, int nK, int nRest>() {
    constexpr int n = nG * lanes;
    laneKeys<nG, nK, nRest, 0>({arranged.data + i, arranged.stride, headDim, n}, keys, {scores.data + i, scores.stride, keys.rows, n});
    i += n;
  };
  if constexpr (registerVectors >= 32) {
    if (nQ == 4 * lanes && headDim == 8 * lanes) return laneKeys<4, 6, 4, 8>(arranged, keys, scores);
    if (nQ == 4 * lanes && headDim == 4 * lanes) return laneKeys<4, 6, 4, 4>(arranged, keys, scores);
    while (i + 4 * lanes <= nQ) take.template operator()<4, 6, 4>();
    while (i + 2 * lanes <= nQ) take.template operator()<2, 8, 1>();
    while (i < nQ) take.template operator()<1, 8, 1>();
  } else {
    while (i < nQ) take.template operator()<1, 4, 1>();
  }
}

// scores → exp(score · factor + offset), added to the chains of the denominators. isBounded: none of the exponents is above expHighest.
template <int nG, bool isBounded>
void expOfScores(const F32Matrix& scores, F32x16 factor, const F32x16* offset, float (*chains)[nG * lanes]) {
  for (int j = 0; j < scores.rows; j++) {
    for (int g = 0; g < nG; g++) {
      float* x = scores.row(j) + lanes * g;
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
void softmaxLanes(const F32Matrix& scores, float scale, float* denominators) {
  F32x16 offset[nG];
  for (int g = 0; g < nG; g++) offset[g] = load(scores.data + lanes * g);
  for (int j = 1; j < scores.rows; j++) {
    for (int g = 0; g < nG; g++) offset[g] = maximum(offset[g], load(scores.row(j) + lanes * g));
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
    expOfScores<nG, true>(scores, factor, offset, chains);
  } else {
    expOfScores<nG, false>(scores, factor, offset, chains);
  }
  for (int half = lanes / 2; half >= 1; half /= 2) {
    for (int j = 0; j < half; j++) {
      for (int i = 0; i < nG * lanes; i += lanes) store(chains[j] + i, add(load(chains[j] + i), load(chains[j + half] + i)));
    }
  }
  for (int i = 0; i < nG * lanes; i += lanes) store(denominators + i, add(load(chains[0] + i), splat(0.0f)));
}

void laneSoftmax(const F32Matrix& scores, float scale, float* denominators) {
  const auto from = [&](int first) { return F32Matrix{scores.data + first, scores.stride, scores.rows, scores.cols - first}; };
  int i = 0;
  for (; i + 4 * lanes <= scores.cols; i += 4 * lanes) softmaxLanes<4>(from(i), scale, denominators + i);
  for (; i < scores.cols; i += lanes) softmaxLanes<1>(from(i), scale, denominators + i);
}

}  // namespace
}  // namespace bitnet
