// Operations on rows and elements. Include after a lanes.h and f32-lanes.inl.h.
#pragma once
#include <cmath>

#include "train-kernels.h"

namespace bitnet::train {
namespace {

inline size_t rowAt(int row, int width) { return static_cast<size_t>(row) * static_cast<size_t>(width); }

void rmsNorm(const float* x, const float* weight, float eps, float* out, float* r, int first, int end, int width) {
  for (int row = first; row < end; row++) {
    const float* from = x + rowAt(row, width);
    float* to = out + rowAt(row, width);
    F32x16 chains = splat(0.0f);
    for (int i = 0; i < width; i += 16) {
      const F32x16 v = loadUpTo(from + i, width - i);
      chains = mulAdd(v, v, chains);
    }
    const float inverse = 1.0f / std::sqrt(fold(chains) / static_cast<float>(width) + eps);
    r[row] = inverse;
    for (int i = 0; i < width; i += 16) {
      const int n = width - i;
      storeUpTo(to + i, n, multiply(multiply(loadUpTo(from + i, n), splat(inverse)), loadUpTo(weight + i, n)));
    }
  }
}

void rmsNormGradient(const float* x, const float* weight, const float* r, const float* dOut, float* dX, float* partial, int first, int end, int width) {
  for (int i = 0; i < width; i++) partial[i] = 0.0f;
  for (int row = first; row < end; row++) {
    const float* from = x + rowAt(row, width);
    const float* d = dOut + rowAt(row, width);
    float* to = dX + rowAt(row, width);
    const float inverse = r[row];
    F32x16 chains = splat(0.0f);
    for (int i = 0; i < width; i += 16) {
      const int n = width - i;
      const F32x16 dv = loadUpTo(d + i, n), v = loadUpTo(from + i, n);
      chains = mulAdd(multiply(dv, loadUpTo(weight + i, n)), v, chains);
      storeUpTo(partial + i, n, mulAdd(multiply(dv, v), splat(inverse), loadUpTo(partial + i, n)));
    }
    const float square = inverse * inverse;
    const float share = ((fold(chains) * square) * inverse) / static_cast<float>(width);
    for (int i = 0; i < width; i += 16) {
      const int n = width - i;
      const F32x16 g = multiply(multiply(loadUpTo(d + i, n), loadUpTo(weight + i, n)), splat(inverse));
      storeUpTo(to + i, n, add(loadUpTo(to + i, n), mulAdd(negate(loadUpTo(from + i, n)), splat(share), g)));
    }
  }
}

bool quantise(const float* x, float* q, float* s, int first, int end, int width) {
  for (int row = first; row < end; row++) {
    const float* from = x + rowAt(row, width);
    float* to = q + rowAt(row, width);
    I32x16 largest = splatInt(0);
    for (int i = 0; i < width; i += 16) largest = maxInt(largest, magnitudeBits(loadUpTo(from + i, width - i)));
    const int32_t bits = maxOfInts(largest);
    if (bits >= 0x7f800000) return false;
    const float absMax = bitsFloat(bits);
    const float factor = 127.0f / (absMax > 1e-5f ? absMax : 1e-5f);
    s[row] = factor;
    const F32x16 magic = splat(constants::roundingMagic);
    for (int i = 0; i < width; i += 16) {
      const int n = width - i;
      const F32x16 rounded = subtract(add(multiply(loadUpTo(from + i, n), splat(factor)), magic), magic);
      storeUpTo(to + i, n, maximum(minimum(rounded, splat(127.0f)), splat(-128.0f)));
    }
  }
  return true;
}

void sumWeights(const float* w, size_t n, double* magnitudes, double* plain) {
  double m[4] = {}, p[4] = {};
  size_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (size_t j = 0; j < 4; j++) {
      m[j] += std::fabs(static_cast<double>(w[i + j]));
      p[j] += static_cast<double>(w[i + j]);
    }
  for (size_t j = 0; i + j < n; j++) {
    m[j] += std::fabs(static_cast<double>(w[i + j]));
    p[j] += static_cast<double>(w[i + j]);
  }
  *magnitudes = m[0] + m[1] + (m[2] + m[3]);
  *plain = p[0] + p[1] + (p[2] + p[3]);
}

void trits(const float* __restrict w, float* __restrict out, size_t n, float inverse) {
  for (size_t i = 0; i < n; i++) {
    const float x = w[i] * inverse;
    out[i] = (x > 0.5f ? 1.0f : 0.0f) - (x < -0.5f ? 1.0f : 0.0f);
  }
}

void signs(const float* __restrict w, float* __restrict out, size_t n, float mean) {
  for (size_t i = 0; i < n; i++) out[i] = w[i] > mean ? 1.0f : -1.0f;
}

// Rows of one document, from position 0 on.
void rope(float* x, int rows, int nHeads, int headDim, const float* table, bool isInverse) {
  const int half = headDim / 2;
  for (int row = 0; row < rows; row++) {
    const float* cosines = table + rowAt(row, headDim);
    for (int head = 0; head < nHeads; head++) {
      float* low = x + rowAt(row * nHeads + head, headDim);
      float* high = low + half;
      for (int i = 0; i < half; i += 16) {
        const int n = half - i;
        const F32x16 c = loadUpTo(cosines + i, n), s0 = loadUpTo(cosines + half + i, n);
        const F32x16 s = isInverse ? negate(s0) : s0;
        const F32x16 a = loadUpTo(low + i, n), b = loadUpTo(high + i, n);
        storeUpTo(low + i, n, mulAdd(a, c, negate(multiply(b, s))));
        storeUpTo(high + i, n, mulAdd(b, c, multiply(a, s)));
      }
    }
  }
}

template <class Fn>
inline void eachVector(size_t n, Fn use) {
  for (size_t i = 0; i < n; i += 16) use(i, static_cast<int>(n - i < 16 ? n - i : 16));
}

inline F32x16 sigmoidDivisor(F32x16 g) { return add(splat(1.0f), expLanes(negate(g))); }

void gate(GateFn fn, const float* gate, const float* up, float* out, size_t n) {
  eachVector(n, [&](size_t i, int some) {
    const F32x16 g = loadUpTo(gate + i, some), u = loadUpTo(up + i, some);
    const F32x16 positive = select(greater(g, splat(0.0f)), g, splat(0.0f));
    const F32x16 value = fn == GateFn::relu2 ? multiply(positive, positive) : divide(g, sigmoidDivisor(g));
    storeUpTo(out + i, some, multiply(value, u));
  });
}

void gateGradient(GateFn fn, const float* gate, const float* up, const float* dOut, float* dGate, float* dUp, size_t n) {
  eachVector(n, [&](size_t i, int some) {
    const F32x16 g = loadUpTo(gate + i, some), u = loadUpTo(up + i, some), d = loadUpTo(dOut + i, some);
    F32x16 value, slope;
    if (fn == GateFn::relu2) {
      const F32x16 positive = select(greater(g, splat(0.0f)), g, splat(0.0f));
      value = multiply(positive, positive);
      slope = multiply(splat(2.0f), positive);
    } else {
      const F32x16 divisor = sigmoidDivisor(g);
      const F32x16 sigmoid = divide(splat(1.0f), divisor);
      value = divide(g, divisor);
      slope = mulAdd(multiply(g, sigmoid), subtract(splat(1.0f), sigmoid), sigmoid);
    }
    storeUpTo(dGate + i, some, add(loadUpTo(dGate + i, some), multiply(multiply(slope, u), d)));
    storeUpTo(dUp + i, some, add(loadUpTo(dUp + i, some), multiply(value, d)));
  });
}

void addAll(const float* a, const float* b, float* out, size_t n) {
  eachVector(n, [&](size_t i, int some) { storeUpTo(out + i, some, add(loadUpTo(a + i, some), loadUpTo(b + i, some))); });
}

void addScaled(const float* a, const float* b, float factor, float* out, size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    const int left = n - i < 16 ? static_cast<int>(n - i) : 16;
    storeUpTo(out + i, left, add(loadUpTo(a + i, left), multiply(loadUpTo(b + i, left), splat(factor))));
  }
}

// First words of Threefry-2x32-20 for 16 counters that follow each other; loops that compilers turn into vectors.
inline void dropoutWords(const Dropout& p, uint32_t row, uint32_t counter, uint32_t* x0) {
  constexpr int rotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  const uint32_t keys[3] = {p.seed, p.step, 0x1bd11bdau ^ p.seed ^ p.step};
  uint32_t x1[16];
  for (uint32_t i = 0; i < 16; i++) {
    x0[i] = row + keys[0];
    x1[i] = counter + i + keys[1];
  }
  for (uint32_t round = 0; round < 20; round++) {
    const int rotation = rotations[round & 7];
    const uint32_t injection = (round & 3) == 3 ? (round >> 2) + 1 : 0;
    const uint32_t add0 = injection ? keys[injection % 3] : 0, add1 = injection ? keys[(injection + 1) % 3] + injection : 0;
    for (int i = 0; i < 16; i++) {
      x0[i] += x1[i];
      x1[i] = ((x1[i] << rotation) | (x1[i] >> (32 - rotation))) ^ x0[i];
      x0[i] += add0;
      x1[i] += add1;
    }
  }
}

void dropout(const Dropout& p, int first, int end) {
  for (int row = first; row < end; row++) {
    const float* from = p.x + rowAt(row, p.width);
    float* to = p.out + rowAt(row, p.width);
    for (int at = 0; at < p.width; at += 32) {
      alignas(64) uint32_t words[16];
      alignas(64) float factors[32];
      dropoutWords(p, p.firstRow + static_cast<uint32_t>(row), p.firstCounter + static_cast<uint32_t>(at / 2), words);
      for (int i = 0; i < 16; i++) {
        factors[2 * i] = (words[i] & 0xffffu) >= p.threshold ? p.factor : 0.0f;
        factors[2 * i + 1] = (words[i] >> 16) >= p.threshold ? p.factor : 0.0f;
      }
      const int n = p.width - at < 32 ? p.width - at : 32;
      for (int i = 0; i < n; i++) {
        const float value = factors[i] != 0.0f ? from[at + i] * factors[i] : 0.0f;
        to[at + i] = p.adds ? to[at + i] + value : value;
      }
    }
  }
}

void crossEntropy(const CrossEntropy& p, int first, int end) {
  for (int row = first; row < end; row++) {
    float* l = p.logits + rowAt(row, p.vocab);
    const float weight = p.weights[row];
    p.losses[row] = 0.0f;
    if (weight == 0.0f) {
      if (p.hasGradient)
        for (int i = 0; i < p.vocab; i++) l[i] = 0.0f;
      continue;
    }
    F32x16 highs = splat(-INFINITY);
    for (int i = 0; i < p.vocab; i += 16) highs = maximum(highs, p.vocab - i >= 16 ? load(l + i) : loadSome(l + i, p.vocab - i, -INFINITY));
    const float highest = maxOf(highs);
    const float chosen = l[p.labels[row]];
    F32x16 chains = splat(0.0f);
    for (int i = 0; i < p.vocab; i += 16) {
      const int n = p.vocab - i;
      const F32x16 e = expLanes(subtract(n >= 16 ? load(l + i) : loadSome(l + i, n, -INFINITY), splat(highest)));
      chains = add(chains, e);
      if (p.hasGradient) storeUpTo(l + i, n, e);
    }
    const float sum = fold(chains);
    p.losses[row] = -(chosen - (highest + logF32(sum)));
    if (!p.hasGradient) continue;
    const float g = weight * p.scale;
    const float share = (1.0f / sum) * g;
    for (int i = 0; i < p.vocab; i += 16) {
      const int n = p.vocab - i;
      storeUpTo(l + i, n, multiply(loadUpTo(l + i, n), splat(share)));
    }
    l[p.labels[row]] -= g;
  }
}

double sumSquares(const float* x, size_t n) {
  double chains[8] = {};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; j++) chains[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  for (size_t j = 0; i + j < n; j++) chains[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  for (int half = 4; half >= 1; half /= 2)
    for (int j = 0; j < half; j++) chains[j] += chains[j + half];
  return chains[0];
}

void adamw(const Adamw& p, size_t first, size_t end) {
  float* __restrict weights = p.weights;
  const float* __restrict gradient = p.gradient;
  float* __restrict first1 = p.m;
  float* __restrict second = p.v;
  const Adamw c = p;
  for (size_t i = first; i < end; i++) {
    const float g = gradient[i] * c.clip;
    const float m = fmaF32(c.rest1, g, c.beta1 * first1[i]);
    const float v = fmaF32(c.rest2, g * g, c.beta2 * second[i]);
    first1[i] = m;
    second[i] = v;
    const float spread = std::sqrt(v * c.unbias2) + c.eps;
    const float update = (m * c.unbias1) / spread;
    weights[i] -= c.rate * fmaF32(c.decay, weights[i], update);
  }
}

}  // namespace
}  // namespace bitnet::train
