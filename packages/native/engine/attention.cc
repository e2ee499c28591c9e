// out = softmax(q · Kᵀ · scale) · V for each row and query head. A tile of rows and the query heads that share a KV head go over the
// pages together, so that keys and values are loaded and widened once for all of them. With fewer (row, KV head) pairs than keep the
// threads busy, a long context is split by blocks of positions instead; the bits are the same, because values are summed by block in
// both (numerics: values).
#include <algorithm>
#include <cstring>
#include <limits>

#include "operations.h"

namespace bitnet::engine {
namespace {

int32_t blocksOf(int32_t nKeys) { return (nKeys + valueBlock - 1) / valueBlock; }
size_t roundUp16(int32_t n) { return (static_cast<size_t>(n) + 15) / 16 * 16; }
// From the scores of one query to those of the next: an odd number of cache lines, so that they do not meet in one set of a cache.
size_t strideOf(int32_t nKeys) { return roundUp16(nKeys) | 16; }
// Queries from which each gets a lane of its own.
constexpr int32_t laneQueries = 16;

constexpr int32_t keysAtOnce = 8;

// Consecutive positions of one sequence, within one page, against one KV head.
struct QueryTile {
  int32_t firstRow, nRows, kvHead;
  // By row, then head of the group; in lanes as the kernels arrange them.
  bool inLanes;
  ConstF32Matrix queries;
  // Score of query i and key j: scores[i · scoreStride + j · keyStride].
  float* scores;
  size_t scoreStride, keyStride;
  float* scoreOf(int32_t query, int32_t key) const {
    return scores + static_cast<size_t>(query) * scoreStride + static_cast<size_t>(key) * keyStride;
  }
};

// Whether there are too few heads of rows for all threads, so that the positions are shared out, too.
bool isSplit(const StepContext& c, const AttentionOp& op, int32_t maxKeys) {
  const Buffer& kv = c.program.buffer(op.kv);
  const int64_t units = static_cast<int64_t>(c.step.nRows) * kv.nKvHeads;
  if (c.team.size() == 1 || units >= 4 * c.team.size() || maxKeys <= 2 * valueBlock) return false;
  const size_t perUnit = static_cast<size_t>(op.nHeads / kv.nKvHeads) *
                         (c.executable.scoreStride() + 16 + static_cast<size_t>(blocksOf(maxKeys)) * roundUp16(kv.headDim));
  return static_cast<size_t>(units) * perUnit <= c.executable.splitFloats();
}

// Some keys of a page, or their values, and the queries of a tile that see them.
struct SeenKeys {
  CachedHead cached;
  int32_t key;  // the first
  int32_t query, nQueries;
};

// Calls use(SeenKeys) for the pages of keys [firstKey, endKey), or of their values, as far as the rows of the tile see them; firstKey begins a page.
template <class Fn>
void eachPage(const StepContext& c, const AttentionOp& op, const QueryTile& tile, bool isValue, int32_t firstKey, int32_t endKey, Fn use) {
  const Buffer& kv = c.program.buffer(op.kv);
  const int32_t group = op.nHeads / kv.nKvHeads, headDim = kv.headDim, lastKey = c.step.positions[tile.firstRow + tile.nRows - 1];
  const PageTable& table = c.step.tableOfRow(tile.firstRow);
  const size_t headBytes = c.executable.kvHeadBytes(op.kv), keyBytes = headBytes / pageTokens;
  const size_t offset = c.executable.kvOffset(op.kv) + static_cast<size_t>(tile.kvHead) * headBytes + (isValue ? c.executable.kvHalf(op.kv) : 0);
  const auto pageOf = [&](int32_t key) { return c.executable.arena().page(table.pages[key / pageTokens]) + offset; };
  // After the keys come the values.
  const auto pageAfter = [&](int32_t key) -> const uint8_t* {
    if (key + pageTokens <= lastKey) return pageOf(key + pageTokens);
    return isValue ? nullptr : pageOf(firstKey) + c.executable.kvHalf(op.kv);
  };
  for (int32_t key = firstKey; key < endKey; key += pageTokens) {
    const uint8_t* const page = pageOf(key);
    const uint8_t* const next = pageAfter(key);
    const int32_t seen = std::min(pageTokens, endKey - key);
    if (tile.nRows == 1) {
      // Done sooner than its keys arrive: it asks for those of the next page in steps of what it computes with.
      for (int32_t from = 0; from < seen; from += keysAtOnce) {
        const size_t bytes = static_cast<size_t>(from) * keyBytes;
        // Pages lie far apart: nothing but this asks for the next one early.
        if (next) prefetch(next + bytes, keysAtOnce * keyBytes);
        use(SeenKeys{{c.executable.limits().kvType, page + bytes, std::min(keysAtOnce, seen - from), headDim}, key + from, 0, group});
      }
      continue;
    }
    const void* wide = page;
    if (c.executable.limits().kvType == KvType::F16) {
      c.kernels.widen(DenseType::F16, page, seen * headDim, c.scratch.page);
      wide = c.scratch.page;
    }
    if (next) prefetch(next, headBytes);
    // In lanes, scores that a row must not see are computed with the others, and masked.
    if (c.step.positions[tile.firstRow] >= key + seen - 1 || (tile.inLanes && !isValue)) {
      use(SeenKeys{{KvType::F32, wide, seen, headDim}, key, 0, tile.nRows * group});
      continue;
    }
    // The page of the tile's own positions: every row sees one key more.
    for (int32_t i = 0; i < tile.nRows; i++) {
      const int32_t nKeys = std::min(seen, c.step.positions[tile.firstRow + i] + 1 - key);
      use(SeenKeys{{KvType::F32, wide, nKeys, headDim}, key, i * group, group});
    }
  }
}

void scoreKeys(const StepContext& c, const AttentionOp& op, const QueryTile& tile, int32_t firstKey, int32_t endKey) {
  const int32_t headDim = c.program.buffer(op.kv).headDim;
  eachPage(c, op, tile, false, firstKey, endKey, [&](const SeenKeys& of) {
    const CachedHead& keys = of.cached;
    float* const scores = tile.scoreOf(of.query, of.key);
    if (tile.inLanes) {
      const int32_t lanes = tile.queries.cols;
      const ConstF32Matrix widened = {static_cast<const float*>(keys.data), static_cast<size_t>(headDim), keys.nKeys, headDim};
      return c.kernels.laneScores(tile.queries, widened, {scores, tile.keyStride, keys.nKeys, lanes});
    }
    c.kernels.scores(tile.queries.part(of.query, of.nQueries), keys, {scores, tile.scoreStride, of.nQueries, keys.nKeys});
  });
}

// Σ p · v over keys [firstKey, endKey) of one block, from +0: to sums[query], or, where there is a total, added to total[query].
void sumValues(const StepContext& c, const AttentionOp& op, const QueryTile& tile, int32_t firstKey, int32_t endKey, float* sums, float* total) {
  const size_t stride = roundUp16(c.program.buffer(op.kv).headDim);
  eachPage(c, op, tile, true, firstKey, endKey, [&](const SeenKeys& of) {
    // Rows of a tile see different numbers of its last page, and of that only.
    const bool isLast = endKey - of.key <= (tile.nRows == 1 ? of.cached.nKeys : pageTokens);
    const size_t at = static_cast<size_t>(of.query) * stride;
    const KeyWeights weights = {tile.scoreOf(of.query, of.key), tile.scoreStride, tile.keyStride, of.nQueries};
    c.kernels.accumulateValues(weights, of.cached, {sums + at, stride, of.key == firstKey, total && isLast ? total + at : nullptr});
  });
}

// The first of a row's keys that its window reaches.
int32_t firstKeyOf(const AttentionOp& op, int32_t nKeys) { return op.window > 0 ? std::max(0, nKeys - op.window) : 0; }

// Keys before the window weigh nothing: exactly 0, which changes no sum.
void maskBefore(const AttentionOp& op, float* scores, int32_t nKeys) {
  std::fill_n(scores, firstKeyOf(op, nKeys), -std::numeric_limits<float>::infinity());
}

// scores → exp(score · scale − max · scale); returns their sum.
float toProbabilities(const StepContext& c, float* scores, int32_t n, float scale) {
  alignas(64) float stripes[16] = {};
  c.kernels.expStripes(scores, n, scale, c.kernels.maximum(scores, n) * scale, stripes);
  return foldStripes(stripes);
}

// The queries of a row's group.
ConstF32Matrix queriesOf(const StepContext& c, const AttentionOp& op, int32_t row, int32_t kvHead) {
  const Buffer& kv = c.program.buffer(op.kv);
  const int32_t group = op.nHeads / kv.nKvHeads;
  const size_t headDim = static_cast<size_t>(kv.headDim);
  return {c.executable.f32(op.q).row(row) + static_cast<size_t>(kvHead * group) * headDim, headDim, group, kv.headDim};
}

QueryTile gatherTile(const StepContext& c, const AttentionOp& op, int32_t firstRow, int32_t nRows, int32_t kvHead) {
  const size_t scoreStride = strideOf(c.step.positions[firstRow + nRows - 1] + 1);
  const ConstF32Matrix first = queriesOf(c, op, firstRow, kvHead);
  QueryTile tile = {firstRow, nRows, kvHead, false, first, c.scratch.scores, scoreStride, 1};
  if (nRows == 1) return tile;
  const int32_t headDim = first.cols, group = first.rows, nQueries = nRows * group;
  float* const queries = c.scratch.queries;
  if (nQueries >= laneQueries) {
    const size_t stride = roundUp16(nQueries);
    const int32_t lanes = static_cast<int32_t>(stride);
    tile.inLanes = true;
    tile.queries = {queries, stride, headDim, lanes};
    tile.scoreStride = 1;
    tile.keyStride = stride;
    if (lanes != nQueries) std::memset(queries, 0, static_cast<size_t>(headDim) * stride * sizeof(float));
    for (int32_t i = 0; i < nRows; i++)
      c.kernels.arrangeQueries(queriesOf(c, op, firstRow + i, kvHead), {queries + i * group, stride, headDim, lanes - i * group});
  } else {
    const size_t width = static_cast<size_t>(group) * first.stride;
    tile.queries = {queries, first.stride, nQueries, headDim};
    for (int32_t i = 0; i < nRows; i++)
      std::memcpy(queries + static_cast<size_t>(i) * width, queriesOf(c, op, firstRow + i, kvHead).data, width * sizeof(float));
  }
  return tile;
}

// scores → probabilities without their denominators.
void softmax(const StepContext& c, const AttentionOp& op, const QueryTile& tile) {
  const int32_t group = op.nHeads / c.program.buffer(op.kv).nKvHeads;
  const auto keysOf = [&](int32_t row) { return c.step.positions[tile.firstRow + row] + 1; };
  if (!tile.inLanes) {
    for (int32_t i = 0; i < tile.nRows * group; i++) {
      const int32_t nKeys = keysOf(i / group);
      maskBefore(op, tile.scoreOf(i, 0), nKeys);
      c.scratch.denominators[i] = toProbabilities(c, tile.scoreOf(i, 0), nKeys, op.scale);
    }
    return;
  }
  const int32_t nKeys = keysOf(tile.nRows - 1);
  for (int32_t row = 0; row < tile.nRows; row++) {
    for (int32_t key = 0; key < firstKeyOf(op, keysOf(row)); key++)
      std::fill_n(tile.scoreOf(row * group, key), group, -std::numeric_limits<float>::infinity());
    for (int32_t key = keysOf(row); key < nKeys; key++) std::fill_n(tile.scoreOf(row * group, key), group, -std::numeric_limits<float>::infinity());
  }
  c.kernels.laneSoftmax({tile.scores, tile.keyStride, nKeys, tile.queries.cols}, op.scale, c.scratch.denominators);
}

// Probabilities → results.
void finishTile(const StepContext& c, const AttentionOp& op, const QueryTile& tile) {
  const Buffer& kv = c.program.buffer(op.kv);
  const int32_t group = op.nHeads / kv.nKvHeads, nQueries = tile.nRows * group, endKey = c.step.positions[tile.firstRow + tile.nRows - 1] + 1;
  const size_t sumStride = roundUp16(kv.headDim), nSums = static_cast<size_t>(nQueries) * sumStride;
  float* total = c.scratch.values;
  float* sums = total + nSums;
  std::memset(total, 0, nSums * sizeof(float));
  for (int32_t key = 0; key < endKey; key += valueBlock) sumValues(c, op, tile, key, std::min(endKey, key + valueBlock), sums, total);
  for (int32_t i = 0; i < nQueries; i++) {
    float* out = c.executable.f32(op.out).row(tile.firstRow + i / group) + static_cast<size_t>((tile.kvHead * group + i % group) * kv.headDim);
    c.kernels.divide(total + static_cast<size_t>(i) * sumStride, kv.headDim, c.scratch.denominators[i], out);
  }
}

void attendTile(const StepContext& c, const AttentionOp& op, int32_t firstRow, int32_t nRows, int32_t kvHead) {
  const QueryTile tile = gatherTile(c, op, firstRow, nRows, kvHead);
  scoreKeys(c, op, tile, 0, c.step.positions[firstRow + nRows - 1] + 1);
  softmax(c, op, tile);
  finishTile(c, op, tile);
}

// Units u = (row, KV head), blocks b of 256 positions; shared memory: scores [u][group][stride], denominators [u][group] and
// sums [u][b][group][headStride].
bool attendSplit(const StepContext& c, const AttentionOp& op, WorkCounter* counters, int32_t maxKeys) {
  const Buffer& kv = c.program.buffer(op.kv);
  const int32_t group = op.nHeads / kv.nKvHeads, nUnits = c.step.nRows * kv.nKvHeads, nBlocks = blocksOf(maxKeys);
  const size_t nHeads = static_cast<size_t>(group), stride = c.executable.scoreStride(), headStride = roundUp16(kv.headDim);
  float* const scores = c.executable.splitScratch();
  float* const denominators = scores + static_cast<size_t>(nUnits) * nHeads * stride;
  float* const sums = denominators + static_cast<size_t>(nUnits) * nHeads * 16;
  const auto rowOf = [&](int32_t unit) { return unit / kv.nKvHeads; };
  const auto tileOf = [&](int32_t unit) {
    QueryTile tile = gatherTile(c, op, rowOf(unit), 1, unit % kv.nKvHeads);
    tile.scores = scores + static_cast<size_t>(unit) * nHeads * stride;
    tile.scoreStride = stride;
    return tile;
  };
  const auto keysOf = [&](int32_t unit) { return c.step.positions[rowOf(unit)] + 1; };
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
    scoreKeys(c, op, tileOf(unit), firstKey, endKey);
  });
  if (c.team.barrier()) return true;
  eachHead(counters[1], [&](int32_t unit, int32_t h) {
    maskBefore(op, scoresOf(unit, h), keysOf(unit));
    *denominatorOf(unit, h) = toProbabilities(c, scoresOf(unit, h), keysOf(unit), op.scale);
  });
  if (c.team.barrier()) return true;
  eachBlock(counters[2], [&](int32_t unit, int32_t block, int32_t firstKey, int32_t endKey) {
    sumValues(c, op, tileOf(unit), firstKey, endKey, sumsOf(unit, block), nullptr);
  });
  if (c.team.barrier()) return true;
  eachHead(counters[3], [&](int32_t unit, int32_t h) {
    float* total = c.scratch.values;
    std::memset(total, 0, headStride * sizeof(float));
    for (int32_t block = 0; block < blocksOf(keysOf(unit)); block++)
      c.kernels.add(total, sumsOf(unit, block) + static_cast<size_t>(h) * headStride, kv.headDim);
    const int32_t head = unit % kv.nKvHeads * group + h;
    c.kernels.divide(total, kv.headDim, *denominatorOf(unit, h), c.executable.f32(op.out).row(rowOf(unit)) + static_cast<size_t>(head * kv.headDim));
  });
  return false;
}

}  // namespace

