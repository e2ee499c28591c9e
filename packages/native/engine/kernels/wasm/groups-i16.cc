// Activations in groups with dots of two bytes in int16 and relaxed_madd.
#include "dots.h"

#if defined(__wasm_relaxed_simd__)
#define BITNET_RELAXED_MADD
// Of the functions of lanes some are for the other kernels.
#pragma clang diagnostic ignored "-Wunused-function"
#include "lanes.h"

#include "../f32-lanes.inl.h"

namespace bitnet {
namespace {

// Four results of at most 2 · 3 · 128 in magnitude stay within int16.
inline v128_t wordDots(v128_t packed, const int8_t* x) {
  const v128_t three = wasm_i8x16_const_splat(3);
  const auto planeDots = [&](int plane) {
    return wasm_i16x8_relaxed_dot_i8x16_i7x16(wasm_v128_load(x + 64 * plane), wasm_v128_and(wasm_u16x8_shr(packed, 6 - 2 * plane), three));
  };
  const v128_t sums = wasm_i16x8_add(wasm_i16x8_add(planeDots(0), planeDots(1)), wasm_i16x8_add(planeDots(2), planeDots(3)));
  return wasm_i32x4_extadd_pairwise_i16x8(sums);
}

}  // namespace
}  // namespace bitnet

#include "group-pairs.h"

#include "../group-dots.inl.h"

namespace bitnet {

static constexpr WasmGroups groups = {groupDots, groupOffsets};
const WasmGroups* wasmGroupsI16() { return &groups; }

}  // namespace bitnet

#else

namespace bitnet {

const WasmGroups* wasmGroupsI16() { return nullptr; }

}  // namespace bitnet

#endif
