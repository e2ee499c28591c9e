// Which activations a step of many rows keeps in lanes and strips (LaneKernels), where the machine has such kernels: as the plan says.
#include "executable.h"

namespace bitnet::engine {

void Executable::markLanes() {
  if (!kernels_->tiles || !kernels_->tiles->lanes) return;
  for (size_t id = 0; id < views_.size(); id++) views_[id].suitsLanes = program_.buffers[id].suitsLanes;
}

}  // namespace bitnet::engine
