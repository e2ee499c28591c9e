// int8 products by way of int16: everything that screen.inl.h asks for. Relaxed dots would want one factor in seven bits.
#pragma once
#include <wasm_simd128.h>

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

struct ScreenRow {
  v128_t low, high;
};
using ScreenX = ScreenRow;
using ScreenSum = v128_t;
inline constexpr int screenBytes = 16;
inline constexpr int screenRows = 4;
inline constexpr int screenActivations = 2;
inline constexpr uint32_t screenBias = 0;

inline ScreenRow loadScreenRow(const int8_t* row) { return {wasm_i16x8_load8x8(row), wasm_i16x8_load8x8(row + 8)}; }
inline ScreenX loadScreenX(const int8_t* x) { return loadScreenRow(x); }
inline ScreenSum zeroScreenSum() { return wasm_i32x4_const_splat(0); }
inline ScreenSum screenAdd(ScreenSum sum, ScreenRow row, ScreenX x) {
  return wasm_i32x4_add(wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(row.low, x.low)), wasm_i32x4_dot_i16x8(row.high, x.high));
}

inline void reduceScreen4(const ScreenSum sums[4], int32_t* out) {
  const v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(sums[0], sums[1], 0, 4, 1, 5), wasm_i32x4_shuffle(sums[0], sums[1], 2, 6, 3, 7));
  const v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(sums[2], sums[3], 0, 4, 1, 5), wasm_i32x4_shuffle(sums[2], sums[3], 2, 6, 3, 7));
  wasm_v128_store(out, wasm_i32x4_add(wasm_i64x2_shuffle(ab, cd, 0, 2), wasm_i64x2_shuffle(ab, cd, 1, 3)));
}

}  // namespace
}  // namespace bitnet
