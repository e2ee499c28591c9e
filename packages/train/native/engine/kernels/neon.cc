// Every 64-bit ARM.
#include "train-kernels.h"

#if defined(__aarch64__)
#include "../../../../native/engine/kernels/neon/lanes.h"
#include "../../../../native/engine/kernels/f32-lanes.inl.h"
#include "table.inl.h"

namespace bitnet::train {

const TrainKernels* neonTrainKernels() {
  static constexpr TrainKernels table = trainTable("neon");
  return &table;
}

}  // namespace bitnet::train

#else

namespace bitnet::train {

const TrainKernels* neonTrainKernels() { return nullptr; }

}  // namespace bitnet::train

#endif
