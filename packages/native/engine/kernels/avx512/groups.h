// Ternary rows times activations in groups (group-dots.inl.h says what), for avx512/ and amx/: a vector is two blocks, the even group in its lower
// half. Offsets begin the chains of the multiply instructions, and the factors of two groups spread over a vector without a way through scalars:
// conversion, factor and multiply-add are all that groups cost beside the products. Include after f32-kernels.inl.h and blocks.h.
#pragma once
#include <cstring>

#include "../kernels.h"
#include "intrinsics.h"

namespace bitnet {
namespace {

// Groups whose factors are computed at a time: a vector of scales.
inline constexpr int groupsAtOnce = 16;
inline constexpr size_t codesAhead = 1024, scalesAhead = 128;

// [a, b, …] to eight times a, eight times b.
inline __m512 spreadPair(const float* two) {
  double both;
  std::memcpy(&both, two, sizeof both);
  const __m512i choice = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi32(1), 1);
  return _mm512_permutevar_ps(_mm512_castpd_ps(_mm512_set1_pd(both)), choice);
}

// A row of weights: its codes, and its scales by group or null.
struct GroupRow {
  const uint8_t* codes;
  const float* scales;
};

// Those of n ≤ 16 groups from `first` on, 1 where there are none.
inline __m512 scalesOf(const GroupRow& row, int groupsPerScale, int first, int n) {
  if (!row.scales) return _mm512_set1_ps(1.0f);
  if (groupsPerScale == 1) return loadUpTo(row.scales + first, n);
  alignas(64) float spread[groupsAtOnce] = {};
  for (int g = 0; g < n; g++) spread[g] = row.scales[(first + g) / groupsPerScale];
  return _mm512_load_ps(spread);
}

// nW rows of weights with rows firstX … firstX + nX − 1 of activations; results of row w to column outs[w].
template <int nW, int nX>
void groupTile(const GroupRow (&rows)[nW], const GroupedRows& x, int firstX, int groupsPerScale, const F32Matrix& out, const int (&outs)[nW]) {
  __m512 sums[nW][nX];
#pragma GCC unroll 8
  for (int w = 0; w < nW; w++) {
#pragma GCC unroll 8
    for (int i = 0; i < nX; i++) sums[w][i] = _mm512_setzero_ps();
  }
  const int8_t* arranged = x.arranged + firstX * x.arrangedStride;
  const int32_t* offsets = x.offsets + firstX * x.offsetStride;
  const auto addPair = [&](const __m512i (&packed)[nW], const float (&factors)[nW][nX][groupsAtOnce], int g) __attribute__((always_inline)) {
    PairCodes codes[nW];
#pragma GCC unroll 8
    for (int w = 0; w < nW && nX > 1; w++) codes[w] = pairCodesOf(packed[w]);
#pragma GCC unroll 8
    for (int i = 0; i < nX; i++) {
      const int8_t* const from = arranged + i * x.arrangedStride;
      const __m512i offset = _mm512_loadu_si512(offsets + i * x.offsetStride);
      const __m512i x0 = _mm512_loadu_si512(from), x1 = _mm512_loadu_si512(from + 64);
      const __m512i x2 = _mm512_loadu_si512(from + 128), x3 = _mm512_loadu_si512(from + 192);
#pragma GCC unroll 8
      for (int w = 0; w < nW; w++) {
        const PairCodes of = nX > 1 ? codes[w] : pairCodesOf(packed[w]);
        const __m512i half = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(offset, of.planes[0], x0), of.planes[1], x1);
        const __m512i dots = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(half, of.planes[2], x2), of.planes[3], x3);
        sums[w][i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), spreadPair(&factors[w][i][g]), sums[w][i]);
      }
    }
    arranged += 256;
    offsets += 16;
  };
  for (int first = 0; first < x.nGroups; first += groupsAtOnce) {
    const int n = x.nGroups - first < groupsAtOnce ? x.nGroups - first : groupsAtOnce;
    alignas(64) float factors[nW][nX][groupsAtOnce];
#pragma GCC unroll 8
    for (int w = 0; w < nW; w++) {
      const __m512 own = scalesOf(rows[w], groupsPerScale, first, n);
      if (rows[w].scales) __builtin_prefetch(rows[w].scales + first / groupsPerScale + scalesAhead);
#pragma GCC unroll 8
      for (int i = 0; i < nX; i++) _mm512_store_ps(factors[w][i], _mm512_mul_ps(own, loadUpTo(x.reciprocals + (firstX + i) * x.scaleStride + first, n)));
    }
    __m512i packed[nW];
    int g = 0;
    for (; g + 2 <= n; g += 2) {
#pragma GCC unroll 8
      for (int w = 0; w < nW; w++) {
        const uint8_t* const at = rows[w].codes + 32 * static_cast<size_t>(first + g);
        packed[w] = _mm512_loadu_si512(at);
        __builtin_prefetch(at + codesAhead);
      }
      addPair(packed, factors, g);
    }
    if (g == n) continue;
    // Behind the last group of an odd number nothing may be read.
    for (int w = 0; w < nW; w++) packed[w] = _mm512_zextsi256_si512(loadHalfVector(rows[w].codes + 32 * static_cast<size_t>(first + g)));
    addPair(packed, factors, g);
  }
