// out = softmax(q · Kᵀ · scale) · V for each row and query head. The query heads that share a KV head are done together, page by page,
// so that keys and values come from memory once. With fewer (row, KV head) pairs than keep the threads busy, a long context is split
// by blocks of positions instead; the bits are the same, because values are summed by block in both (numerics: values).
#include <algorithm>
#include <cstring>

#include "worker.h"

namespace bitnet::addon {
namespace {

int32_t blocksOf(int32_t nKeys) { return (nKeys + valueBlock - 1) / valueBlock; }
size_t roundUp16(int32_t n) { return (static_cast<size_t>(n) + 15) / 16 * 16; }

}  // namespace

bool Worker::attention(const Op& op, WorkCounter* counters) {
  const int32_t nKvHeads = program_.buffer(op.kv).nKvHeads;
  const int64_t units = static_cast<int64_t>(step_.nRows) * nKvHeads;
  int32_t maxKeys = 0;
  for (int32_t row = 0; row < step_.nRows; row++) maxKeys = std::max(maxKeys, step_.positions[row] + 1);
  if (team_.size() > 1 && units < 4 * team_.size() && maxKeys > 2 * valueBlock) {
    const size_t group = static_cast<size_t>(op.nHeads / nKvHeads);
    const size_t perUnit = group * (exe_.scoreStride() + 16 + static_cast<size_t>(blocksOf(maxKeys)) * roundUp16(program_.buffer(op.kv).headDim));
    if (static_cast<size_t>(units) * perUnit <= exe_.splitFloats()) return attendSplit(op, counters, maxKeys);
  }
  // The last rows of a chunk have the most keys and go first.
  for (int64_t at = take(*counters); at < units; at = take(*counters)) {
    const int64_t unit = units - 1 - at;
    attendUnit(op, static_cast<int32_t>(unit / nKvHeads), static_cast<int32_t>(unit % nKvHeads));
  }
  return false;
}

// The page that holds a key, from where the keys of the KV head begin.
const uint8_t* Worker::page(const Op& op, int32_t row, int32_t key, int32_t kvHead) const {
  const int32_t page = step_.tableOfRow(row).pages[key / pageTokens];
  return exe_.arena().page(page) + exe_.kvOffset(op.kv) + static_cast<size_t>(kvHead) * exe_.kvHeadBytes(op.kv);
}

// scores[h][key] for keys [firstKey, endKey) and every query head h of the KV head; firstKey begins a page.
void Worker::scoreKeys(const Op& op, int32_t row, int32_t kvHead, int32_t firstKey, int32_t endKey, float* scores, size_t stride) {
  const Buffer& kv = program_.buffer(op.kv);
  const int32_t group = op.nHeads / kv.nKvHeads;
  const float* q = exe_.f32(op.q).row(row) + static_cast<size_t>(kvHead) * static_cast<size_t>(group) * static_cast<size_t>(kv.headDim);
  for (int32_t key = firstKey; key < endKey; key += pageTokens) {
    const int32_t n = std::min(pageTokens, endKey - key);
    const uint8_t* keys = page(op, row, key, kvHead);
    for (int32_t h = 0; h < group; h++)
      k_.scores(exe_.limits().kvType, q + static_cast<size_t>(h) * static_cast<size_t>(kv.headDim), keys, n, kv.headDim,
                scores + static_cast<size_t>(h) * stride + key);
  }
}

// sums[h] = Σ p · v over keys [firstKey, endKey) of one block, from +0.
void Worker::sumValues(const Op& op, int32_t row, int32_t kvHead, int32_t firstKey, int32_t endKey, const float* scores, size_t scoreStride,
                       float* sums, size_t sumStride) {
  const Buffer& kv = program_.buffer(op.kv);
  const int32_t group = op.nHeads / kv.nKvHeads;
  std::memset(sums, 0, static_cast<size_t>(group) * sumStride * sizeof(float));
  for (int32_t key = firstKey; key < endKey; key += pageTokens) {
    const int32_t n = std::min(pageTokens, endKey - key);
    const uint8_t* values = page(op, row, key, kvHead) + exe_.kvHalf(op.kv);
    for (int32_t h = 0; h < group; h++)
      k_.accumulateValues(exe_.limits().kvType, scores + static_cast<size_t>(h) * scoreStride + key, values, n, kv.headDim,
                          sums + static_cast<size_t>(h) * sumStride);
  }
}

// scores → exp(score · scale − max · scale); returns their sum.
float Worker::toProbabilities(float* scores, int32_t n, float scale) {
  alignas(64) float stripes[16] = {};
  k_.expStripes(scores, n, scale, k_.maximum(scores, n) * scale, stripes);
  return foldStripes(stripes);
}

void Worker::attendUnit(const Op& op, int32_t row, int32_t kvHead) {
  const Buffer& kv = program_.buffer(op.kv);
  const int32_t group = op.nHeads / kv.nKvHeads, nKeys = step_.positions[row] + 1;
  const size_t stride = exe_.scoreStride(), headStride = roundUp16(kv.headDim);
  float* total = scratch_.values;
  float* sums = total + static_cast<size_t>(group) * headStride;
  scoreKeys(op, row, kvHead, 0, nKeys, scratch_.scores, stride);
  float* denominators = scratch_.denominators;
  for (int32_t h = 0; h < group; h++) denominators[h] = toProbabilities(scratch_.scores + static_cast<size_t>(h) * stride, nKeys, op.real);
  std::memset(total, 0, static_cast<size_t>(group) * headStride * sizeof(float));
  for (int32_t key = 0; key < nKeys; key += valueBlock) {
    sumValues(op, row, kvHead, key, std::min(nKeys, key + valueBlock), scratch_.scores, stride, sums, headStride);
    for (int32_t h = 0; h < group; h++)
      k_.add(total + static_cast<size_t>(h) * headStride, sums + static_cast<size_t>(h) * headStride, kv.headDim);
  }
  float* out = exe_.f32(op.out).row(row) + static_cast<size_t>(kvHead * group) * static_cast<size_t>(kv.headDim);
  for (int32_t h = 0; h < group; h++)
    k_.divide(total + static_cast<size_t>(h) * headStride, kv.headDim, denominators[h], out + static_cast<size_t>(h * kv.headDim));
}

// Units u = (row, KV head), blocks b of 256 positions; shared memory: scores [u][group][stride], denominators [u][group] and
// sums [u][b][group][headStride].
bool Worker::attendSplit(const Op& op, WorkCounter* counters, int32_t maxKeys) {
  const Buffer& kv = program_.buffer(op.kv);
  const int32_t group = op.nHeads / kv.nKvHeads, nUnits = step_.nRows * kv.nKvHeads, nBlocks = blocksOf(maxKeys);
  const size_t nHeads = static_cast<size_t>(group), stride = exe_.scoreStride(), headStride = roundUp16(kv.headDim);
  float* const scores = exe_.splitScratch();
  float* const denominators = scores + static_cast<size_t>(nUnits) * nHeads * stride;
  float* const sums = denominators + static_cast<size_t>(nUnits) * nHeads * 16;
  const auto rowOf = [&](int32_t unit) { return unit / kv.nKvHeads; };
  const auto keysOf = [&](int32_t unit) { return step_.positions[rowOf(unit)] + 1; };
  const auto scoresOf = [&](int32_t unit, int32_t h) { return scores + (static_cast<size_t>(unit) * nHeads + static_cast<size_t>(h)) * stride; };
  const auto denominatorOf = [&](int32_t unit, int32_t h) { return denominators + (static_cast<size_t>(unit) * nHeads + static_cast<size_t>(h)) * 16; };
  const auto sumsOf = [&](int32_t unit, int32_t block) {
    return sums + (static_cast<size_t>(unit) * static_cast<size_t>(nBlocks) + static_cast<size_t>(block)) * nHeads * headStride;
  };
  // Calls fn(unit, block, firstKey, endKey) for the blocks that this thread gets.
  const auto eachBlock = [&](WorkCounter& counter, auto fn) {
    const uint32_t tasks = static_cast<uint32_t>(nUnits * nBlocks);
    for (uint32_t at = take(counter); at < tasks; at = take(counter)) {
      const int32_t unit = static_cast<int32_t>(at) / nBlocks, block = static_cast<int32_t>(at) % nBlocks;
      const int32_t firstKey = block * valueBlock, endKey = std::min(keysOf(unit), firstKey + valueBlock);
      if (firstKey < endKey) fn(unit, block, firstKey, endKey);
    }
  };
  const auto eachHead = [&](WorkCounter& counter, auto fn) {
    const uint32_t tasks = static_cast<uint32_t>(nUnits * group);
    for (uint32_t at = take(counter); at < tasks; at = take(counter)) fn(static_cast<int32_t>(at) / group, static_cast<int32_t>(at) % group);
  };

  eachBlock(counters[0], [&](int32_t unit, int32_t, int32_t firstKey, int32_t endKey) {
    scoreKeys(op, rowOf(unit), unit % kv.nKvHeads, firstKey, endKey, scoresOf(unit, 0), stride);
  });
  if (team_.barrier()) return true;
  eachHead(counters[1], [&](int32_t unit, int32_t h) { *denominatorOf(unit, h) = toProbabilities(scoresOf(unit, h), keysOf(unit), op.real); });
  if (team_.barrier()) return true;
  eachBlock(counters[2], [&](int32_t unit, int32_t block, int32_t firstKey, int32_t endKey) {
    sumValues(op, rowOf(unit), unit % kv.nKvHeads, firstKey, endKey, scoresOf(unit, 0), stride, sumsOf(unit, block), headStride);
  });
  if (team_.barrier()) return true;
  eachHead(counters[3], [&](int32_t unit, int32_t h) {
    float* total = scratch_.values;
    std::memset(total, 0, headStride * sizeof(float));
    for (int32_t block = 0; block < blocksOf(keysOf(unit)); block++)
      k_.add(total, sumsOf(unit, block) + static_cast<size_t>(h) * headStride, kv.headDim);
    const int32_t head = unit % kv.nKvHeads * group + h;
    k_.divide(total, kv.headDim, *denominatorOf(unit, h), exe_.f32(op.out).row(rowOf(unit)) + static_cast<size_t>(head * kv.headDim));
  });
  return false;
}

}  // namespace bitnet::addon
