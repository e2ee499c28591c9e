// Dots of four bytes in int32 (relaxed SIMD). The second operand is to stay within seven bits; codes, also times 16, do.
#include "dots.h"

#if defined(__wasm_relaxed_simd__)
#include <wasm_simd128.h>

namespace bitnet {
namespace {

inline v128_t dotAdd(v128_t x, v128_t codes, v128_t sums) { return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(x, codes, sums); }

struct RowX {
  v128_t planes[4];
};
template <int>
inline RowX loadRowX(const int8_t* x) { return {{wasm_v128_load(x), wasm_v128_load(x + 32), wasm_v128_load(x + 64), wasm_v128_load(x + 96)}}; }

// Codes stay where they lie in their byte, times 1, 4 or 16, each kind with a chain of its own, so that a byte of weights costs one shift.
struct RowSums {
  static constexpr int parts = 1;
  // 16 products of at most 48 · 128 a lane and block.
  static constexpr int safeBlocks = 16384;
  v128_t ones, fours, sixteens;
  static RowSums zero() {
    const v128_t zero = wasm_i32x4_const_splat(0);
    return {zero, zero, zero};
  }
  template <int>
  void add(v128_t packed, const RowX& x) {
    const v128_t two = wasm_i8x16_const_splat(0x03), four = wasm_i8x16_const_splat(0x0c), sixteen = wasm_i8x16_const_splat(0x30);
    ones = dotAdd(x.planes[3], wasm_v128_and(packed, two), ones);
    fours = dotAdd(x.planes[2], wasm_v128_and(packed, four), fours);
    sixteens = dotAdd(x.planes[1], wasm_v128_and(packed, sixteen), sixteens);
    sixteens = dotAdd(x.planes[0], wasm_v128_and(wasm_u16x8_shr(packed, 2), sixteen), sixteens);
  }
  v128_t flush() const { return wasm_i32x4_add(wasm_i32x4_add(ones, wasm_i32x4_shr(fours, 2)), wasm_i32x4_shr(sixteens, 4)); }
};

inline constexpr int tileColumns = 16;
inline void putTileCodes(v128_t codes, v128_t* to) { *to = codes; }
inline v128_t loadTileX(const int8_t* x) { return wasm_v128_load(x); }

struct TileSums {
  static constexpr int safeBlocks = 1 << 15;
  v128_t sums;
  static TileSums zero() { return {wasm_i32x4_const_splat(0)}; }
  void add(v128_t codes, v128_t x) { sums = dotAdd(x, codes, sums); }
  v128_t flush() const { return sums; }
};

}  // namespace
}  // namespace bitnet

#include "rows.inl.h"
#include "screen.h"

#include "../screen.inl.h"

namespace bitnet {

static constexpr WasmDots dots = {ternaryMatmul, screenDots};
const WasmDots* wasmDotsI32() { return &dots; }

}  // namespace bitnet

#else

namespace bitnet {

const WasmDots* wasmDotsI32() { return nullptr; }

}  // namespace bitnet

#endif