bool attention(const StepContext& c, const AttentionOp& op, WorkCounter* counters) {
  const int32_t nKvHeads = c.program.buffer(op.kv).nKvHeads, group = op.nHeads / nKvHeads;
  int32_t maxKeys = 0;
  for (int32_t row = 0; row < c.step.nRows; row++) maxKeys = std::max(maxKeys, c.step.positions[row] + 1);
  if (isSplit(c, op, maxKeys)) return attendSplit(c, op, counters, maxKeys);
  // As many rows as fit the scratch, while enough tiles are left for every thread.
  int32_t tileRows = 1;
  const auto isRoomFor = [&](int32_t rows) {
    const int32_t queries = rows * group;
    const size_t floats = queries >= laneQueries ? roundUp16(queries) * static_cast<size_t>(maxKeys) : static_cast<size_t>(queries) * strideOf(maxKeys);
    return queries <= tileQueries && floats <= c.executable.scoreFloats() &&
           static_cast<int64_t>((c.step.nRows + rows - 1) / rows) * nKvHeads >= 4 * c.team.size();
  };
  while (tileRows < pageTokens && isRoomFor(2 * tileRows)) tileRows *= 2;
  // The first of the rows that form a tile up to `end`.
  const auto beginOf = [&](int32_t end) {
    int32_t first = end - 1;
    while (first > 0 && c.step.positions[first] % tileRows != 0 && c.step.sequences[first - 1] == c.step.sequences[first] &&
           c.step.positions[first - 1] + 1 == c.step.positions[first])
      first--;
    return first;
  };
  int64_t nTiles = 0;
  for (int32_t end = c.step.nRows; end > 0; end = beginOf(end)) nTiles++;
  // All tiles of one KV head before the next, whose keys and values then stay in a second-level cache. The last rows of a chunk have the
  // most keys and go first. Counters only grow, so that one walk back through the rows finds all tiles of a head.
  int64_t head = 0, tile = 0;
  int32_t end = c.step.nRows, first = beginOf(end);
  for (int64_t at = take(*counters); at < nTiles * nKvHeads; at = take(*counters)) {
    if (at / nTiles != head) {
      head = at / nTiles;
      tile = 0;
      end = c.step.nRows;
      first = beginOf(end);
    }
    for (; tile < at % nTiles; tile++) {
      end = first;
      first = beginOf(end);
    }
    attendTile(c, op, first, end - first, static_cast<int32_t>(head));
  }
  return false;
}

}  // namespace bitnet::engine
