// Blocks of weights in pairs, for activations in groups: everything that group-dots.inl.h asks for, by way of int16. Include after lanes.h.
#pragma once

namespace bitnet {
namespace {

inline constexpr int groupRowsAtOnce = 2;
inline constexpr int groupActivations = 1;

struct PairCodes {
  v128_t packed[4];  // [half block]
};

inline PairCodes unpackPair(const uint8_t* codes) {
  return {{wasm_v128_load(codes), wasm_v128_load(codes + 16), wasm_v128_load(codes + 32), wasm_v128_load(codes + 48)}};
}

inline I32x16 pairDots(const PairCodes& codes, const int8_t* x) {
  const v128_t three = wasm_i8x16_const_splat(3);
  return eachQuad<I32x16>([&](int half) {
    v128_t low = wasm_i32x4_const_splat(0), high = low;
    for (int plane = 0; plane < 4; plane++) {
      const v128_t bits = wasm_v128_and(wasm_u16x8_shr(codes.packed[half], 6 - 2 * plane), three);
      const int8_t* const part = x + 64 * plane + 16 * half;
      low = wasm_i32x4_add(low, wasm_i32x4_dot_i16x8(wasm_u16x8_extend_low_u8x16(bits), wasm_i16x8_load8x8(part)));
      high = wasm_i32x4_add(high, wasm_i32x4_dot_i16x8(wasm_u16x8_extend_high_u8x16(bits), wasm_i16x8_load8x8(part + 8)));
    }
    // Pairs of columns to words of four.
    return wasm_i32x4_add(wasm_i32x4_shuffle(low, high, 0, 2, 4, 6), wasm_i32x4_shuffle(low, high, 1, 3, 5, 7));
  });
}

}  // namespace
}  // namespace bitnet
