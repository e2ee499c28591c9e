// AVX2 with the byte dot products of AVX-VNNI (Intel since Alder Lake, AMD since Zen 5).
#include "../kernels.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__) && defined(__AVXVNNI__)
#include "../avx2/lanes.h"

#include "../avx2/blocks.h"
#include "../avx2/screen.h"
#include "../f32-kernels.inl.h"

namespace bitnet {
namespace {

using Running = __m256i;  // 8 × int32, safe for as many steps as columns are allowed
inline constexpr int maxSteps = INT32_MAX;

// Measured on Zen 5.
inline constexpr int decodeChains = 2;
inline constexpr int rowActivations = 2;
inline constexpr int vectorsAtOnce = 1;
inline constexpr int tileActivations = 6;
inline constexpr int tileFrom = 12;

inline Running zeroRunning() { return _mm256_setzero_si256(); }
inline Running multiplyAdd(Running sums, Bytes codes, Bytes x) { return _mm256_dpbusd_avx_epi32(sums, codes, x); }
inline Total widenAdd(Total total, Running sums) { return _mm256_add_epi32(total, sums); }
inline void addRunning(Running sums, int32_t* acc) { addTotal(sums, acc); }

inline __m256i blockDots(const Bytes planes[4], const int8_t* x) {
  __m256i sums = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), planes[0], loadBytes(x));
  for (int s = 1; s < 4; s++) sums = _mm256_dpbusd_avx_epi32(sums, planes[s], loadBytes(x + 64 * s));
  return sums;
}

inline I32x16 pairDots(const PairCodes& codes, const int8_t* x) { return {blockDots(codes.planes[0], x), blockDots(codes.planes[1], x + 32)}; }

// The instruction multiplies unsigned by signed bytes: rows are read with their sign bit turned, q + 128.
using ScreenRow = __m256i;
using ScreenX = __m256i;
inline constexpr int screenActivations = 2;
inline constexpr uint32_t screenBias = 128;

inline ScreenRow loadScreenRow(const int8_t* row) {
  return _mm256_xor_si256(loadBytes(row), _mm256_set1_epi8(static_cast<char>(0x80)));
}
inline ScreenX loadScreenX(const int8_t* x) { return loadBytes(x); }
inline ScreenSum screenAdd(ScreenSum sum, ScreenRow row, ScreenX x) { return _mm256_dpbusd_avx_epi32(sum, row, x); }

}  // namespace
}  // namespace bitnet

#include "../group-dots.inl.h"
#include "../screen.inl.h"
#include "../ternary-tiles.inl.h"

namespace bitnet {
namespace {

constexpr Kernels table = kernelTable("avxvnni", ternaryMatmul, screenDots, groupDots, groupOffsets);

}  // namespace

const Kernels* avxVnniKernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* avxVnniKernels() { return nullptr; }

}  // namespace bitnet

#endif
