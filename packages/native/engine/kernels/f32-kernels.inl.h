// The table of one instruction set. Include after a lanes.h.
#pragma once
#include "f32-attention-tile.inl.h"
#include "f32-attention.inl.h"
#include "f32-dense.inl.h"
#include "f32-lane-attention.inl.h"
#include "f32-rows.inl.h"
#include "screen-build.inl.h"

namespace bitnet {
namespace {

constexpr Kernels kernelTable(const char* isa, decltype(Kernels::ternaryMatmul) ternaryMatmul,
                              decltype(Kernels::screenDots) screenDots, decltype(Kernels::groupDots) groupDots,
                              decltype(Kernels::groupOffsets) groupOffsets,
                              const TileKernels* tiles = nullptr) {
  return {
      .isa = isa,
      .tiles = tiles,
      .ternaryMatmul = ternaryMatmul,
      .scaleTensor = scaleTensor,
      .scaleRow = scaleRow,
      .foldGroup = foldGroup,
      .groupDots = groupDots,
      .groupOffsets = groupOffsets,
      .multiply = multiplyBy,
      .sumSquares = sumSquares,
      .normalise = normalise,
      .quantise = quantise,
      .absMaxBits = absMaxBits,
      .add = addTo,
      .gate = gate,
      .rope = rope,
      .narrow = narrow,
      .widen = widen,
      .denseDots = denseDots,
      .screenDots = screenDots,
      .screenBounds = screenBounds,
      .residualSquares = residualSquares,
      .scores = scores,
      .maximum = largest,
      .expStripes = expStripes,
      .accumulateValues = accumulateValues,
      .arrangeQueries = arrangeQueries,
      .laneScores = laneScores,
      .laneSoftmax = laneSoftmax,
      .divide = divideBy,
      .perturb = perturb,
  };
}

}  // namespace
}  // namespace bitnet
