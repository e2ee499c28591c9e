// 16 lanes in plain C++: the meaning of every other lanes.h. See f32-lanes.inl.h for the list.
#pragma once
#include "../elementary.h"
#include "../half.h"

namespace bitnet {
namespace {

inline constexpr int registerVectors = 1;

struct F32x16 {
  float v[16];
};
struct I32x16 {
  int32_t v[16];
};
struct Mask16 {
  bool v[16];
};

// Element i of a list that may have any alignment.
template <class T>
inline T elementOf(const T* p, int i) {
  T value;
  __builtin_memcpy(&value, reinterpret_cast<const char*>(p) + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

template <class Result, class Fn>
inline Result eachLane(Fn fn) {
  Result out;
  for (int i = 0; i < 16; i++) out.v[i] = fn(i);
  return out;
}

inline F32x16 loadSome(const float* p, int n, float fill) {
  return eachLane<F32x16>([&](int i) { return i < n ? elementOf(p, i) : fill; });
}
inline I32x16 loadIntSome(const int32_t* p, int n) {
  return eachLane<I32x16>([&](int i) { return i < n ? elementOf(p, i) : 0; });
}
inline F32x16 loadHalfSome(const uint16_t* p, int n) {
  return eachLane<F32x16>([&](int i) { return i < n ? halfToFloat(elementOf(p, i)) : 0.0f; });
}
inline F32x16 loadBrainSome(const uint16_t* p, int n) {
  return eachLane<F32x16>([&](int i) { return i < n ? brainToFloat(elementOf(p, i)) : 0.0f; });
}
inline void storeSome(float* p, int n, F32x16 x) {
  for (int i = 0; i < n; i++) p[i] = x.v[i];
}
inline void storeHalfSome(uint16_t* p, int n, F32x16 x) {
  for (int i = 0; i < n; i++) p[i] = floatToHalf(x.v[i]);
}
inline F32x16 load(const float* p) { return loadSome(p, 16, 0.0f); }
inline I32x16 loadInt(const int32_t* p) { return loadIntSome(p, 16); }
inline F32x16 loadHalf(const uint16_t* p) { return loadHalfSome(p, 16); }
inline F32x16 loadBrain(const uint16_t* p) { return loadBrainSome(p, 16); }
inline I32x16 loadSignedBytes(const int8_t* p) {
  return eachLane<I32x16>([&](int i) { return p[i]; });
}
inline I32x16 loadUnsignedBytes(const uint8_t* p) {
  return eachLane<I32x16>([&](int i) { return p[i]; });
}
inline void store(float* p, F32x16 x) { storeSome(p, 16, x); }
inline void storeHalf(uint16_t* p, F32x16 x) { storeHalfSome(p, 16, x); }
inline void storeBytes(int8_t* p, I32x16 x) {
  for (int i = 0; i < 16; i++) p[i] = static_cast<int8_t>(x.v[i]);
}

inline F32x16 splat(float x) {
  return eachLane<F32x16>([&](int) { return x; });
}
inline F32x16 splatHalves(float low, float high) {
  F32x16 both;
  for (int i = 0; i < 16; i++) both.v[i] = i < 8 ? low : high;
  return both;
}
inline I32x16 splatInt(int32_t x) {
  return eachLane<I32x16>([&](int) { return x; });
}
inline I32x16 laneIds() {
  return eachLane<I32x16>([](int i) { return i; });
}

inline F32x16 add(F32x16 a, F32x16 b) {
  return eachLane<F32x16>([&](int i) { return a.v[i] + b.v[i]; });
}
inline F32x16 subtract(F32x16 a, F32x16 b) {
  return eachLane<F32x16>([&](int i) { return a.v[i] - b.v[i]; });
}
inline F32x16 multiply(F32x16 a, F32x16 b) {
  return eachLane<F32x16>([&](int i) { return a.v[i] * b.v[i]; });
}
inline F32x16 divide(F32x16 a, F32x16 b) {
  return eachLane<F32x16>([&](int i) { return a.v[i] / b.v[i]; });
}
inline F32x16 mulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return eachLane<F32x16>([&](int i) { return fmaF32(a.v[i], b.v[i], c.v[i]); });
}
inline F32x16 minimum(F32x16 a, F32x16 b) {
  return eachLane<F32x16>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline F32x16 maximum(F32x16 a, F32x16 b) {
  return eachLane<F32x16>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Mask16 greater(F32x16 a, F32x16 b) {
  return eachLane<Mask16>([&](int i) { return a.v[i] > b.v[i]; });
}
inline Mask16 less(F32x16 a, F32x16 b) {
  return eachLane<Mask16>([&](int i) { return a.v[i] < b.v[i]; });
}
inline F32x16 select(Mask16 mask, F32x16 yes, F32x16 no) {
  return eachLane<F32x16>([&](int i) { return mask.v[i] ? yes.v[i] : no.v[i]; });
}

inline I32x16 bitsOf(F32x16 x) {
  return eachLane<I32x16>([&](int i) { return floatBits(x.v[i]); });
}
inline F32x16 floatOf(I32x16 x) {
  return eachLane<F32x16>([&](int i) { return bitsFloat(x.v[i]); });
}
inline F32x16 toFloat(I32x16 x) {
  return eachLane<F32x16>([&](int i) { return static_cast<float>(x.v[i]); });
}
// Values past 2²² only occur in lanes whose result is replaced; the conversion itself must stay defined.
inline I32x16 toInt(F32x16 x) {
  return eachLane<I32x16>([&](int i) {
    const float limit = 4194304.0f;
    return x.v[i] > -limit && x.v[i] < limit ? static_cast<int32_t>(roundTiesToEven(x.v[i])) : 0;
  });
}

// Wrapping arithmetic goes through uint32_t.
template <class Fn>
inline I32x16 eachWord(I32x16 a, I32x16 b, Fn fn) {
  return eachLane<I32x16>([&](int i) {
    return static_cast<int32_t>(fn(static_cast<uint32_t>(a.v[i]), static_cast<uint32_t>(b.v[i])));
  });
}
inline I32x16 addInt(I32x16 a, I32x16 b) {
  return eachWord(a, b, [](uint32_t x, uint32_t y) { return x + y; });
}
inline I32x16 andInt(I32x16 a, I32x16 b) {
  return eachWord(a, b, [](uint32_t x, uint32_t y) { return x & y; });
}
inline I32x16 orInt(I32x16 a, I32x16 b) {
  return eachWord(a, b, [](uint32_t x, uint32_t y) { return x | y; });
}
inline I32x16 xorInt(I32x16 a, I32x16 b) {
  return eachWord(a, b, [](uint32_t x, uint32_t y) { return x ^ y; });
}
inline I32x16 maxInt(I32x16 a, I32x16 b) {
  return eachLane<I32x16>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
template <int k>
inline I32x16 shiftLeft(I32x16 x) {
  return eachWord(x, x, [](uint32_t word, uint32_t) { return word << k; });
}
template <int k>
inline I32x16 shiftRight(I32x16 x) {
  return eachWord(x, x, [](uint32_t word, uint32_t) { return word >> k; });
}
template <int k>
inline I32x16 shiftRightSigned(I32x16 x) {
  return eachLane<I32x16>([&](int i) { return x.v[i] >> k; });
}

inline F32x16 timesPower(F32x16 p, F32x16 n) { return multiply(p, floatOf(shiftLeft<23>(addInt(toInt(n), splatInt(127))))); }

inline int32_t sumOfInts(I32x16 x) {
  int32_t sum = 0;
  for (int i = 0; i < 16; i++) sum += x.v[i];
  return sum;
}
inline int32_t maxOfInts(I32x16 x) {
  int32_t most = x.v[0];
  for (int i = 1; i < 16; i++) most = x.v[i] > most ? x.v[i] : most;
  return most;
}
inline float maxOf(F32x16 x) {
  float most = x.v[0];
  for (int i = 1; i < 16; i++) most = x.v[i] > most ? x.v[i] : most;
  return most;
}
inline float fold(F32x16 x) {
  for (int half = 8; half >= 1; half /= 2)
    for (int i = 0; i < half; i++) x.v[i] += x.v[i + half];
  return x.v[0] + 0.0f;
}
inline void fold4(F32x16 a, F32x16 b, F32x16 c, F32x16 d, float* out) {
  out[0] = fold(a);
  out[1] = fold(b);
  out[2] = fold(c);
  out[3] = fold(d);
}

}  // namespace
}  // namespace bitnet
