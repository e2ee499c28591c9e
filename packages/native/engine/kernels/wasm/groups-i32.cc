// Activations in groups with dots of four bytes in int32 and relaxed_madd.
#include "dots.h"

#if defined(__wasm_relaxed_simd__)
#define BITNET_RELAXED_MADD
// Of the functions of lanes some are for the other kernels.
#pragma clang diagnostic ignored "-Wunused-function"
#include "lanes.h"

#include "../f32-lanes.inl.h"

namespace bitnet {
namespace {

inline v128_t wordDots(v128_t packed, const int8_t* x) {
  const v128_t three = wasm_i8x16_const_splat(3);
  v128_t sums = wasm_i32x4_const_splat(0);
  for (int plane = 0; plane < 4; plane++)
    sums = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_v128_load(x + 64 * plane), wasm_v128_and(wasm_u16x8_shr(packed, 6 - 2 * plane), three), sums);
  return sums;
}

}  // namespace
}  // namespace bitnet

#include "group-pairs.h"

#include "../group-dots.inl.h"

namespace bitnet {

static constexpr WasmGroups groups = {groupDots, groupOffsets};
const WasmGroups* wasmGroupsI32() { return &groups; }

}  // namespace bitnet

#else

namespace bitnet {

const WasmGroups* wasmGroupsI32() { return nullptr; }

}  // namespace bitnet

#endif
