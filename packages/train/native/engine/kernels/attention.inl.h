// Attention inside one document and its gradient, four rows of queries at a time. Keys (and for the gradient values) lie transposed, so
// that one vector holds 16 keys; sums over the head's dimension run in the 16 chains of the engine. Include after f32-lanes.inl.h.
#pragma once
#include <algorithm>
#include <cmath>

#include "train-kernels.h"

namespace bitnet::train {
namespace {

constexpr int queryRows = 4;

// Where one document and head stand.
struct HeadPlace {
  int n;           // rows
  int padded;      // rows rounded up to whole vectors, and one more for tiles that reach beyond
  size_t qStride, kvStride;
  const float *q, *k, *v;
  float *keys, *values;              // [headDim][padded]
  float *scores[queryRows], *slopes[queryRows];  // [padded]
};

HeadPlace placeOf(const Attention& p, int document, int kvHead, float* scratch) {
  const int first = p.starts[document], n = p.starts[document + 1] - first;
  HeadPlace place;
  place.n = n;
  place.padded = (n + 31) / 16 * 16;
  place.qStride = static_cast<size_t>(p.nHeads) * p.headDim;
  place.kvStride = static_cast<size_t>(p.nKvHeads) * p.headDim;
  place.q = p.q + first * place.qStride;
  place.k = p.k + first * place.kvStride + static_cast<size_t>(kvHead) * p.headDim;
  place.v = p.v + first * place.kvStride + static_cast<size_t>(kvHead) * p.headDim;
  place.keys = scratch;
  place.values = place.keys + static_cast<size_t>(place.padded) * p.headDim;
  float* rows = place.values + static_cast<size_t>(place.padded) * p.headDim;
  for (int r = 0; r < queryRows; r++) {
    place.scores[r] = rows + static_cast<size_t>(place.padded) * r;
    place.slopes[r] = rows + static_cast<size_t>(place.padded) * (queryRows + r);
  }
  return place;
}

void transpose(const float* from, size_t stride, int n, int padded, int headDim, float* to) {
  for (int j0 = 0; j0 < padded; j0 += 16)
    for (int d = 0; d < headDim; d++) {
      float* out = to + static_cast<size_t>(d) * padded + j0;
      for (int j = 0; j < 16; j++) out[j] = j0 + j < n ? from[(j0 + j) * stride + d] : 0.0f;
    }
}

struct FourRows {
  F32x16 rows[queryRows];
};

// Chain c: elements c, c + 16, … of the dot products of four queries with 16 keys.
inline __attribute__((always_inline)) FourRows chainOf(const float* const* q, const float* keys, int padded, int headDim, int c) {
  FourRows sums;
  if (c >= headDim) {
    for (auto& sum : sums.rows) sum = splat(0.0f);
    return sums;
  }
  const F32x16 key = load(keys + static_cast<size_t>(c) * padded);
#pragma GCC unroll 4
  for (int r = 0; r < queryRows; r++) sums.rows[r] = multiply(splat(q[r][c]), key);
  for (int d = c + 16; d < headDim; d += 16) {
    const F32x16 next = load(keys + static_cast<size_t>(d) * padded);
#pragma GCC unroll 4
    for (int r = 0; r < queryRows; r++) sums.rows[r] = mulAdd(splat(q[r][d]), next, sums.rows[r]);
  }
  return sums;
}

// The fold 8, 4, 2, 1 of 16 chains, depth first: few vectors live at a time.
template <int level>
inline __attribute__((always_inline)) FourRows foldFrom(const float* const* q, const float* keys, int padded, int headDim, int c) {
  if constexpr (level == 16) {
    return chainOf(q, keys, padded, headDim, c);
  } else {
    FourRows a = foldFrom<2 * level>(q, keys, padded, headDim, c);
    const FourRows b = foldFrom<2 * level>(q, keys, padded, headDim, c + level);
#pragma GCC unroll 4
    for (int r = 0; r < queryRows; r++) a.rows[r] = add(a.rows[r], b.rows[r]);
    return a;
  }
}

// Rows past the end of the document are copies of its last one that nobody stores.
inline void queriesAt(const Attention& p, const HeadPlace& place, const float* base, int head, int row, const float** q) {
  for (int r = 0; r < queryRows; r++)
    q[r] = base + std::min(row + r, place.n - 1) * place.qStride + static_cast<size_t>(head) * p.headDim;
}

void scoreRows(const Attention& p, const HeadPlace& place, const float* const* q, int nKeys) {
  for (int j = 0; j < nKeys; j += 16) {
    const FourRows sums = foldFrom<1>(q, place.keys + j, place.padded, p.headDim, 0);
#pragma GCC unroll 4
    for (int r = 0; r < queryRows; r++) store(place.scores[r] + j, sums.rows[r]);
  }
}

// exp(score · scale − m) for the first n keys, 0 for the others up to `nKeys`; their chains are added to `sums`.
inline void exponentials(float* scores, int n, int nKeys, float scale, float m, F32x16* sums) {
  for (int j = 0; j < nKeys; j += 16) {
    F32x16 e = expLanes(mulAdd(load(scores + j), splat(scale), splat(-m)));
    if (j + 16 > n) {
      store(scores + j, e);
      for (int i = std::max(0, n - j); i < 16; i++) scores[j + i] = 0.0f;
      e = load(scores + j);
    }
    if (sums) *sums = add(*sums, e);
    store(scores + j, e);
  }
}

void attention(const Attention& p, int document, int kvHead, float* scratch) {
  const HeadPlace place = placeOf(p, document, kvHead, scratch);
  const int first = p.starts[document], group = p.nHeads / p.nKvHeads, headDim = p.headDim;
  transpose(place.k, place.kvStride, place.n, place.padded, headDim, place.keys);
  for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
    for (int row = 0; row < place.n; row += queryRows) {
      const int rows = std::min(queryRows, place.n - row), nKeys = row + rows;
      const float* q[queryRows];
      queriesAt(p, place, place.q, head, row, q);
      scoreRows(p, place, q, nKeys);
      float sum[queryRows];
      for (int r = 0; r < rows; r++) {
        const int n = row + r + 1;
        F32x16 highs = splat(-INFINITY);
        for (int j = 0; j < n; j += 16)
          highs = maximum(highs, n - j >= 16 ? load(place.scores[r] + j) : loadSome(place.scores[r] + j, n - j, -INFINITY));
        const float m = maxOf(highs) * p.scale;
        F32x16 chains = splat(0.0f);
        exponentials(place.scores[r], n, nKeys, p.scale, m, &chains);
        sum[r] = fold(chains);
        float* stats = p.stats + 2 * (static_cast<size_t>(first + row + r) * p.nHeads + head);
        stats[0] = m;
        stats[1] = sum[r];
      }
      for (int d = 0; d < headDim; d += 16) {
        const int some = headDim - d;
        F32x16 totals[queryRows];
        for (auto& total : totals) total = splat(0.0f);
        for (int from = 0; from < nKeys; from += chainLength) {
          F32x16 chains[queryRows];
          for (auto& chain : chains) chain = splat(0.0f);
          const int to = std::min(nKeys, from + chainLength);
          for (int j = from; j < to; j++) {
            const F32x16 v = loadUpTo(place.v + j * place.kvStride + d, some);
#pragma GCC unroll 4
            for (int r = 0; r < queryRows; r++) chains[r] = mulAdd(splat(place.scores[r][j]), v, chains[r]);
          }
          for (int r = 0; r < queryRows; r++) totals[r] = add(totals[r], chains[r]);
        }
        for (int r = 0; r < rows; r++) {
          float* out = p.out + (first + row + r) * place.qStride + static_cast<size_t>(head) * headDim + d;
          storeUpTo(out, some, divide(totals[r], splat(sum[r])));
        }
      }
    }
  }
}

// slopes[r][j] = dO[r] · v[j], one chain over the head's dimension.
void slopeRows(const Attention& p, const HeadPlace& place, const float* const* dOut, int nKeys) {
  for (int j = 0; j < nKeys; j += 32) {
    F32x16 low[queryRows], high[queryRows];
    for (int r = 0; r < queryRows; r++) low[r] = high[r] = splat(0.0f);
    const bool both = j + 16 < place.padded;
    for (int d = 0; d < p.headDim; d++) {
      const float* values = place.values + static_cast<size_t>(d) * place.padded + j;
      const F32x16 a = load(values), b = both ? load(values + 16) : a;
#pragma GCC unroll 4
      for (int r = 0; r < queryRows; r++) {
        const F32x16 x = splat(dOut[r][d]);
        low[r] = mulAdd(x, a, low[r]);
        high[r] = mulAdd(x, b, high[r]);
      }
    }
    for (int r = 0; r < queryRows; r++) {
      store(place.slopes[r] + j, low[r]);
      if (both) store(place.slopes[r] + j + 16, high[r]);
    }
  }
}

// Probabilities into `scores`, gradients of the scaled scores into `slopes`; 0 beyond a row's own position.
void scoreGradients(const Attention& p, const HeadPlace& place, int first, int head, int row, int rows, int nKeys) {
  for (int r = 0; r < queryRows; r++) {
    float *scores = place.scores[r], *slopes = place.slopes[r];
    if (r >= rows) {
      for (int j = 0; j < nKeys; j++) scores[j] = slopes[j] = 0.0f;
      continue;
    }
    const size_t at = static_cast<size_t>(first) + row + r;
    const float* stats = p.stats + 2 * (at * p.nHeads + head);
    const float m = stats[0], inverse = 1.0f / stats[1];
    const float* d = p.dOut + at * place.qStride + static_cast<size_t>(head) * p.headDim;
    const float* out = p.out + at * place.qStride + static_cast<size_t>(head) * p.headDim;
    F32x16 chains = splat(0.0f);
    for (int i = 0; i < p.headDim; i += 16) chains = mulAdd(loadUpTo(d + i, p.headDim - i), loadUpTo(out + i, p.headDim - i), chains);
    const float mean = fold(chains);
    const int n = row + r + 1;
    exponentials(scores, n, nKeys, p.scale, m, nullptr);
    for (int j = 0; j < nKeys; j += 16) {
      const F32x16 probability = multiply(load(scores + j), splat(inverse));
      store(scores + j, probability);
      store(slopes + j, multiply(multiply(probability, subtract(load(slopes + j), splat(mean))), splat(p.scale)));
    }
    for (int j = n; j < nKeys; j++) slopes[j] = 0.0f;
  }
}

void attentionGradient(const Attention& p, int document, int kvHead, float* scratch) {
  const HeadPlace place = placeOf(p, document, kvHead, scratch);
  const int first = p.starts[document], group = p.nHeads / p.nKvHeads, headDim = p.headDim;
  transpose(place.k, place.kvStride, place.n, place.padded, headDim, place.keys);
  transpose(place.v, place.kvStride, place.n, place.padded, headDim, place.values);
  const size_t kvAt = first * place.kvStride + static_cast<size_t>(kvHead) * headDim;
  for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
    for (int row = 0; row < place.n; row += queryRows) {
      const int rows = std::min(queryRows, place.n - row), nKeys = row + rows;
      const float *q[queryRows], *d[queryRows];
      queriesAt(p, place, place.q, head, row, q);
      queriesAt(p, place, p.dOut + first * place.qStride, head, row, d);
      scoreRows(p, place, q, nKeys);
      slopeRows(p, place, d, nKeys);
      scoreGradients(p, place, first, head, row, rows, nKeys);
      for (int c = 0; c < headDim; c += 16) {
        const int some = headDim - c;
        F32x16 query[queryRows], slope[queryRows], sums[queryRows];
#pragma GCC unroll 4
        for (int r = 0; r < queryRows; r++) {
          query[r] = loadUpTo(q[r] + c, some);
          slope[r] = loadUpTo(d[r] + c, some);
          sums[r] = splat(0.0f);
        }
        for (int j = 0; j < nKeys; j++) {
          const size_t at = kvAt + j * place.kvStride + c;
          const F32x16 key = loadUpTo(p.k + at, some);
          F32x16 dKey = loadUpTo(p.dK + at, some), dValue = loadUpTo(p.dV + at, some);
#pragma GCC unroll 4
          for (int r = 0; r < queryRows; r++) {
            const F32x16 x = splat(place.slopes[r][j]);
            sums[r] = mulAdd(x, key, sums[r]);
            dKey = mulAdd(x, query[r], dKey);
            dValue = mulAdd(splat(place.scores[r][j]), slope[r], dValue);
          }
          storeUpTo(p.dK + at, some, dKey);
          storeUpTo(p.dV + at, some, dValue);
        }
        for (int r = 0; r < rows; r++) {
          float* out = p.dQ + (first + row + r) * place.qStride + static_cast<size_t>(head) * headDim + c;
          storeUpTo(out, some, add(loadUpTo(out, some), sums[r]));
        }
      }
    }
  }
}

}  // namespace
}  // namespace bitnet::train
