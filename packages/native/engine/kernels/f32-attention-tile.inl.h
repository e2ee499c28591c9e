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

// Keys or values of a head by position.
template <class Elements>
using Cached = Matrix<const typename Elements::Type>;

template <class Elements>
Cached<Elements> rowsOf(const CachedHead& head) {
  return {static_cast<const typename Elements::Type*>(head.data), static_cast<size_t>(head.headDim), head.nKeys, head.headDim};
}

// out[a][b] = dot(query a, key b)
template <class Elements, int nQ, int nK>
void dotTile(const ConstF32Matrix& queries, const Cached<Elements>& keys, const F32Matrix& out) {
  const int headDim = queries.cols;
  F32x16 chains[nQ * nK];
#pragma GCC unroll 16
  for (F32x16& chain : chains) chain = splat(0.0f);
  int i = 0;
  for (; i + lanes <= headDim; i += lanes) {
    F32x16 k[nK];
#pragma GCC unroll 16
    for (int b = 0; b < nK; b++) k[b] = Elements::get(keys.row(b) + i);
#pragma GCC unroll 16
    for (int a = 0; a < nQ; a++) {
      const F32x16 v = load(queries.row(a) + i);
#pragma GCC unroll 16
      for (int b = 0; b < nK; b++) chains[a * nK + b] = mulAdd(v, k[b], chains[a * nK + b]);
    }
  }
  if (i < headDim) {
    F32x16 k[nK];
#pragma GCC unroll 16
    for (int b = 0; b < nK; b++) k[b] = Elements::getSome(keys.row(b) + i, headDim - i);
#pragma GCC unroll 16
    for (int a = 0; a < nQ; a++) {
      const F32x16 v = loadSome(queries.row(a) + i, headDim - i, 0.0f);
#pragma GCC unroll 16
      for (int b = 0; b < nK; b++) chains[a * nK + b] = mulAdd(v, k[b], chains[a * nK + b]);
    }
  }
  if constexpr (nQ == 4 && nK == 4) {
    fold16(chains, out.data, out.stride);
  } else if constexpr (nQ * nK == 4) {
    alignas(16) float sums[4];
    fold4(chains[0], chains[1], chains[2], chains[3], sums);
#pragma GCC unroll 16
    for (int a = 0; a < nQ; a++) std::memcpy(out.row(a), sums + a * nK, nK * sizeof(float));
  } else {
#pragma GCC unroll 16
    for (int a = 0; a < nQ; a++)
#pragma GCC unroll 16
      for (int b = 0; b < nK; b++) out.row(a)[b] = fold(chains[a * nK + b]);
  }
}

// All keys for nQ queries.
template <class Elements, int nQ>
void scoreQueries(const ConstF32Matrix& queries, const Cached<Elements>& keys, const F32Matrix& scores) {
  constexpr int nK = nQ == 1 ? 4 : tileSide;
  int j = 0;
  for (; j + nK <= keys.rows; j += nK) dotTile<Elements, nQ, nK>(queries, keys.part(j, nK), {scores.data + j, scores.stride, nQ, nK});
  for (; j < keys.rows; j++) dotTile<Elements, nQ, 1>(queries, keys.part(j, 1), {scores.data + j, scores.stride, nQ, 1});
}

template <class Elements>
void scoreElements(const ConstF32Matrix& queries, const Cached<Elements>& keys, const F32Matrix& scores) {
  int a = 0;
  for (; a + tileSide <= queries.rows; a += tileSide)
    scoreQueries<Elements, tileSide>(queries.part(a, tileSide), keys, scores.part(a, tileSide));
  for (; a < queries.rows; a++) scoreQueries<Elements, 1>(queries.part(a, 1), keys, scores.part(a, 1));
}

void scores(const ConstF32Matrix& queries, const CachedHead& keys, const F32Matrix& scores) {
  if (keys.type == KvType::F16) return scoreElements<F16Elements>(queries, rowsOf<F16Elements>(keys), scores);
  return scoreElements<F32Elements>(queries, rowsOf<F32Elements>(keys), scores);
}

