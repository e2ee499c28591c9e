// Dots of int16 (SIMD128, what every engine has): weights and activations are taken as int16 lanes, even and odd bytes apart.
#include "dots.h"

#include <wasm_simd128.h>

namespace bitnet {
namespace {

inline v128_t evenBytes(v128_t x) { return wasm_i16x8_shr(wasm_i16x8_shl(x, 8), 8); }
inline v128_t oddBytes(v128_t x) { return wasm_i16x8_shr(x, 8); }

struct RowX {
  v128_t even[4], odd[4];
};
inline RowX loadRowX(const int8_t* x) {
  RowX both;
  for (int plane = 0; plane < 4; plane++) {
    const v128_t bytes = wasm_v128_load(x + 32 * plane);
    both.even[plane] = evenBytes(bytes);
    both.odd[plane] = oddBytes(bytes);
  }
  return both;
}

// Codes times 1 and times 4.
struct RowSums {
  // 32 products of at most 12 · 128 a lane and block.
  static constexpr int safeBlocks = 16384;
  v128_t ones, fours;
  static RowSums zero() {
    const v128_t zero = wasm_i32x4_const_splat(0);
    return {zero, zero};
  }
  void addPair(v128_t bits, v128_t xOnes, v128_t xFours) {
    ones = wasm_i32x4_add(ones, wasm_i32x4_dot_i16x8(wasm_v128_and(bits, wasm_i16x8_const_splat(0x0003)), xOnes));
    fours = wasm_i32x4_add(fours, wasm_i32x4_dot_i16x8(wasm_v128_and(bits, wasm_i16x8_const_splat(0x000c)), xFours));
  }
  void add(v128_t packed, const RowX& x) {
    addPair(packed, x.even[3], x.even[2]);
    addPair(wasm_u16x8_shr(packed, 4), x.even[1], x.even[0]);
    addPair(wasm_u16x8_shr(packed, 8), x.odd[3], x.odd[2]);
    addPair(wasm_u16x8_shr(packed, 12), x.odd[1], x.odd[0]);
  }
  v128_t flush() const { return wasm_i32x4_add(ones, wasm_i32x4_shr(fours, 2)); }
};

// 16 of them as int16, in order.
struct TileCodes {
  v128_t low, high;
};
inline TileCodes tileCodes(v128_t codes) { return {wasm_u16x8_extend_low_u8x16(codes), wasm_u16x8_extend_high_u8x16(codes)}; }

using TileX = TileCodes;
inline TileX loadTileX(const int8_t* x) { return {wasm_i16x8_load8x8(x), wasm_i16x8_load8x8(x + 8)}; }

struct TileSums {
  static constexpr int safeBlocks = 1 << 15;
  v128_t sums;
  static TileSums zero() { return {wasm_i32x4_const_splat(0)}; }
  void add(const TileCodes& codes, const TileX& x) {
    sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(codes.low, x.low));
    sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(codes.high, x.high));
  }
  v128_t flush() const { return sums; }
};

}  // namespace
}  // namespace bitnet

#include "rows.inl.h"
#include "screen.h"

#include "../screen.inl.h"

namespace bitnet {

static constexpr WasmDots dots = {ternaryMatmul, screenDots};
const WasmDots* wasmDotsPlain() { return &dots; }

}  // namespace bitnet