#pragma GCC unroll 8
  for (int w = 0; w < nW; w++) {
#pragma GCC unroll 8
    for (int i = 0; i < nX; i++) out.row(firstX + i)[outs[w]] = fold(sums[w][i]);
  }
}

// How many rows of weights go together with so many of activations: what fits the registers beside the codes and a row of activations.
template <int nX>
inline constexpr int weightsWith = nX <= 2 ? 4 : 2;
template <>
inline constexpr int weightsWith<3> = 3;
inline constexpr int mostActivations = 4;

template <int nX>
void multiplyGroups(const PackedMatrix& weights, const GroupedRows& x, int firstX, const GroupScales& scales, const F32Matrix& out) {
  constexpr int nW = weightsWith<nX>;
  const auto rowOf = [&](int r) {
    return GroupRow{weights.row(r), scales.values ? scales.values + static_cast<size_t>(r) * scales.stride : nullptr};
  };
  // A single row of activations waits for memory: several streams of weights side by side.
  const int nTiles = weights.rows / nW, whole = nTiles * nW, apart = nX == 1 ? nTiles : 1;
  for (int k = 0; k < nTiles; k++) {
    GroupRow rows[nW];
    int outs[nW];
    for (int w = 0; w < nW; w++) {
      outs[w] = (nX == 1 ? k : nW * k) + w * apart;
      rows[w] = rowOf(outs[w]);
    }
    groupTile<nW, nX>(rows, x, firstX, scales.groupsPerScale, out, outs);
  }
  for (int r = whole; r < weights.rows; r++) groupTile<1, nX>({rowOf(r)}, x, firstX, scales.groupsPerScale, out, {r});
}

constexpr decltype(&multiplyGroups<1>) multiplyGroupsBySize[] = {nullptr, multiplyGroups<1>, multiplyGroups<2>, multiplyGroups<3>, multiplyGroups<4>};

void groupOffsets(const int8_t* arranged, int nPairs, int32_t* offsets) {
  const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_setzero_si512();
  for (int pair = 0; pair < nPairs; pair++, arranged += 256, offsets += 16) {
    const auto part = [&](__m512i sums, int plane) { return _mm512_dpbusd_epi32(sums, ones, _mm512_loadu_si512(arranged + 64 * plane)); };
    _mm512_storeu_si512(offsets, _mm512_sub_epi32(zero, part(part(part(part(zero, 0), 1), 2), 3)));
  }
}

void groupDots(const PackedMatrix& weights, const GroupedRows& x, const GroupScales& scales, const F32Matrix& out) {
  for (int i = 0; i < x.nRows; i += mostActivations) {
    const int n = x.nRows - i < mostActivations ? x.nRows - i : mostActivations;
    multiplyGroupsBySize[n](weights, x, i, scales, out);
  }
}

}  // namespace
}  // namespace bitnet
