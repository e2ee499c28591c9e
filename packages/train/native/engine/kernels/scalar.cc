// Any machine.
#include "train-kernels.h"

#if 1
#include "../../../../native/engine/kernels/scalar/lanes.h"
#include "../../../../native/engine/kernels/f32-lanes.inl.h"
#include "table.inl.h"

namespace bitnet::train {

const TrainKernels* scalarTrainKernels() {
  static constexpr TrainKernels table = trainTable("scalar");
  return &table;
}

}  // namespace bitnet::train

#else

namespace bitnet::train {

const TrainKernels* scalarTrainKernels() { return nullptr; }

}  // namespace bitnet::train

#endif
