// AVX2, FMA, F16C (Intel since 2013, AMD since 2017). Products are summed in pairs to int16 and widened before they could overflow.
#include "../kernels.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "lanes.h"

#include "../f32-kernels.inl.h"
#include "../f32-lane-rows.inl.h"
#include "blocks.h"
#include "screen.h"

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

inline __m256i blockDots(const Bytes planes[4], const int8_t* x) {
  const auto part = [&](int s) { return _mm256_maddubs_epi16(planes[s], loadBytes(x + 64 * s)); };
  return widenPairs(_mm256_add_epi16(_mm256_add_epi16(part(0), part(1)), _mm256_add_epi16(part(2), part(3))));
}

inline I32x16 pairDots(const PairCodes& codes, const int8_t* x) { return {blockDots(codes.planes[0], x), blockDots(codes.planes[1], x + 32)}; }

// int8 · int8: unsigned by signed are x's magnitudes and the row with x's signs. A pair of products is at most 2 · 128 · 127 = 32512.
struct ScreenX {
  __m256i values, magnitudes;
};
using ScreenRow = __m256i;
inline constexpr int screenActivations = 2;
inline constexpr uint32_t screenBias = 0;

inline ScreenRow loadScreenRow(const int8_t* row) { return loadBytes(row); }
inline ScreenX loadScreenX(const int8_t* x) { return {loadBytes(x), _mm256_abs_epi8(loadBytes(x))}; }
inline ScreenSum screenAdd(ScreenSum sum, ScreenRow row, ScreenX x) {
  return _mm256_add_epi32(sum, widenPairs(_mm256_maddubs_epi16(x.magnitudes, _mm256_sign_epi8(row, x.values))));
}

}  // namespace
}  // namespace bitnet

#include "../group-dots.inl.h"
#include "../screen.inl.h"
#include "../ternary-tiles.inl.h"
#include "tiles.h"

namespace bitnet {
namespace {

constexpr LaneKernels laneKernels = laneTable(16, laneTiles);

constexpr TileKernels tileKernels = {
    .ternaryFrom = 16,
    .screenFrom = INT32_MAX,
    .arrange = arrange,
    .ternary = ternaryTiles,
    .ternaryScaled = scaledTiles,
    .screen = nullptr,
    .lanes = &laneKernels,
};

constexpr Kernels table = kernelTable("avx2", ternaryMatmul, screenDots, groupDots, groupOffsets, &tileKernels);

}  // namespace

const Kernels* avx2Kernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* avx2Kernels() { return nullptr; }

}  // namespace bitnet

#endif
