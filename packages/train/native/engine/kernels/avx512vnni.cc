// AVX-512 with the dot products of bytes of VNNI (Intel servers since 2019, AMD since Zen 4).
#include "train-kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512VNNI__)
#include "../../../../native/engine/kernels/avx512/lanes.h"
#include "../../../../native/engine/kernels/f32-lanes.inl.h"
#include "table.inl.h"
#include "vnni-dot.inl.h"
#include "trits.inl.h"

namespace bitnet::train {

const TrainKernels* avx512vnniTrainKernels() {
  static constexpr TrainKernels table = trainTable("avx512vnni", {packTrits, multiplyTrits});
  return &table;
}

}  // namespace bitnet::train

#else

namespace bitnet::train {

const TrainKernels* avx512vnniTrainKernels() { return nullptr; }

}  // namespace bitnet::train

#endif
