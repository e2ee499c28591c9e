// AVX2, FMA, F16C (Intel since 2013, AMD since 2017). Products are summed in pairs to int16 and widened before they could overflow.
#include "../kernels.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "lanes.h"

#include "../f32-kernels.inl.h"
#include "blocks.h"

namespace bitnet {
namespace {

using Running = __m256i;  // 16 × int16

// A step adds at most 2 · 3 · 128 = 768 to a sum: 42 · 768 = 32256 < 32767.
inline constexpr int maxSteps = 42;

// Measured on Zen 5.
inline constexpr int decodeChains = 1;
inline constexpr int rowActivations = 3;
inline constexpr int vectorsAtOnce = 1;
inline constexpr int tileActivations = 4;
inline constexpr int tileFrom = 8;

inline Running zeroRunning() { return _mm256_setzero_si256(); }
inline Running multiplyAdd(Running sums, Bytes codes, Bytes x) {
  return _mm256_add_epi16(sums, _mm256_maddubs_epi16(codes, x));
}
inline __m256i widenPairs(Running sums) { return _mm256_madd_epi16(sums, _mm256_set1_epi16(1)); }
inline Total widenAdd(Total total, Running sums) { return _mm256_add_epi32(total, widenPairs(sums)); }
inline void addRunning(Running sums, int32_t* acc) { addTotal(widenPairs(sums), acc); }

}  // namespace
}  // namespace bitnet

#include "../ternary.inl.h"

namespace bitnet {
namespace {

constexpr Kernels table = kernelTable("avx2", ternaryMatmul);

}  // namespace

const Kernels* avx2Kernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* avx2Kernels() { return nullptr; }

}  // namespace bitnet

#endif
