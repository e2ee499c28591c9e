// Dots of int16 (SIMD128, what every engine has): weights and activations are taken as int16 lanes, even and odd bytes apart.
#include "dots.h"

#include <wasm_simd128.h>

namespace bitnet {
namespace {

inline v128_t evenBytes(v128_t x) { return wasm_i16x8_shr(wasm_i16x8_shl(x, 8), 8); }
inline v128_t oddBytes(v128_t x) { return wasm_i16x8_shr(x, 8); }

// Even bytes (part 0) or odd ones of all planes.
struct RowX {
  v128_t planes[4];
};
template <int part>
inline RowX loadRowX(const int8_t* x) {
  RowX all;
  for (int plane = 0; plane < 4; plane++) {
    const v128_t bytes = wasm_v128_load(x + 32 * plane);
    // Those that meet codes times 1 are taken times 4, the others meet codes times 4, so that one sum holds both.
    all.planes[plane] = wasm_i16x8_shl(part == 0 ? evenBytes(bytes) : oddBytes(bytes), 2 * (plane & 1));
  }
  return all;
}

struct RowSums {
  // With both parts at once the activations alone would take half of the registers.
  static constexpr int parts = 2;
  // 32 products of at most 12 · 128 a lane and block.
  static constexpr int safeBlocks = 16384;
  v128_t sums;
  static RowSums zero() { return {wasm_i32x4_const_splat(0)}; }
  void addPair(v128_t bits, v128_t xOnes, v128_t xFours) {
    sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(wasm_v128_and(bits, wasm_i16x8_const_splat(0x0003)), xOnes));
    sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(wasm_v128_and(bits, wasm_i16x8_const_splat(0x000c)), xFours));
  }
  template <int part>
  void add(v128_t packed, const RowX& x) {
    addPair(wasm_u16x8_shr(packed, 8 * part), x.planes[3], x.planes[2]);
    addPair(wasm_u16x8_shr(packed, 8 * part + 4), x.planes[1], x.planes[0]);
  }
  v128_t flush() const { return wasm_i32x4_shr(sums, 2); }
};

// As int16, in order.
inline constexpr int tileColumns = 8;
inline void putTileCodes(v128_t codes, v128_t* to) {
  to[0] = wasm_u16x8_extend_low_u8x16(codes);
  to[4] = wasm_u16x8_extend_high_u8x16(codes);
}
inline v128_t loadTileX(const int8_t* x) { return wasm_i16x8_load8x8(x); }

struct TileSums {
  static constexpr int safeBlocks = 1 << 15;
  v128_t sums;
  static TileSums zero() { return {wasm_i32x4_const_splat(0)}; }
  void add(v128_t codes, v128_t x) { sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(codes, x)); }
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
