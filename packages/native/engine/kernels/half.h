// f16 and bf16 to f32 and back in integer arithmetic, for one element: the scalar lanes, the tails and the block scales.
#pragma once
#include "elementary.h"

namespace bitnet {

static inline float halfToFloat(uint16_t half) {
  const int32_t sign = (half & 0x8000) << 16;
  const int32_t magnitude = (half & 0x7fff) << 13;
  if (magnitude >= 0x7c00 << 13) return bitsFloat(sign | magnitude | 0x7f800000);
  return bitsFloat(sign | floatBits(bitsFloat(magnitude) * 0x1p112f));
}

// Nearest, ties to even; saturates at ±65504.
static inline uint16_t floatToHalf(float x) {
  const int32_t bits = floatBits(x);
  const int32_t sign = (bits >> 16) & 0x8000;
  const int32_t magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x477fe000) return static_cast<uint16_t>(sign | 0x7bff);
  if (magnitude >= 0x38800000) {
    const int32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
    return static_cast<uint16_t>(sign | ((rounded >> 13) - 0x1c000));
  }
  // The last place of 0.5 is that of an f16 subnormal.
  return static_cast<uint16_t>(sign | (floatBits(bitsFloat(magnitude) + 0.5f) - floatBits(0.5f)));
}

static inline float brainToFloat(uint16_t brain) {
  return bitsFloat(static_cast<int32_t>(static_cast<uint32_t>(brain) << 16));
}

}  // namespace bitnet
