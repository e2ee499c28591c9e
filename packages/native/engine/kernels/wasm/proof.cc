// What the relaxed instructions of this engine do, tried on values at the ends of their ranges and on products that lie between two f32.
#include "../elementary.h"
#include "dots.h"

#if defined(__wasm_relaxed_simd__)
#include <wasm_simd128.h>
#endif

namespace bitnet {
namespace {

uint32_t proved = 0;

#if defined(__wasm_relaxed_simd__)

uint32_t state = 1;
uint32_t next() {
  state = state * 1664525 + 1013904223;
  return state >> 8;
}

int8_t signedByte() {
  constexpr int8_t ends[] = {-128, -127, -1, 0, 1, 126, 127, -64};
  const uint32_t word = next();
  return (word & 0x300) == 0 ? ends[word & 7] : static_cast<int8_t>(word);
}

float number() {
  const uint32_t word = next();
  const float x = static_cast<float>(static_cast<int32_t>(word << 8)) * 0x1p-24f;
  if ((word & 3) == 0) return x * 0x1p-24f;
  return (word & 3) == 1 ? 1 + x * 0x1p-20f : x;
}

uint32_t tryOnce() {
  alignas(16) int8_t x[16], codes[16];
  alignas(16) int32_t start[4], dots[4];
  alignas(16) int16_t pairs[8];
  for (int i = 0; i < 16; i++) {
    x[i] = signedByte();
    codes[i] = static_cast<int8_t>(next() % 49);
  }
  for (int i = 0; i < 4; i++) start[i] = static_cast<int32_t>(next()) - (1 << 23);
  const v128_t a = wasm_v128_load(x), b = wasm_v128_load(codes);
  wasm_v128_store(dots, wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, b, wasm_v128_load(start)));
  wasm_v128_store(pairs, wasm_i16x8_relaxed_dot_i8x16_i7x16(a, b));
  uint32_t wrong = 0;
  for (int i = 0; i < 4; i++) {
    int32_t sum = start[i];
    for (int j = 4 * i; j < 4 * i + 4; j++) sum += x[j] * codes[j];
    if (sum != dots[i]) wrong |= proofDotI32;
  }
  for (int i = 0; i < 8; i++)
    if (x[2 * i] * codes[2 * i] + x[2 * i + 1] * codes[2 * i + 1] != pairs[i]) wrong |= proofDotI16;
  alignas(16) float p[4], q[4], r[4], sums[4];
  for (int i = 0; i < 4; i++) {
    p[i] = number();
    q[i] = number();
    // Where the product all but cancels, a rounded one shows.
    r[i] = (next() & 1) == 0 ? number() : -(p[i] * q[i]);
  }
  wasm_v128_store(sums, wasm_f32x4_relaxed_madd(wasm_v128_load(p), wasm_v128_load(q), wasm_v128_load(r)));
  for (int i = 0; i < 4; i++)
    if (floatBits(sums[i]) != floatBits(fmaF32(p[i], q[i], r[i]))) wrong |= proofMadd;
  return wrong;
}

#else

uint32_t tryOnce() { return proofDotI32 | proofDotI16 | proofMadd; }

#endif

}  // namespace

uint32_t findWrongInstructions() {
  uint32_t wrong = 0;
  for (int i = 0; i < 16; i++) wrong |= tryOnce();
  return wrong;
}

void setProvedInstructions(uint32_t proofs) { proved = proofs; }
bool isProved(uint32_t proofs) { return (proved & proofs) == proofs; }

}  // namespace bitnet
