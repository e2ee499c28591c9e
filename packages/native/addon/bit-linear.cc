// outs[i] = weights[i] · x: the concatenated rows of all weights are cut into chunks that the threads take one by one. A chunk goes over
// all rows of activations in panels, so that its sums fit a small scratch.
#include <algorithm>
#include <cstring>

#include "worker.h"

namespace bitnet::addon {
namespace {

int32_t roundUp(int32_t n, int32_t multiple) { return (n + multiple - 1) / multiple * multiple; }

struct Cut {
  int32_t panel;  // rows of activations at a time
  int32_t chunk;  // rows of weights, a multiple of 16
};

Cut cutOf(int32_t nRows, int64_t totalWeightRows, int32_t threads) {
  const int32_t panel = std::min(nRows, maxPanel);
  const int32_t fits = std::min(256, accScratch / panel / 16 * 16);
  // Eight chunks a thread even out what the threads lose to others on the machine.
  const int64_t even = totalWeightRows / (8 * threads);
  const int32_t wanted = static_cast<int32_t>(std::clamp<int64_t>(even, 16, fits));
  return {panel, std::min(fits, roundUp(wanted, 16))};
}

}  // namespace

void Worker::bitLinear(const Op& op, WorkCounter* counters) {
  const int32_t* weights = program_.lists.data() + op.firstList;
  int64_t total = 0;
  for (int32_t i = 0; i < op.nWeights; i++) total += program_.buffer(weights[i]).rows;
  const Cut cut = cutOf(step_.nRows, total, team_.size());
  int64_t before = 0;  // chunks of the weights before weight i
  int32_t i = 0;
  for (int64_t at = take(*counters);; at = take(*counters)) {
    // Counters only grow, so the weight that a chunk belongs to does, too.
    for (;;) {
      if (i == op.nWeights) return;
      const int64_t chunks = (program_.buffer(weights[i]).rows + cut.chunk - 1) / cut.chunk;
      if (at < before + chunks) break;
      before += chunks;
      i++;
    }
    const int32_t first = static_cast<int32_t>(at - before) * cut.chunk;
    ternaryChunk(op, i, first, std::min(cut.chunk, program_.buffer(weights[i]).rows - first), cut.panel);
  }
}

void Worker::ternaryChunk(const Op& op, int32_t i, int32_t firstRow, int32_t nRows, int32_t panel) {
  const int32_t id = program_.lists[static_cast<size_t>(op.firstList + i)];
  const F32Rows& out = exe_.f32(program_.lists[static_cast<size_t>(op.firstList + op.nWeights + i)]);
  const Buffer& weight = program_.buffer(id);
  const Q8Rows& x = exe_.q8(op.x);
  const size_t rowBytes = ternaryRowBytes(weight.cols);
  const uint8_t* rows = exe_.weightBytes(id) + static_cast<size_t>(firstRow) * rowBytes;
  const size_t accStride = static_cast<size_t>(roundUp(nRows, 16));
  for (int32_t x0 = 0; x0 < step_.nRows; x0 += panel) {
    const int32_t nX = std::min(panel, step_.nRows - x0);
    if (weight.scaleKind == ScaleKind::Group) {
      groupChunk(weight, rows, x, x0, nX, out, firstRow, nRows);
      continue;
    }
    const uint8_t* quints = nX <= quintActivations ? exe_.quintBytesOf(id) : nullptr;
    if (quints) {
      const uint8_t* from = quints + quintBytes(static_cast<size_t>(firstRow), paddedCols(weight.cols));
      exe_.quintKernels()->matmul(from, nRows, x.row(x0), x.stride, x.sums + x0, nX, static_cast<int32_t>(x.stride), scratch_.acc, accStride);
    } else {
      k_.ternaryMatmul(rows, rowBytes, nRows, x.row(x0), x.stride, x.sums + x0, nX, static_cast<int32_t>(x.stride), scratch_.acc, accStride);
    }
    for (int32_t j = 0; j < nX; j++) {
      const int32_t* acc = scratch_.acc + static_cast<size_t>(j) * accStride;
      float* target = out.row(x0 + j) + firstRow;
      const float s = x.scales[x0 + j];
      if (weight.scaleKind == ScaleKind::Tensor) {
        k_.scaleTensor(acc, nRows, weight.scale / s, target);
      } else {
        k_.scaleRow(acc, nRows, program_.scales.data() + weight.firstScale + firstRow, s, target);
      }
    }
  }
}

void Worker::groupChunk(const Buffer& weight, const uint8_t* rows, const Q8Rows& x, int32_t x0, int32_t nX, const F32Rows& out,
                        int32_t firstRow, int32_t nRows) {
  const size_t rowBytes = ternaryRowBytes(weight.cols);
  const size_t accStride = static_cast<size_t>(roundUp(nRows, 16));
  const int32_t nGroups = weight.cols / weight.groupSize, blocks = weight.groupSize / 128;
  const float* scales = program_.scales.data() + weight.firstScale + static_cast<size_t>(firstRow) * static_cast<size_t>(nGroups);
  for (int32_t j = 0; j < nX; j++) std::memset(out.row(x0 + j) + firstRow, 0, static_cast<size_t>(nRows) * sizeof(float));
  for (int32_t g = 0; g < nGroups; g++) {
    for (int32_t j = 0; j < nX; j++) {
      const int32_t* sums = x.blockSums + static_cast<size_t>(x0 + j) * (x.stride / 128) + static_cast<size_t>(g * blocks);
      scratch_.sums[j] = 0;
      for (int32_t b = 0; b < blocks; b++) scratch_.sums[j] += sums[b];
    }
    k_.ternaryMatmul(rows + static_cast<size_t>(g * blocks) * 32, rowBytes, nRows, x.row(x0) + g * weight.groupSize, x.stride, scratch_.sums,
                     nX, weight.groupSize, scratch_.acc, accStride);
    for (int32_t j = 0; j < nX; j++)
      k_.foldGroup(scratch_.acc + static_cast<size_t>(j) * accStride, nRows, scales + g, static_cast<size_t>(nGroups), out.row(x0 + j) + firstRow);
  }
  for (int32_t j = 0; j < nX; j++) k_.multiply(out.row(x0 + j) + firstRow, nRows, 1.0f / x.scales[x0 + j]);
}

}  // namespace bitnet::addon
