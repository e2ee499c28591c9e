// AVX2 with FMA.
#include "train-kernels.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "../../../../native/engine/kernels/avx2/lanes.h"
#include "../../../../native/engine/kernels/f32-lanes.inl.h"
#include "table.inl.h"

namespace bitnet::train {
namespace {

// Four products of an unsigned byte of at most 2 and a signed one added to every lane: pairs fit 16 bits.
inline __m256i dotHalf(__m256i sums, __m256i unsignedBytes, __m256i signedBytes) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(unsignedBytes, signedBytes), _mm256_set1_epi16(1)));
}
inline I32x16 dotBytes(I32x16 sums, I32x16 unsignedBytes, I32x16 signedBytes) {
  return {dotHalf(sums.low, unsignedBytes.low, signedBytes.low), dotHalf(sums.high, unsignedBytes.high, signedBytes.high)};
}

}  // namespace
}  // namespace bitnet::train

#include "trits.inl.h"

namespace bitnet::train {

const TrainKernels* avx2TrainKernels() {
  static constexpr TrainKernels table = trainTable("avx2", {packTrits, multiplyTrits});
  return &table;
}

}  // namespace bitnet::train

#else

namespace bitnet::train {

const TrainKernels* avx2TrainKernels() { return nullptr; }

}  // namespace bitnet::train

#endif