// The sums of query i from element d on.
inline ValueSums sumsFrom(const ValueSums& sums, int i, int d) {
  const size_t at = i * sums.stride + d;
  return {sums.acc + at, sums.stride, sums.isFirst, sums.total ? sums.total + at : nullptr};
}

// The weights for the queries from i on.
inline KeyWeights weightsFrom(const KeyWeights& weights, int i, int n) { return {weights.data + i * weights.queryStride, weights.queryStride, weights.keyStride, n}; }

// `blocks` vectors of nQ accumulators stay in registers while all keys pass.
template <class Elements, int nQ, int blocks>
void accumulateBlocks(const KeyWeights& weights, const Cached<Elements>& values, const ValueSums& of) {
  const float* p = weights.data;
  const auto* value = values.data;
  F32x16 sums[nQ * blocks];
#pragma GCC unroll 32
  for (int a = 0; a < nQ; a++)
#pragma GCC unroll 32
    for (int b = 0; b < blocks; b++) sums[a * blocks + b] = of.isFirst ? splat(0.0f) : load(of.acc + a * of.stride + lanes * b);
#pragma GCC unroll 2
  for (int j = 0; j < values.rows; j++) {
    F32x16 v[blocks];
#pragma GCC unroll 32
    for (int b = 0; b < blocks; b++) v[b] = Elements::get(value + lanes * b);
#pragma GCC unroll 32
    for (int a = 0; a < nQ; a++) {
      const F32x16 weight = splat(p[a * weights.queryStride]);
#pragma GCC unroll 32
      for (int b = 0; b < blocks; b++) sums[a * blocks + b] = mulAdd(weight, v[b], sums[a * blocks + b]);
    }
    value += values.stride;
    p += weights.keyStride;
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
void accumulateRest(const KeyWeights& weights, const Cached<Elements>& values, const ValueSums& of) {
  const int rest = values.cols;
  F32x16 sum = of.isFirst ? splat(0.0f) : loadSome(of.acc, rest, 0.0f);
  for (int j = 0; j < values.rows; j++) sum = mulAdd(splat(weights.data[j * weights.keyStride]), Elements::getSome(values.row(j), rest), sum);
  if (of.total) {
    storeSome(of.total, rest, add(loadSome(of.total, rest, 0.0f), sum));
  } else {
    storeSome(of.acc, rest, sum);
  }
}

template <class Elements, int nQ>
void accumulateQueries(const KeyWeights& weights, const Cached<Elements>& values, const ValueSums& of) {
  const int headDim = values.cols;
  int d = 0;
  const auto from = [&](int first) { return Cached<Elements>{values.data + first, values.stride, values.rows, headDim - first}; };
  const auto take = [&]<int blocks>() {
    for (; d + blocks * lanes <= headDim; d += blocks * lanes)
      accumulateBlocks<Elements, nQ, blocks>(weights, from(d), sumsFrom(of, 0, d));
  };
  // A single query has no other sums between two steps of one; they hide the latency.
  if constexpr (nQ == 1) take.template operator()<2 * tileSide>();
  take.template operator()<tileSide>();
  if constexpr (nQ == 1 && tileSide > 2) take.template operator()<2>();
  take.template operator()<1>();
  for (int a = 0; d < headDim && a < nQ; a++)
    accumulateRest<Elements>(weightsFrom(weights, a, 1), from(d), sumsFrom(of, a, d));
}

template <class Elements>
void accumulateElements(const KeyWeights& weights, const Cached<Elements>& values, const ValueSums& of) {
  const int nQ = weights.nQueries;
  int a = 0;
  const auto take = [&]<int n>() {
    accumulateQueries<Elements, n>(weightsFrom(weights, a, n), values, sumsFrom(of, a, 0));
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

void accumulateValues(const KeyWeights& weights, const CachedHead& values, const ValueSums& sums) {
  if (values.type == KvType::F16) return accumulateElements<F16Elements>(weights, rowsOf<F16Elements>(values), sums);
  return accumulateElements<F32Elements>(weights, rowsOf<F32Elements>(values), sums);
}

}  // namespace
}  // namespace bitnet
