// What is lost when a row is copied in int8: the head's screen needs a bound on it (docs/kernels.md). Include after a lanes.h.
#pragma once
#include "f32-lanes.inl.h"

namespace bitnet {
namespace {

float residualSquares(const float* w, const int8_t* q, float s, int n) {
  const F32x16 factor = splat(-s);
  F32x16 chains = splat(0.0f);
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    const F32x16 e = mulAdd(factor, toFloat(loadSignedBytes(q + i)), load(w + i));
    chains = mulAdd(e, e, chains);
  }
  if (i < n) {
    int8_t rest[lanes] = {};
    for (int j = 0; j < n - i; j++) rest[j] = q[i + j];
    const F32x16 e = mulAdd(factor, toFloat(loadSignedBytes(rest)), loadSome(w + i, n - i, 0.0f));
    chains = mulAdd(e, e, chains);
  }
  return fold(chains);
}

}  // namespace
}  // namespace bitnet
