// Every kernel but the ternary one, written once over 16 lanes of f32 (or int32) and compiled once per instruction set. One vector is one
// step of the 16 stripes of docs/numerics.md, so that every instruction set gives the same bits by construction.
//
// Include after a lanes.h, which defines in an anonymous namespace: the types F32x16, I32x16 and Mask16; load, store, loadInt and their
// ...Some forms, which touch only the first n elements (a load fills the other lanes with `fill` or 0); splat, splatInt, laneIds (0 … 15);
// add, subtract, multiply, divide, mulAdd (one rounding), minimum, maximum, greater, less, select; bitsOf, floatOf; toFloat, toInt (to
// nearest, ties to even); addInt, andInt, orInt, xorInt, maxInt, shiftLeft<k>, shiftRight<k> (logical), shiftRightSigned<k>;
// loadHalf, loadBrain, storeHalf (f16 and bf16); storeBytes (int8 of lanes that fit); sumOfInts, maxOfInts, maxOf; fold, and fold4 of
// four vectors at once.
#pragma once
#include "elementary.h"
#include "half.h"
#include "kernels.h"

namespace bitnet {
namespace {

inline constexpr int lanes = 16;

// Whole vectors where 16 or more elements are left: masked forms are slow on some machines.
F32x16 loadUpTo(const float* p, int n) { return n >= lanes ? load(p) : loadSome(p, n, 0.0f); }

void storeUpTo(float* p, int n, F32x16 x) {
  if (n >= lanes) return store(p, x);
  storeSome(p, n, x);
}

// ---- elements of a row as f32, by type ----

struct F32Elements {
  using Type = float;
  static F32x16 get(const Type* p) { return load(p); }
  static F32x16 getSome(const Type* p, int n) { return loadSome(p, n, 0.0f); }
};

struct F16Elements {
  using Type = uint16_t;
  static F32x16 get(const Type* p) { return loadHalf(p); }
  static F32x16 getSome(const Type* p, int n) { return loadHalfSome(p, n); }
};

struct Bf16Elements {
  using Type = uint16_t;
  static F32x16 get(const Type* p) { return loadBrain(p); }
  static F32x16 getSome(const Type* p, int n) { return loadBrainSome(p, n); }
};

// ---- elementary functions ----

F32x16 expLanes(F32x16 x) {
  using namespace constants;
  const F32x16 magic = splat(roundingMagic);
  const F32x16 n = subtract(add(multiply(x, splat(log2e)), magic), magic);
  F32x16 r = mulAdd(n, splat(-ln2High), x);
  r = mulAdd(n, splat(-ln2Low), r);
  F32x16 p = splat(expPolynomial[6]);
  for (int i = 5; i >= 0; i--) p = mulAdd(p, r, splat(expPolynomial[i]));
  // Lanes outside the range hold rubbish here and are replaced.
  const I32x16 power = shiftLeft<23>(addInt(toInt(n), splatInt(127)));
  F32x16 y = multiply(p, floatOf(power));
  y = select(less(x, splat(expLowest)), splat(0.0f), y);
  return select(greater(x, splat(expHighest)), splat(std::numeric_limits<float>::infinity()), y);
}

// x > 0, not subnormal.
F32x16 logLanes(F32x16 x) {
  using namespace constants;
  const I32x16 shifted = addInt(bitsOf(x), splatInt(-sqrtHalfBits));
  const F32x16 exponent = toFloat(shiftRightSigned<23>(shifted));
  const I32x16 bits = addInt(andInt(shifted, splatInt(0x007fffff)), splatInt(sqrtHalfBits));
  const F32x16 f = subtract(floatOf(bits), splat(1.0f));
  F32x16 q = splat(logPolynomial[8]);
  for (int i = 7; i >= 0; i--) q = mulAdd(q, f, splat(logPolynomial[i]));
  const F32x16 z = multiply(f, f);
  F32x16 y = multiply(multiply(f, z), q);
  y = mulAdd(exponent, splat(ln2Low), y);
  y = mulAdd(splat(-0.5f), z, y);
  y = add(f, y);
  return mulAdd(exponent, splat(ln2High), y);
}

F32x16 negate(F32x16 x) { return floatOf(xorInt(bitsOf(x), splatInt(INT32_MIN))); }

I32x16 magnitudeBits(F32x16 x) { return andInt(bitsOf(x), splatInt(0x7fffffff)); }

template <int k>
I32x16 rotateLeft(I32x16 x) {
  return orInt(shiftLeft<k>(x), shiftRight<32 - k>(x));
}

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

// ---- dense weights ----

template <class Elements>
void widenElements(const void* row, int n, float* out) {
  const auto* p = static_cast<const typename Elements::Type*>(row);
  int i = 0;
  for (; i + lanes <= n; i += lanes) store(out + i, Elements::get(p + i));
  if (i < n) storeSome(out + i, n - i, Elements::getSome(p + i, n - i));
}

struct Q8Block {
  uint16_t d;
  int8_t q[32];
};
static_assert(sizeof(Q8Block) == 34);

struct Q4Block {
  uint16_t d;
  uint8_t q[16];  // element j < 16 in the low half of byte j, element 16 + j in the high half
};
static_assert(sizeof(Q4Block) == 18);

struct Q6Block {
  uint8_t low[128];
  uint8_t high[64];
  int8_t sub[16];
  uint16_t d;
};
static_assert(sizeof(Q6Block) == 210);

template <class Block>
Block blockAt(const void* row, int index) {
  Block block;
  std::memcpy(&block, static_cast<const uint8_t*>(row) + index * sizeof(Block), sizeof(Block));
  return block;
}

void widenQ8(const void* row, int n, float* out) {
  for (int i = 0; i < n; i += 32) {
    const auto block = blockAt<Q8Block>(row, i / 32);
    const float d = halfToFloat(block.d);
    for (int j = 0; j < 32; j++) out[i + j] = d * static_cast<float>(block.q[j]);
  }
}

void widenQ4(const void* row, int n, float* out) {
  for (int i = 0; i < n; i += 32) {
    const auto block = blockAt<Q4Block>(row, i / 32);
    const float d = halfToFloat(block.d);
    for (int j = 0; j < 16; j++) {
      out[i + j] = d * static_cast<float>((block.q[j] & 15) - 8);
      out[i + 16 + j] = d * static_cast<float>((block.q[j] >> 4) - 8);
    }
  }
}

// Halves of 128 elements: quarter k of a half takes low bits from byte (k & 1)·32 + j, nibble k >> 1, and high bits 2k of byte j.
void widenQ6(const void* row, int n, float* out) {
  for (int i = 0; i < n; i += 256) {
    const auto block = blockAt<Q6Block>(row, i / 256);
    const float d = halfToFloat(block.d);
    for (int h = 0; h < 2; h++) {
      for (int k = 0; k < 4; k++) {
        for (int j = 0; j < 32; j++) {
          const int low = (block.low[64 * h + 32 * (k & 1) + j] >> (4 * (k >> 1))) & 15;
          const int high = (block.high[32 * h + j] >> (2 * k)) & 3;
          const float scale = d * static_cast<float>(block.sub[8 * h + 2 * k + j / 16]);
          out[i + 128 * h + 32 * k + j] = scale * static_cast<float>((low | high << 4) - 32);
        }
      }
    }
  }
}

void widen(DenseType type, const void* row, int n, float* out) {
  switch (type) {
    case DenseType::F32:
      return widenElements<F32Elements>(row, n, out);
    case DenseType::F16:
      return widenElements<F16Elements>(row, n, out);
    case DenseType::BF16:
      return widenElements<Bf16Elements>(row, n, out);
    case DenseType::Q8_0:
      return widenQ8(row, n, out);
    case DenseType::Q6_K:
      return widenQ6(row, n, out);
    case DenseType::Q4_0:
      return widenQ4(row, n, out);
  }
}

// out[r] = dot(row r, x) for 4 rows, or for 1. `nextBytes` further lie the rows that come next: asked for early, since four streams are
// more than a prefetcher follows.
template <class Elements, int nRows>
void dotRows(const typename Elements::Type* const rows[nRows], size_t nextBytes, const float* x, int n, float* out) {
  F32x16 chains[nRows];
  for (int r = 0; r < nRows; r++) chains[r] = splat(0.0f);
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    const F32x16 v = load(x + i);
    for (int r = 0; r < nRows; r++) {
      __builtin_prefetch(reinterpret_cast<const uint8_t*>(rows[r] + i) + nextBytes);
      chains[r] = mulAdd(Elements::get(rows[r] + i), v, chains[r]);
    }
  }
  if (i < n) {
    const F32x16 v = loadSome(x + i, n - i, 0.0f);
    for (int r = 0; r < nRows; r++) chains[r] = mulAdd(Elements::getSome(rows[r] + i, n - i), v, chains[r]);
  }
  if constexpr (nRows == 4) {
    fold4(chains[0], chains[1], chains[2], chains[3], out);
  } else {
    for (int r = 0; r < nRows; r++) out[r] = fold(chains[r]);
  }
}

template <class Elements>
void dotAllRows(const void* first, size_t rowBytes, int nRows, const float* x, int n, float* out) {
  using Type = typename Elements::Type;
  const auto* bytes = static_cast<const uint8_t*>(first);
  const auto row = [&](int r) { return reinterpret_cast<const Type*>(bytes + r * rowBytes); };
  int r = 0;
  for (; r + 4 <= nRows; r += 4) {
    const Type* const rows[4] = {row(r), row(r + 1), row(r + 2), row(r + 3)};
    dotRows<Elements, 4>(rows, 4 * rowBytes, x, n, out + r);
  }
  for (; r < nRows; r++) {
    const Type* const rows[1] = {row(r)};
    dotRows<Elements, 1>(rows, rowBytes, x, n, out + r);
  }
}

void denseDots(DenseType type, const void* rows, size_t rowBytes, int nRows, const float* x, int n, float* out) {
  if (type == DenseType::F32) return dotAllRows<F32Elements>(rows, rowBytes, nRows, x, n, out);
  if (type == DenseType::F16) return dotAllRows<F16Elements>(rows, rowBytes, nRows, x, n, out);
  if (type == DenseType::BF16) return dotAllRows<Bf16Elements>(rows, rowBytes, nRows, x, n, out);
}

// ---- attention ----

void scores(KvType type, const float* q, const void* keys, int nKeys, int headDim, float* scores) {
  if (type == KvType::F16) return dotAllRows<F16Elements>(keys, headDim * sizeof(uint16_t), nKeys, q, headDim, scores);
  return dotAllRows<F32Elements>(keys, headDim * sizeof(float), nKeys, q, headDim, scores);
}

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

// `blocks` vectors of the accumulator stay in registers while all keys pass.
template <class Elements, int blocks>
void accumulateBlocks(const float* p, const typename Elements::Type* values, int nKeys, int headDim, float* acc) {
  F32x16 sums[blocks];
  for (int b = 0; b < blocks; b++) sums[b] = load(acc + lanes * b);
  for (int j = 0; j < nKeys; j++) {
    const F32x16 weight = splat(p[j]);
    const auto* value = values + static_cast<size_t>(j) * headDim;
    for (int b = 0; b < blocks; b++) sums[b] = mulAdd(weight, Elements::get(value + lanes * b), sums[b]);
  }
  for (int b = 0; b < blocks; b++) store(acc + lanes * b, sums[b]);
}

template <class Elements>
void accumulateElements(const float* p, const void* first, int nKeys, int headDim, float* acc) {
  const auto* values = static_cast<const typename Elements::Type*>(first);
  int d = 0;
  for (; d + 4 * lanes <= headDim; d += 4 * lanes) {
    accumulateBlocks<Elements, 4>(p, values + d, nKeys, headDim, acc + d);
  }
  for (; d + lanes <= headDim; d += lanes) {
    accumulateBlocks<Elements, 1>(p, values + d, nKeys, headDim, acc + d);
  }
  const int rest = headDim - d;
  if (rest == 0) return;
  F32x16 sum = loadSome(acc + d, rest, 0.0f);
  for (int j = 0; j < nKeys; j++) {
    sum = mulAdd(splat(p[j]), Elements::getSome(values + static_cast<size_t>(j) * headDim + d, rest), sum);
  }
  storeSome(acc + d, rest, sum);
}

void accumulateValues(KvType type, const float* p, const void* values, int nKeys, int headDim, float* acc) {
  if (type == KvType::F16) return accumulateElements<F16Elements>(p, values, nKeys, headDim, acc);
  return accumulateElements<F32Elements>(p, values, nKeys, headDim, acc);
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
    const auto mix = [&](I32x16 rotated) {
      x1 = xorInt(rotated, x0);
    };
    if (injection % 2 == 1) {
      x0 = addInt(x0, x1), mix(rotateLeft<13>(x1));
      x0 = addInt(x0, x1), mix(rotateLeft<15>(x1));
      x0 = addInt(x0, x1), mix(rotateLeft<26>(x1));
      x0 = addInt(x0, x1), mix(rotateLeft<6>(x1));
    } else {
      x0 = addInt(x0, x1), mix(rotateLeft<17>(x1));
      x0 = addInt(x0, x1), mix(rotateLeft<29>(x1));
      x0 = addInt(x0, x1), mix(rotateLeft<16>(x1));
      x0 = addInt(x0, x1), mix(rotateLeft<24>(x1));
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

void perturb(const float* logits, int n, uint32_t firstId, float temperature, NoiseKey key, float* out) {
  const F32x16 divisor = splat(temperature);
  for (int i = 0; i < n; i += lanes) {
    const I32x16 ids = addInt(splatInt(static_cast<int32_t>(firstId + static_cast<uint32_t>(i))), laneIds());
    const F32x16 scaled = divide(loadUpTo(logits + i, n - i), divisor);
    storeUpTo(out + i, n - i, add(scaled, gumbelLanes(key, ids)));
  }
}

// ---- the table ----

constexpr Kernels kernelTable(const char* isa, decltype(Kernels::ternaryMatmul) ternaryMatmul) {
  return {
      .isa = isa,
      .ternaryMatmul = ternaryMatmul,
      .scaleTensor = scaleTensor,
      .scaleRow = scaleRow,
      .foldGroup = foldGroup,
      .multiply = multiplyBy,
      .sumSquares = sumSquares,
      .normalise = normalise,
      .quantise = quantise,
      .absMaxBits = absMaxBits,
      .add = addTo,
      .gate = gate,
      .rope = rope,
      .narrow = narrow,
      .widen = widen,
      .denseDots = denseDots,
      .scores = scores,
      .maximum = largest,
      .expStripes = expStripes,
      .accumulateValues = accumulateValues,
      .divide = divideBy,
      .perturb = perturb,
  };
}

}  // namespace
}  // namespace bitnet
