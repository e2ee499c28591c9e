// Rotates queries and keys, and writes keys and values to the cache.
#include <cstring>

#include "row-operations.h"

namespace bitnet::engine {

const float* anglesOf(const StepContext& c, int32_t table, int32_t row) {
  return c.executable.vector(table) + static_cast<size_t>(c.step.positions[row]) * static_cast<size_t>(c.program.buffer(table).cols);
}

// Where the key of a row lies; its value follows kvHalf bytes later.
uint8_t* cachedKey(const StepContext& c, int32_t kv, int32_t row, int32_t kvHead) {
  const int32_t position = c.step.positions[row];
  const size_t headBytes = c.executable.kvHeadBytes(kv);
  return c.executable.arena().page(c.step.tableOfRow(row).pages[position / pageTokens]) + c.executable.kvOffset(kv) + static_cast<size_t>(kvHead) * headBytes +
         static_cast<size_t>(position % pageTokens) * (headBytes / pageTokens);
}

void cache(const StepContext& c, const float* x, int32_t n, uint8_t* out) {
  if (c.executable.limits().kvType == KvType::F16) return c.kernels.narrow(x, n, reinterpret_cast<uint16_t*>(out));
  std::memcpy(out, x, static_cast<size_t>(n) * sizeof(float));
}

// The queries, the key and the value of one KV head.
static void ropeHead(const StepContext& c, const RopeKvOp& op, int32_t row, int32_t kvHead) {
  const Buffer& kv = c.program.buffer(op.kv);
  const int32_t headDim = kv.headDim, group = op.nHeads / kv.nKvHeads;
  const float* table = anglesOf(c, op.table, row);
  float* q = c.executable.f32(op.q).row(row) + static_cast<size_t>(kvHead) * static_cast<size_t>(group * headDim);
  for (int32_t h = 0; h < group; h++) c.kernels.rope(q + h * headDim, table, headDim, op.pairing);
  const size_t at = static_cast<size_t>(kvHead) * static_cast<size_t>(headDim);
  float* k = c.executable.f32(op.k).row(row) + at;
  c.kernels.rope(k, table, headDim, op.pairing);
  cache(c, k, headDim, cachedKey(c, op.kv, row, kvHead));
  cache(c, c.executable.f32(op.v).row(row) + at, headDim, cachedKey(c, op.kv, row, kvHead) + c.executable.kvHalf(op.kv));
}

void ropeKv(const StepContext& c, const RopeKvOp& op, int32_t row) {
  const Buffer& kv = c.program.buffer(op.kv);
  const size_t half = c.executable.kvHalf(op.kv), keyBytes = c.executable.kvHeadBytes(op.kv) / pageTokens;
  // The lines to be written are few and far apart: none is near before it is asked for.
  for (int32_t h = 0; h < kv.nKvHeads; h++) {
    for (size_t i = 0; i < keyBytes; i += 64) {
      __builtin_prefetch(cachedKey(c, op.kv, row, h) + i, 1);
      __builtin_prefetch(cachedKey(c, op.kv, row, h) + half + i, 1);
    }
  }
  for (int32_t h = 0; h < kv.nKvHeads; h++) ropeHead(c, op, row, h);
}

void rope(const StepContext& c, const RopeOp& op, int32_t row) {
  const int32_t headDim = c.program.buffer(op.table).cols;
  for (int32_t h = 0; h < op.nHeads; h++) c.kernels.rope(c.executable.f32(op.x).row(row) + h * headDim, anglesOf(c, op.table, row), headDim, op.pairing);
}

void writeKv(const StepContext& c, const WriteKvOp& op, int32_t row) {
  const Buffer& kv = c.program.buffer(op.kv);
  for (int32_t h = 0; h < kv.nKvHeads; h++) {
    cache(c, c.executable.f32(op.k).row(row) + h * kv.headDim, kv.headDim, cachedKey(c, op.kv, row, h));
    cache(c, c.executable.f32(op.v).row(row) + h * kv.headDim, kv.headDim, cachedKey(c, op.kv, row, h) + c.executable.kvHalf(op.kv));
  }
}

}  // namespace bitnet::engine
