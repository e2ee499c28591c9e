// What the head's screen needs beside its products (docs/kernels.md): what is lost when a row is copied in int8, and the bound of a logit.
// Include after a lanes.h.
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

// At most eleven roundings, each of them of at most 2⁻²⁴ of `size` and `error` together, which `slack` more than covers; the smallest normal
// number covers what underflows on the way, and once more what underflows in the products of a row. A subnormal one would do, but takes
// processors a hundred cycles and more.
F32x16 boundLanes(const ScreenFactors& x, F32x16 scale, F32x16 loss, F32x16 norm, F32x16 high, F32x16 low) {
  const F32x16 slack = splat(0x1p-20f), tiny = splat(0x1p-126f), shift = splat(256.0f), step = multiply(scale, splat(x.step));
  const F32x16 estimate = multiply(step, mulAdd(shift, high, low));
  const F32x16 size = multiply(step, mulAdd(shift, magnitude(high), magnitude(low)));
  const F32x16 error = mulAdd(loss, splat(x.byLoss), mulAdd(norm, splat(x.byNorm), multiply(scale, splat(x.byScale))));
  const F32x16 bound = add(add(estimate, error), mulAdd(add(size, error), slack, tiny));
  return mulAdd(bound, splat(x.unit), tiny);
}

void screenBounds(const ScreenFactors& x, const CopiedRows& rows, const DigitSums& sums, float* upper) {
  int r = 0;
  for (; r + lanes <= rows.n; r += lanes) {
    const F32x16 high = toFloat(loadInt(sums.high + r)), low = toFloat(loadInt(sums.low + r));
    store(upper + r, boundLanes(x, load(rows.scales + r), load(rows.losses + r), load(rows.norms + r), high, low));
  }
  if (r == rows.n) return;
  const int rest = rows.n - r;
  const auto some = [&](const float* values) { return loadSome(values + r, rest, 0.0f); };
  const F32x16 high = toFloat(loadIntSome(sums.high + r, rest)), low = toFloat(loadIntSome(sums.low + r, rest));
  storeSome(upper + r, rest, boundLanes(x, some(rows.scales), some(rows.losses), some(rows.norms), high, low));
}

}  // namespace
}  // namespace bitnet
