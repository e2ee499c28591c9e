// Attention of several queries against keys and values that follow each other, in register tiles: a key or value that has been loaded (and widened)
// once serves several queries, a query several keys. The order within each dot product and each sum is that of docs/numerics.md,
// whatever the tile. Include after a lanes.h.
#pragma once
#include "f32-dense.inl.h"

namespace bitnet {
namespace {

// Queries, and keys or vectors of a value, on the sides of a tile, so that its sums stay in registers. GCC leaves them in memory where it
// does not unroll the loops over them before it looks, hence the pragmas.
inline constexpr int tileSide = registerVectors >= 32 ? 4 : 2;

// out[a][b] = dot(query a, key b)
template <class Elements, int nQ, int nK>
void dotTile(const float* q, size_t qStride, const typename Elements::Type* keys, int headDim, float* out, size_t outStride) {
  F32x16 chains[nQ * nK];
#pragma GCC unroll 16
  for (F32x16& chain : chains) chain = splat(0.0f);
  const auto key = [&](int b) { return keys + static_cast<size_t>(b) * headDim; };
  int i = 0;
  for (; i + lanes <= headDim; i += lanes) {
    F32x16 k[nK];
#pragma GCC unroll 16
    for (int b = 0; b < nK; b++) k[b] = Elements::get(key(b) + i);
#pragma GCC unroll 16
    for (int a = 0; a < nQ; a++) {
      const F32x16 v = load(q + a * qStride + i);
#pragma GCC unroll 16
      for (int b = 0; b < nK; b++) chains[a * nK + b] = mulAdd(v, k[b], chains[a * nK + b]);
    }
  }
  if (i < headDim) {
    F32x16 k[nK];
#pragma GCC unroll 16
    for (int b = 0; b < nK; b++) k[b] = Elements::getSome(key(b) + i, headDim - i);
#pragma GCC unroll 16
    for (int a = 0; a < nQ; a++) {
      const F32x16 v = loadSome(q + a * qStride + i, headDim - i, 0.0f);
#pragma GCC unroll 16
      for (int b = 0; b < nK; b++) chains[a * nK + b] = mulAdd(v, k[b], chains[a * nK + b]);
    }
  }
  if constexpr (nQ == 4 && nK == 4) {
    fold16(chains, out, outStride);
  } else if constexpr (nQ * nK == 4) {
    alignas(16) float sums[4];
    fold4(chains[0], chains[1], chains[2], chains[3], sums);
#pragma GCC unroll 16
    for (int a = 0; a < nQ; a++) std::memcpy(out + a * outStride, sums + a * nK, nK * sizeof(float));
  } else {
#pragma GCC unroll 16
    for (int a = 0; a < nQ; a++)
#pragma GCC unroll 16
      for (int b = 0; b < nK; b++) out[a * outStride + b] = fold(chains[a * nK + b]);
  }
}

// All keys for nQ queries.
template <class Elements, int nQ>
void scoreQueries(const float* q, size_t qStride, const typename Elements::Type* keys, int nKeys, int headDim, float* scores,
                  size_t scoreStride) {
  constexpr int nK = nQ == 1 ? 4 : tileSide;
  const auto key = [&](int j) { return keys + static_cast<size_t>(j) * headDim; };
  int j = 0;
  for (; j + nK <= nKeys; j += nK) dotTile<Elements, nQ, nK>(q, qStride, key(j), headDim, scores + j, scoreStride);
  for (; j < nKeys; j++) dotTile<Elements, nQ, 1>(q, qStride, key(j), headDim, scores + j, scoreStride);
}

template <class Elements>
void scoreElements(const float* q, size_t qStride, int nQ, const void* first, int nKeys, int headDim, float* scores, size_t scoreStride) {
  const auto* keys = static_cast<const typename Elements::Type*>(first);
  int a = 0;
  for (; a + tileSide <= nQ; a += tileSide)
    scoreQueries<Elements, tileSide>(q + a * qStride, qStride, keys, nKeys, headDim, scores + a * scoreStride, scoreStride);
  for (; a < nQ; a++) scoreQueries<Elements, 1>(q + a * qStride, qStride, keys, nKeys, headDim, scores + a * scoreStride, scoreStride);
}

void scores(KvType type, const float* q, size_t qStride, int nQ, const void* keys, int nKeys, int headDim, float* scores,
            size_t scoreStride) {
  if (type == KvType::F16) return scoreElements<F16Elements>(q, qStride, nQ, keys, nKeys, headDim, scores, scoreStride);
  return scoreElements<F32Elements>(q, qStride, nQ, keys, nKeys, headDim, scores, scoreStride);
}

// The sums of query i from element d on.
inline ValueSums sumsFrom(const ValueSums& sums, int i, int d) {
  const size_t at = i * sums.stride + d;
  return {sums.acc + at, sums.stride, sums.isFirst, sums.total ? sums.total + at : nullptr};
}

// `blocks` vectors of nQ accumulators stay in registers while all keys pass.
template <class Elements, int nQ, int blocks>
void accumulateBlocks(const float* p, size_t pStride, size_t pStep, const typename Elements::Type* values, int nKeys, int headDim,
                      ValueSums of) {
  F32x16 sums[nQ * blocks];
#pragma GCC unroll 32
  for (int a = 0; a < nQ; a++)
#pragma GCC unroll 32
    for (int b = 0; b < blocks; b++) sums[a * blocks + b] = of.isFirst ? splat(0.0f) : load(of.acc + a * of.stride + lanes * b);
#pragma GCC unroll 2
  for (int j = 0; j < nKeys; j++) {
    F32x16 v[blocks];
#pragma GCC unroll 32
    for (int b = 0; b < blocks; b++) v[b] = Elements::get(values + lanes * b);
#pragma GCC unroll 32
    for (int a = 0; a < nQ; a++) {
      const F32x16 weight = splat(p[a * pStride]);
#pragma GCC unroll 32
      for (int b = 0; b < blocks; b++) sums[a * blocks + b] = mulAdd(weight, v[b], sums[a * blocks + b]);
    }
    values += headDim, p += pStep;
  }
  float* to = of.total ? of.total : of.acc;
#pragma GCC unroll 32
  for (int a = 0; a < nQ; a++, to += of.stride)
#pragma GCC unroll 32
    for (int b = 0; b < blocks; b++) {
      const F32x16 sum = sums[a * blocks + b];
      store(to + lanes * b, of.total ? add(load(to + lanes * b), sum) : sum);
    }
}

// The last headDim mod 16 elements.
template <class Elements>
void accumulateRest(const float* p, size_t pStep, const typename Elements::Type* values, int nKeys, int headDim, int rest, const ValueSums& of) {
  F32x16 sum = of.isFirst ? splat(0.0f) : loadSome(of.acc, rest, 0.0f);
  for (int j = 0; j < nKeys; j++)
    sum = mulAdd(splat(p[j * pStep]), Elements::getSome(values + static_cast<size_t>(j) * headDim, rest), sum);
  if (of.total) {
    storeSome(of.total, rest, add(loadSome(of.total, rest, 0.0f), sum));
  } else {
    storeSome(of.acc, rest, sum);
  }
}

template <class Elements, int nQ>
void accumulateQueries(const float* p, size_t pStride, size_t pStep, const typename Elements::Type* values, int nKeys, int headDim,
                       const ValueSums& of) {
  int d = 0;
  const auto take = [&]<int blocks>() {
    for (; d + blocks * lanes <= headDim; d += blocks * lanes)
      accumulateBlocks<Elements, nQ, blocks>(p, pStride, pStep, values + d, nKeys, headDim, sumsFrom(of, 0, d));
  };
  // A single query has no other sums between two steps of one; they hide the latency.
  if constexpr (nQ == 1) take.template operator()<2 * tileSide>();
  take.template operator()<tileSide>();
  if constexpr (nQ == 1 && tileSide > 2) take.template operator()<2>();
  take.template operator()<1>();
  for (int a = 0; d < headDim && a < nQ; a++)
    accumulateRest<Elements>(p + a * pStride, pStep, values + d, nKeys, headDim, headDim - d, sumsFrom(of, a, d));
}

template <class Elements>
void accumulateElements(const float* p, size_t pStride, size_t pStep, int nQ, const void* first, int nKeys, int headDim, const ValueSums& of) {
  const auto* values = static_cast<const typename Elements::Type*>(first);
  int a = 0;
  const auto take = [&]<int n>() {
    accumulateQueries<Elements, n>(p + a * pStride, pStride, pStep, values, nKeys, headDim, sumsFrom(of, a, 0));
    a += n;
  };
  // Any even number but 2 is made of sixes and fours.
  while (nQ - a >= tileSide) {
    if (tileSide == 4 && (nQ - a) % 6 == 0) {
      take.template operator()<6>();
    } else {
      take.template operator()<tileSide>();
    }
  }
  while (a < nQ) take.template operator()<1>();
}

void accumulateValues(KvType type, const float* p, size_t pStride, size_t pStep, int nQ, const void* values, int nKeys, int headDim,
                      const ValueSums& sums) {
  if (type == KvType::F16) return accumulateElements<F16Elements>(p, pStride, pStep, nQ, values, nKeys, headDim, sums);
  return accumulateElements<F32Elements>(p, pStride, pStep, nQ, values, nKeys, headDim, sums);
}

}  // namespace
}  // namespace bitnet
