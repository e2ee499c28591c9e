// Activations arranged for tiles, in memory of exactly their size.
#pragma once
#include "../kernels.h"
#include "guarded.h"

namespace bitnet::test {

class Strips {
 public:
  Strips(const TileKernels& tiles, const int8_t* x, int nX, int cols)
      : bytes_(stripRows * static_cast<size_t>(cols)), memory_((nX + stripRows - 1) / stripRows * bytes_) {
    tiles.arrange(x, cols, nX, cols, memory_.data());
  }

  const int8_t* data() { return memory_.data(); }
  // From one strip to the next.
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_;
  Guarded<int8_t> memory_;
};

}  // namespace bitnet::test
