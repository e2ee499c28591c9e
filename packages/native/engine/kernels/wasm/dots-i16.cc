// Dots of two bytes in int16 (relaxed SIMD): one instruction on x86 without VNNI, where those in int32 are three.
#include "dots.h"

#if defined(__wasm_relaxed_simd__)
#include <wasm_simd128.h>

namespace bitnet {
namespace {

inline v128_t dotAdd(v128_t x, v128_t codes, v128_t sums) { return wasm_i16x8_add(sums, wasm_i16x8_relaxed_dot_i8x16_i7x16(x, codes)); }

// A result is at most 2 · 3 · 128 in magnitude, so that 42 fit; a block brings eight.
constexpr int int16Blocks = 5;
static_assert(int16Blocks * 8 * 2 * 3 * 128 <= INT16_MAX);

inline constexpr int tileColumns = 16;
inline void putTileCodes(v128_t codes, v128_t* to) { *to = codes; }
inline v128_t loadTileX(const int8_t* x) { return wasm_v128_load(x); }

struct TileSums {
  static constexpr int safeBlocks = int16Blocks;
  v128_t sums;
  static TileSums zero() { return {wasm_i16x8_const_splat(0)}; }
  void add(v128_t codes, v128_t x) { sums = dotAdd(x, codes, sums); }
  v128_t flush() const { return wasm_i32x4_extadd_pairwise_i16x8(sums); }
};
struct RowX {
  v128_t planes[4];
};
template <int>
inline RowX loadRowX(const int8_t* x) { return {{wasm_v128_load(x), wasm_v128_load(x + 32), wasm_v128_load(x + 64), wasm_v128_load(x + 96)}}; }

struct RowSums {
  static constexpr int parts = 1;
  static constexpr int safeBlocks = int16Blocks;
  v128_t sums;
  static RowSums zero() { return {wasm_i16x8_const_splat(0)}; }
  template <int>
  void add(v128_t packed, const RowX& x) {
    const v128_t three = wasm_i8x16_const_splat(3);
    sums = dotAdd(x.planes[3], wasm_v128_and(packed, three), sums);
    sums = dotAdd(x.planes[2], wasm_v128_and(wasm_u16x8_shr(packed, 2), three), sums);
    sums = dotAdd(x.planes[1], wasm_v128_and(wasm_u16x8_shr(packed, 4), three), sums);
    sums = dotAdd(x.planes[0], wasm_v128_and(wasm_u16x8_shr(packed, 6), three), sums);
  }
  v128_t flush() const { return wasm_i32x4_extadd_pairwise_i16x8(sums); }
};

}  // namespace
}  // namespace bitnet

#include "rows.inl.h"
#include "screen.h"

#include "../screen.inl.h"

namespace bitnet {

static constexpr WasmDots dots = {ternaryMatmul, screenDots};
const WasmDots* wasmDotsI16() { return &dots; }

}  // namespace bitnet

#else

namespace bitnet {

const WasmDots* wasmDotsI16() { return nullptr; }

}  // namespace bitnet

#endif
