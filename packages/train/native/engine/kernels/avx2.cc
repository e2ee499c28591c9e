// AVX2 with FMA.
#include "train-kernels.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "../../../../native/engine/kernels/avx2/lanes.h"
#include "../../../../native/engine/kernels/f32-lanes.inl.h"
#include "table.inl.h"

namespace bitnet::train {

const TrainKernels* avx2TrainKernels() {
  static constexpr TrainKernels table = trainTable("avx2");
  return &table;
}

}  // namespace bitnet::train

#else

namespace bitnet::train {

const TrainKernels* avx2TrainKernels() { return nullptr; }

}  // namespace bitnet::train

#endif
