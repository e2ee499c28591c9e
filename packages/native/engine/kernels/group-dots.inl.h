// Ternary rows times one row of activations with a scale for each group of 128 columns (numerics: activations in groups): chains of
// integers become floats group by group, eight chains for even groups and eight for odd ones.
//
// Include after lanes.h and a header that defines, in an anonymous namespace, pairDots(codes, x): of two blocks of 32 bytes and 256 activations
// the sums Σ code · x of each word of 4 bytes (4 columns in each of the four planes), and splatHalves(low, high).
#pragma once
#include <cstring>

#include "kernels.h"

namespace bitnet {
namespace {

void groupDots(const uint8_t* weights, size_t rowBytes, int nRows, const GroupedRow& x, const GroupScales& scales, float* out) {
  constexpr size_t ahead = 1024;
  const int nPairs = x.nGroups / 2;
  const bool isOdd = x.nGroups % 2 != 0;
  // Behind the last group of an odd number nothing may be read.
  alignas(64) int8_t lastX[256] = {};
  if (isOdd) std::memcpy(lastX, x.values + nPairs * 256, 128);
  for (int r = 0; r < nRows; r++) {
    const uint8_t* codes = weights + static_cast<size_t>(r) * rowBytes;
    const float* own = scales.values ? scales.values + static_cast<size_t>(r) * scales.stride : nullptr;
    const auto factor = [&](int group) { return own ? own[group / scales.groupsPerScale] * x.reciprocals[group] : x.reciprocals[group]; };
    F32x16 sum = splat(0.0f);
    for (int p = 0; p < nPairs; p++) {
      __builtin_prefetch(codes + 64 * p + ahead);
      const I32x16 dots = addInt(pairDots(codes + 64 * p, x.values + 256 * p), loadInt(x.offsets + 16 * p));
      sum = mulAdd(toFloat(dots), splatHalves(factor(2 * p), factor(2 * p + 1)), sum);
    }
    if (isOdd) {
      alignas(64) uint8_t last[64] = {};
      std::memcpy(last, codes + 64 * nPairs, 32);
      const I32x16 dots = addInt(pairDots(last, lastX), loadInt(x.offsets + 16 * nPairs));
      sum = mulAdd(toFloat(dots), splatHalves(factor(2 * nPairs), 0.0f), sum);
    }
    out[r] = fold(sum);
  }
}

}  // namespace
}  // namespace bitnet
