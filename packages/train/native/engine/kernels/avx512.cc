// AVX-512 (Intel servers since 2017, AMD since Zen 4).
#include "train-kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "../../../../native/engine/kernels/avx512/lanes.h"
#include "../../../../native/engine/kernels/f32-lanes.inl.h"
#include "table.inl.h"

namespace bitnet::train {
namespace {

// Four products of an unsigned byte of at most 2 and a signed one added to every lane: pairs fit 16 bits.
inline I32x16 dotBytes(I32x16 sums, I32x16 unsignedBytes, I32x16 signedBytes) {
  return _mm512_add_epi32(sums, _mm512_madd_epi16(_mm512_maddubs_epi16(unsignedBytes, signedBytes), _mm512_set1_epi16(1)));
}

}  // namespace
}  // namespace bitnet::train

#include "trits.inl.h"

namespace bitnet::train {

const TrainKernels* avx512TrainKernels() {
  static constexpr TrainKernels table = trainTable("avx512", {packTrits, multiplyTrits});
  return &table;
}

}  // namespace bitnet::train

#else

namespace bitnet::train {

const TrainKernels* avx512TrainKernels() { return nullptr; }

}  // namespace bitnet::train

#endif
