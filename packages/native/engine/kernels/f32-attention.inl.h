// The softmax of attention and the noise of sampling. Include after a lanes.h.
#pragma once
#include "f32-lanes.inl.h"

namespace bitnet {
namespace {

// ---- softmax ----

// + 0.0f so that the sign of a zero does not depend on the order.
float largest(const float* x, int n) {
  const float lowest = -std::numeric_limits<float>::infinity();
  F32x16 most = splat(lowest);
  int i = 0;
  for (; i + lanes <= n; i += lanes) most = maximum(most, load(x + i));
  if (i < n) most = maximum(most, loadSome(x + i, n - i, lowest));
  return maxOf(most) + 0.0f;
}

void expStripes(float* x, int n, float scale, float m, float stripes[16]) {
  const F32x16 factor = splat(scale), offset = splat(-m);
  F32x16 sums = load(stripes);
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    const F32x16 p = expLanes(mulAdd(load(x + i), factor, offset));
    store(x + i, p);
    sums = add(sums, p);
  }
  store(stripes, sums);
  if (i < n) {
    const F32x16 p = expLanes(mulAdd(loadSome(x + i, n - i, 0.0f), factor, offset));
    storeSome(x + i, n - i, p);
    storeSome(stripes, n - i, add(sums, p));
  }
}

void divideBy(const float* total, int n, float denominator, float* out) {
  const F32x16 divisor = splat(denominator);
  int i = 0;
  for (; i + lanes <= n; i += lanes) store(out + i, divide(load(total + i), divisor));
  if (i < n) storeSome(out + i, n - i, divide(loadSome(total + i, n - i, 0.0f), divisor));
}

// ---- sampling ----

// First word of Threefry-2x32-20 (packages/core/src/base/noise.ts).
I32x16 threefry(NoiseKey key, I32x16 tokens) {
  const auto word = [](uint32_t value) { return splatInt(static_cast<int32_t>(value)); };
  const uint32_t keys[3] = {key.seed, key.choice, 0x1bd11bda ^ key.seed ^ key.choice};
  I32x16 x0 = word(key.index + keys[0]);
  I32x16 x1 = addInt(tokens, word(keys[1]));
  for (uint32_t injection = 1; injection <= 5; injection++) {
    const auto mix = [&]<int bits>() {
      x0 = addInt(x0, x1);
      x1 = xorInt(rotateLeft<bits>(x1), x0);
    };
    if (injection % 2 == 1) {
      mix.template operator()<13>();
      mix.template operator()<15>();
      mix.template operator()<26>();
      mix.template operator()<6>();
    } else {
      mix.template operator()<17>();
      mix.template operator()<29>();
      mix.template operator()<16>();
      mix.template operator()<24>();
    }
    x0 = addInt(x0, word(keys[injection % 3]));
    x1 = addInt(x1, word(keys[(injection + 1) % 3] + injection));
  }
  return x0;
}

F32x16 gumbelLanes(NoiseKey key, I32x16 tokens) {
  const I32x16 k = shiftRight<9>(threefry(key, tokens));
  const F32x16 u = multiply(toFloat(addInt(shiftLeft<1>(k), splatInt(1))), splat(0x1p-24f));
  return negate(logLanes(negate(logLanes(u))));
}

void perturb(const float* logits, int n, const Perturbation& by, float* out) {
  const F32x16 divisor = splat(by.temperature);
  for (int i = 0; i < n; i += lanes) {
    const I32x16 ids = addInt(splatInt(static_cast<int32_t>(by.firstId + static_cast<uint32_t>(i))), laneIds());
    const F32x16 scaled = divide(loadUpTo(logits + i, n - i), divisor);
    storeUpTo(out + i, n - i, add(scaled, gumbelLanes(by.key, ids)));
  }
}

}  // namespace
}  // namespace bitnet
