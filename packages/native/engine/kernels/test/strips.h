// Activations arranged for tiles, in memory of exactly their size.
#pragma once
#include "../kernels.h"
#include "guarded.h"

namespace bitnet::test {

class Strips {
 public:
  Strips(const TileKernels& tiles, const int8_t* x, int nX, int cols)
      : stride_(stripRows * static_cast<size_t>(cols)), nX_(nX), cols_(cols), memory_((nX + stripRows - 1) / stripRows * stride_) {
    tiles.arrange({x, static_cast<size_t>(cols), nX, cols}, memory_.data());
  }

  StripMatrix matrix() { return {memory_.data(), stride_, nX_, cols_}; }

 private:
  size_t stride_;
  int nX_, cols_;
  Guarded<int8_t> memory_;
};

}  // namespace bitnet::test
