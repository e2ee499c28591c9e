// Row-wise kernels: scales, RMSNorm, quantisation, gates, RoPE. Include after a lanes.h.
#pragma once
#include "f32-lanes.inl.h"

namespace bitnet {
namespace {

// ---- scales of the ternary product ----

void scaleTensor(const int32_t* acc, int n, float t, float* out) {
  const F32x16 factor = splat(t);
  int i = 0;
  for (; i + lanes <= n; i += lanes) store(out + i, multiply(toFloat(loadInt(acc + i)), factor));
  if (i < n) storeSome(out + i, n - i, multiply(toFloat(loadIntSome(acc + i, n - i)), factor));
}

void scaleRow(const int32_t* acc, int n, const float* scale, float s, float* out) {
  const F32x16 divisor = splat(s);
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    store(out + i, multiply(toFloat(loadInt(acc + i)), divide(load(scale + i), divisor)));
  }
  if (i < n) {
    const F32x16 factor = divide(loadSome(scale + i, n - i, 0.0f), divisor);
    storeSome(out + i, n - i, multiply(toFloat(loadIntSome(acc + i, n - i)), factor));
  }
}

void foldGroup(const int32_t* acc, int n, const float* scale, size_t scaleStride, float* sum) {
  for (int i = 0; i < n; i += lanes) {
    const int count = n - i < lanes ? n - i : lanes;
    float gathered[lanes] = {};
    for (int j = 0; j < count; j++) gathered[j] = scale[(i + j) * scaleStride];
    const F32x16 values = toFloat(count == lanes ? loadInt(acc + i) : loadIntSome(acc + i, count));
    storeUpTo(sum + i, n - i, mulAdd(values, load(gathered), loadUpTo(sum + i, n - i)));
  }
}

void multiplyBy(float* x, int n, float t) {
  const F32x16 factor = splat(t);
  int i = 0;
  for (; i + lanes <= n; i += lanes) store(x + i, multiply(load(x + i), factor));
  if (i < n) storeSome(x + i, n - i, multiply(loadSome(x + i, n - i, 0.0f), factor));
}

// ---- rows of f32 ----

float sumSquares(const float* x, int n) {
  F32x16 chains = splat(0.0f);
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    const F32x16 v = load(x + i);
    chains = mulAdd(v, v, chains);
  }
  if (i < n) {
    const F32x16 v = loadSome(x + i, n - i, 0.0f);
    chains = mulAdd(v, v, chains);
  }
  return fold(chains);
}

uint32_t absMaxBits(const float* x, int n) {
  I32x16 most = splatInt(0);
  int i = 0;
  for (; i + lanes <= n; i += lanes) most = maxInt(most, magnitudeBits(load(x + i)));
  if (i < n) most = maxInt(most, magnitudeBits(loadSome(x + i, n - i, 0.0f)));
  return static_cast<uint32_t>(maxOfInts(most));
}

uint32_t normalise(const float* x, float r, const float* w, int n, float* out) {
  const F32x16 factor = splat(r);
  I32x16 most = splatInt(0);
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    const F32x16 y = multiply(multiply(load(x + i), factor), load(w + i));
    most = maxInt(most, magnitudeBits(y));
    store(out + i, y);
  }
  if (i < n) {
    const F32x16 y = multiply(multiply(loadSome(x + i, n - i, 0.0f), factor), loadSome(w + i, n - i, 0.0f));
    storeSome(out + i, n - i, y);
    // Read back, so that the unused lanes (0 · r may be NaN) do not count.
    most = maxInt(most, magnitudeBits(loadSome(out + i, n - i, 0.0f)));
  }
  return static_cast<uint32_t>(maxOfInts(most));
}

// Clamping before rounding gives the same, because the limits are integers.
I32x16 quantiseLanes(F32x16 y, F32x16 s) {
  return toInt(minimum(maximum(multiply(y, s), splat(-128.0f)), splat(127.0f)));
}

