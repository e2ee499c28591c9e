// int8 products in NEON registers with the byte dot product of ARMv8.2: everything that screen.inl.h asks for.
#pragma once
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

using ScreenRow = int8x16_t;
using ScreenX = int8x16_t;
using ScreenSum = int32x4_t;
inline constexpr int screenBytes = 16;
inline constexpr int screenRows = 4;
inline constexpr int screenActivations = 4;
inline constexpr uint32_t screenBias = 0;

inline ScreenRow loadScreenRow(const int8_t* row) { return vld1q_s8(row); }
inline ScreenX loadScreenX(const int8_t* x) { return vld1q_s8(x); }
inline ScreenSum zeroScreenSum() { return vdupq_n_s32(0); }
inline ScreenSum screenAdd(ScreenSum sum, ScreenRow row, ScreenX x) { return vdotq_s32(sum, row, x); }

inline void reduceScreen4(const ScreenSum sums[4], int32_t* out) {
  vst1q_s32(out, vpaddq_s32(vpaddq_s32(sums[0], sums[1]), vpaddq_s32(sums[2], sums[3])));
}

}  // namespace
}  // namespace bitnet
