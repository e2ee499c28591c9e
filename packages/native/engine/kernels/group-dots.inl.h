// Ternary rows times rows of activations with a scale for each group of 128 columns (numerics: activations in groups): chains of
// integers become floats group by group, eight chains for even groups and eight for odd ones.
//
// Include after lanes.h and a header that defines, in an anonymous namespace, PairCodes and unpackPair(codes), the codes of two blocks of 32
// bytes; pairDots(codes, x), of these and 256 arranged activations the sums Σ code · x of each word of 4 bytes (4 columns in each of the four
// planes); splatHalves(low, high); and groupRowsAtOnce and groupActivations, how many rows of weights, or of activations, fit the registers at once.
#pragma once
#include <cstring>

#include "kernels.h"

namespace bitnet {
namespace {

// Groups whose factors are computed at a time.
inline constexpr int groupsAtOnce = 16;
inline constexpr size_t groupsAhead = 1024;

// nW rows of weights, `apart` rows from one to the next, with nX rows of activations.
template <int nW, int nX>
void groupTile(const PackedMatrix& weights, int row, int apart, const GroupedRows& x, int firstX, const GroupScales& scales, const F32Matrix& out) {
  F32x16 sums[nW][nX];
  for (auto& ofRow : sums) {
    for (auto& sum : ofRow) sum = splat(0.0f);
  }
  const auto codesOf = [&](int w) { return weights.row(row + w * apart); };
  const auto ownOf = [&](int w) { return scales.values + static_cast<size_t>(row + w * apart) * scales.stride; };
  for (int first = 0; first < x.nGroups; first += groupsAtOnce) {
    const int n = x.nGroups - first < groupsAtOnce ? x.nGroups - first : groupsAtOnce;
    alignas(64) float factors[nW][nX][groupsAtOnce];
    for (int w = 0; w < nW; w++) {
      F32x16 own = splat(1.0f);
      if (scales.values && scales.groupsPerScale == 1) {
        own = loadUpTo(ownOf(w) + first, n);
      } else if (scales.values) {
        alignas(64) float spread[groupsAtOnce] = {};
        for (int g = 0; g < n; g++) spread[g] = ownOf(w)[(first + g) / scales.groupsPerScale];
        own = load(spread);
      }
      for (int i = 0; i < nX; i++) store(factors[w][i], multiply(own, loadUpTo(x.reciprocals + (firstX + i) * x.scaleStride + first, n)));
    }
    const auto addPair = [&](int w, const uint8_t* codes, int g) {
      const size_t pair = static_cast<size_t>(first + g) / 2;
      const PairCodes planes = unpackPair(codes);
#pragma GCC unroll 4
      for (int i = 0; i < nX; i++) {
        const I32x16 dots = addInt(pairDots(planes, x.arranged + (firstX + i) * x.arrangedStride + 256 * pair),
                                   loadInt(x.offsets + (firstX + i) * x.offsetStride + 16 * pair));
        sums[w][i] = mulAdd(toFloat(dots), splatHalves(factors[w][i][g], factors[w][i][g + 1]), sums[w][i]);
      }
    };
    int g = 0;
    for (; g + 2 <= n; g += 2) {
#pragma GCC unroll 4
      for (int w = 0; w < nW; w++) {
        const uint8_t* const codes = codesOf(w) + 32 * static_cast<size_t>(first + g);
        __builtin_prefetch(codes + groupsAhead);
        addPair(w, codes, g);
      }
    }
    if (g == n) continue;
    for (int w = 0; w < nW; w++) {
      // Behind the last group of an odd number nothing may be read.
      alignas(64) uint8_t last[64] = {};
      std::memcpy(last, codesOf(w) + 32 * static_cast<size_t>(first + g), 32);
      addPair(w, last, g);
    }
  }
  for (int w = 0; w < nW; w++) {
    for (int i = 0; i < nX; i++) out.row(firstX + i)[row + w * apart] = fold(sums[w][i]);
  }
}

// Products with codes of 1 are the sums themselves.
void groupOffsets(const int8_t* arranged, int nPairs, int32_t* offsets) {
  alignas(64) uint8_t ones[64];
  std::memset(ones, 0x55, sizeof ones);
  const PairCodes codes = unpackPair(ones);
  for (int pair = 0; pair < nPairs; pair++) {
    alignas(64) float words[16];
    store(words, floatOf(addInt(xorInt(pairDots(codes, arranged + 256 * static_cast<size_t>(pair)), splatInt(-1)), splatInt(1))));
    std::memcpy(offsets + 16 * static_cast<size_t>(pair), words, sizeof words);
  }
}

void groupDots(const PackedMatrix& weights, const GroupedRows& x, const GroupScales& scales, const F32Matrix& out) {
  int i = 0;
  for (; i + groupActivations <= x.nRows; i += groupActivations) {
    for (int r = 0; r < weights.rows; r++) groupTile<1, groupActivations>(weights, r, 0, x, i, scales, out);
  }
  // Few rows of activations: several streams of weights side by side.
  const int perStream = weights.rows / groupRowsAtOnce;
  for (; i < x.nRows; i++) {
    for (int r = 0; r < perStream; r++) groupTile<groupRowsAtOnce, 1>(weights, r, perStream, x, i, scales, out);
    for (int r = perStream * groupRowsAtOnce; r < weights.rows; r++) groupTile<1, 1>(weights, r, 0, x, i, scales, out);
  }
}

}  // namespace
}  // namespace bitnet