int32_t quantise(const float* y, float s, int n, int nPadded, int8_t* q) {
  const F32x16 scale = splat(s);
  I32x16 sums = splatInt(0);
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    const I32x16 values = quantiseLanes(load(y + i), scale);
    sums = addInt(sums, values);
    storeBytes(q + i, values);
  }
  int32_t sum = sumOfInts(sums);
  for (; i < nPadded; i += lanes) {
    const int used = i < n ? n - i : 0;
    const int count = nPadded - i < lanes ? nPadded - i : lanes;
    float values[lanes] = {};
    for (int j = 0; j < used; j++) values[j] = y[i + j] * s;
    int8_t bytes[lanes];
    const I32x16 rounded = quantiseLanes(load(values), splat(1.0f));
    sum += sumOfInts(rounded);
    storeBytes(bytes, rounded);
    for (int j = 0; j < count; j++) q[i + j] = bytes[j];
  }
  return sum;
}

void addTo(float* x, const float* y, int n) {
  int i = 0;
  for (; i + lanes <= n; i += lanes) store(x + i, add(load(x + i), load(y + i)));
  if (i < n) storeSome(x + i, n - i, add(loadSome(x + i, n - i, 0.0f), loadSome(y + i, n - i, 0.0f)));
}

struct Relu2 {
  static F32x16 apply(F32x16 g) {
    const F32x16 zero = splat(0.0f);
    const F32x16 positive = select(greater(g, zero), g, zero);
    return multiply(positive, positive);
  }
};

struct Silu {
  static F32x16 apply(F32x16 g) { return divide(g, add(splat(1.0f), expLanes(negate(g)))); }
};

struct Gelu {
  static F32x16 apply(F32x16 g) {
    const F32x16 cube = multiply(multiply(g, g), g);
    const F32x16 inner = mulAdd(splat(constants::geluCubic), cube, g);
    return divide(g, add(splat(1.0f), expLanes(negate(multiply(splat(constants::geluScale), inner)))));
  }
};

template <class Fn>
void gateWith(const float* gate, const float* up, int n, float* out) {
  int i = 0;
  for (; i + lanes <= n; i += lanes) store(out + i, multiply(Fn::apply(load(gate + i)), load(up + i)));
  if (i < n) {
    const F32x16 g = Fn::apply(loadSome(gate + i, n - i, 0.0f));
    storeSome(out + i, n - i, multiply(g, loadSome(up + i, n - i, 0.0f)));
  }
}

void gate(GateFn fn, const float* gate, const float* up, int n, float* out) {
  switch (fn) {
    case GateFn::Relu2:
      return gateWith<Relu2>(gate, up, n, out);
    case GateFn::Silu:
      return gateWith<Silu>(gate, up, n, out);
    case GateFn::Gelu:
      return gateWith<Gelu>(gate, up, n, out);
  }
}

// Rotates the first n pairs, at most 16.
void rotatePairs(float* x0, float* x1, const float* cosines, const float* sines, int n) {
  const F32x16 a = loadUpTo(x0, n), b = loadUpTo(x1, n);
  const F32x16 c = loadUpTo(cosines, n), s = loadUpTo(sines, n);
  storeUpTo(x0, n, mulAdd(a, c, negate(multiply(b, s))));
  storeUpTo(x1, n, mulAdd(b, c, multiply(a, s)));
}

void rope(float* x, const float* table, int headDim, Pairing pairing) {
  const int half = headDim / 2;
  for (int i = 0; i < half; i += lanes) {
    const float *cosines = table + i, *sines = table + half + i;
    if (pairing == Pairing::Half) {
      rotatePairs(x + i, x + half + i, cosines, sines, half - i);
      continue;
    }
    const int count = half - i < lanes ? half - i : lanes;
    float* pairs = x + 2 * i;
    float even[lanes] = {}, odd[lanes] = {};
    for (int j = 0; j < count; j++) {
      even[j] = pairs[2 * j];
      odd[j] = pairs[2 * j + 1];
    }
    rotatePairs(even, odd, cosines, sines, count);
    for (int j = 0; j < count; j++) {
      pairs[2 * j] = even[j];
      pairs[2 * j + 1] = odd[j];
    }
  }
}

void narrow(const float* x, int n, uint16_t* out) {
  int i = 0;
  for (; i + lanes <= n; i += lanes) storeHalf(out + i, load(x + i));
  if (i < n) storeHalfSome(out + i, n - i, loadSome(x + i, n - i, 0.0f));
}

}  // namespace
}  // namespace bitnet
