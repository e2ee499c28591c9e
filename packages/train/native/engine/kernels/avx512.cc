// AVX-512 (Intel servers since 2017, AMD since Zen 4).
#include "train-kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "../../../../native/engine/kernels/avx512/lanes.h"
#include "../../../../native/engine/kernels/f32-lanes.inl.h"
#include "table.inl.h"

namespace bitnet::train {

const TrainKernels* avx512TrainKernels() {
  static constexpr TrainKernels table = trainTable("avx512");
  return &table;
}

}  // namespace bitnet::train

#else

namespace bitnet::train {

const TrainKernels* avx512TrainKernels() { return nullptr; }

}  // namespace bitnet::train

#endif
