// Dots of words of 4 bytes by way of int16, for activations in groups.
#pragma once
#include <wasm_simd128.h>

#include <cstdint>

namespace bitnet {
namespace {

inline v128_t wordDots(v128_t packed, const int8_t* x) {
  const v128_t three = wasm_i8x16_const_splat(3);
  v128_t low = wasm_i32x4_const_splat(0), high = low;
  for (int plane = 0; plane < 4; plane++) {
    const v128_t bits = wasm_v128_and(wasm_u16x8_shr(packed, 6 - 2 * plane), three);
    low = wasm_i32x4_add(low, wasm_i32x4_dot_i16x8(wasm_u16x8_extend_low_u8x16(bits), wasm_i16x8_load8x8(x + 64 * plane)));
    high = wasm_i32x4_add(high, wasm_i32x4_dot_i16x8(wasm_u16x8_extend_high_u8x16(bits), wasm_i16x8_load8x8(x + 64 * plane + 8)));
  }
  // Pairs of columns to words of four.
  return wasm_i32x4_add(wasm_i32x4_shuffle(low, high, 0, 2, 4, 6), wasm_i32x4_shuffle(low, high, 1, 3, 5, 7));
}

}  // namespace
}  // namespace bitnet
