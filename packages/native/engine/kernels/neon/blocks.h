// Blocks of I2_S weights in NEON registers with the byte dot product of ARMv8.2: everything that ternary.inl.h asks for.
#pragma once
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

using Bytes = int8x16_t;
using Total = int32x4_t;
using Running = int32x4_t;  // safe for as many steps as columns are allowed
inline constexpr int maxSteps = INT32_MAX;

inline Running zeroRunning() { return vdupq_n_s32(0); }
inline Running multiplyAdd(Running sums, Bytes codes, Bytes x) { return vdotq_s32(sums, codes, x); }
inline Total zeroTotal() { return vdupq_n_s32(0); }
inline Total widenAdd(Total total, Running sums) { return vaddq_s32(total, sums); }

template <int s>
inline Bytes plane(Bytes packed) {
  const uint8x16_t bits = vreinterpretq_u8_s8(packed);
  if constexpr (s == 3) return vreinterpretq_s8_u8(vandq_u8(bits, vdupq_n_u8(3)));
  if constexpr (s < 3) return vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(bits, 6 - 2 * s), vdupq_n_u8(3)));
}

// ---- along the row: one vector is half a block of one row ----

inline constexpr int rowVectorBytes = 16;
inline constexpr int rowsPerVector = 1;
inline constexpr int decodeChains = 2;
inline constexpr int rowActivations = 4;
inline constexpr int vectorsAtOnce = 4;

inline Bytes loadPacked(const uint8_t* row, const uint8_t*) { return vreinterpretq_s8_u8(vld1q_u8(row)); }
inline Bytes loadActivations(const int8_t* x) { return vld1q_s8(x); }

inline void reduce4(const Total totals[4], int32_t* out) {
  vst1q_s32(out, vpaddq_s32(vpaddq_s32(totals[0], totals[1]), vpaddq_s32(totals[2], totals[3])));
}

// ---- in groups: two blocks, a register for 4 words of each half block ----

inline constexpr int groupRowsAtOnce = 2;
inline constexpr int groupActivations = 2;

struct PairCodes {
  Bytes planes[4][4];  // [half block][plane]
};

inline PairCodes unpackPair(const uint8_t* codes) {
  PairCodes all;
  for (int half = 0; half < 4; half++) {
    const Bytes packed = vreinterpretq_s8_u8(vld1q_u8(codes + 16 * half));
    all.planes[half][0] = plane<0>(packed);
    all.planes[half][1] = plane<1>(packed);
    all.planes[half][2] = plane<2>(packed);
    all.planes[half][3] = plane<3>(packed);
  }
  return all;
}

inline I32x16 pairDots(const PairCodes& codes, const int8_t* x) {
  I32x16 sums;
  for (int half = 0; half < 4; half++) {
    sums.v[half] = vdupq_n_s32(0);
    for (int s = 0; s < 4; s++) sums.v[half] = vdotq_s32(sums.v[half], codes.planes[half][s], vld1q_s8(x + 64 * s + 16 * half));
  }
  return sums;
}

// ---- by tiles: one vector is 4 codes of each of 4 rows ----

inline constexpr int tileRows = 4;
inline constexpr int tileVectors = 4;
inline constexpr int tileActivations = 4;
inline constexpr int spanBlocks = 8;
inline constexpr int tileFrom = 12;

inline Bytes loadCodes(const uint8_t* codes) { return vreinterpretq_s8_u8(vld1q_u8(codes)); }

inline Bytes broadcast(const int8_t* x) {
  int32_t four;
  __builtin_memcpy(&four, x, sizeof four);
  return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

inline void addRunning(Running sums, int32_t* acc) { vst1q_s32(acc, vaddq_s32(vld1q_s32(acc), sums)); }

// Transposes 4 rows × 4 words of 4 bytes twice; word j of a block holds the codes of weights 4j … 4j + 3 of each plane.
inline void unpackBlock(const uint8_t* const rows[tileRows], size_t offset, uint8_t* out) {
  for (int half = 0; half < 2; half++) {
    int32x4_t r[4];
    for (int i = 0; i < 4; i++) r[i] = vreinterpretq_s32_u8(vld1q_u8(rows[i] + offset + 16 * half));
    const int64x2_t even01 = vreinterpretq_s64_s32(vtrn1q_s32(r[0], r[1])), odd01 = vreinterpretq_s64_s32(vtrn2q_s32(r[0], r[1]));
    const int64x2_t even23 = vreinterpretq_s64_s32(vtrn1q_s32(r[2], r[3])), odd23 = vreinterpretq_s64_s32(vtrn2q_s32(r[2], r[3]));
    const int64x2_t words[4] = {vtrn1q_s64(even01, even23), vtrn1q_s64(odd01, odd23), vtrn2q_s64(even01, even23),
                                vtrn2q_s64(odd01, odd23)};
    for (int j = 0; j < 4; j++) {
      const Bytes packed = vreinterpretq_s8_s64(words[j]);
      uint8_t* to = out + 16 * (4 * half + j);
      vst1q_u8(to, vreinterpretq_u8_s8(plane<0>(packed)));
      vst1q_u8(to + 16 * 8, vreinterpretq_u8_s8(plane<1>(packed)));
      vst1q_u8(to + 16 * 16, vreinterpretq_u8_s8(plane<2>(packed)));
      vst1q_u8(to + 16 * 24, vreinterpretq_u8_s8(plane<3>(packed)));
    }
  }
}

}  // namespace
}  // namespace bitnet
