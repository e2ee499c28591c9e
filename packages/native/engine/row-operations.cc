// What is computed row by row: embedding, norms and quantisation, rotation and the cache, activations, and sums. One function an operation, in the
// order in which a layer has them.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "operations.h"

namespace bitnet::engine {
namespace {

// Of the row's token, to f32.
void widenRow(const StepContext& c, const EmbedOp& op, int32_t row, float* out) {
  const DenseMatrix table = c.executable.dense(op.table);
  c.kernels.widen(c.program.buffer(op.table).type, table.row(c.step.tokens[row]), table.cols, out);
}

// That of values whose largest magnitude has these bits.
float quantisationScale(uint32_t bits) {
  float absMax;
  std::memcpy(&absMax, &bits, sizeof absMax);
  return 127.0f / (absMax > 1e-5f ? absMax : 1e-5f);
}

// A scale for each 128 columns.
void quantiseGroups(const StepContext& c, const float* x, const Q8Rows& out, int32_t row, int32_t cols) {
  const size_t nGroups = static_cast<size_t>(out.nGroups());
  float* const scales = out.groupScales + static_cast<size_t>(row) * nGroups;
  float* const reciprocals = out.reciprocals + static_cast<size_t>(row) * nGroups;
  int32_t* const offsets = out.offsets + static_cast<size_t>(row) * out.offsetsOfRow();
  int8_t* const arranged = out.arranged + static_cast<size_t>(row) * out.arrangedOfRow();
  for (int32_t g = 0; g < out.nGroups(); g++) {
    const int32_t from = 128 * g, n = std::min(128, cols - from);
    int8_t* const values = out.row(row) + from;
    scales[g] = quantisationScale(c.kernels.absMaxBits(x + from, n));
    reciprocals[g] = 1.0f / scales[g];
    c.kernels.quantise(x + from, scales[g], n, 128, values);
    for (int32_t plane = 0; plane < 4; plane++)
      std::memcpy(arranged + g / 2 * 256 + 64 * plane + 32 * (g % 2), values + 32 * plane, 32);
  }
  c.kernels.groupOffsets(arranged, (out.nGroups() + 1) / 2, offsets);
}

void quantiseRow(const StepContext& c, const float* x, const Q8Rows& out, int32_t row, int32_t cols, float scale) {
  if (out.groupScales) return quantiseGroups(c, x, out, row, cols);
  const int32_t padded = static_cast<int32_t>(out.stride);
  out.scales[row] = scale;
  if (!out.blockSums) {
    out.sums[row] = c.kernels.quantise(x, scale, cols, padded, out.row(row));
    return;
  }
  // Scales by group need the sums of the groups: quantise block by block.
  int32_t* blockSums = out.blockSums + static_cast<size_t>(row) * (out.stride / 128);
  int32_t sum = 0;
  for (int32_t from = 0; from < padded; from += 128) {
    const int32_t n = std::min(128, cols - from);
    blockSums[from / 128] = c.kernels.quantise(x + from, scale, n, 128, out.row(row) + from);
    sum += blockSums[from / 128];
  }
  out.sums[row] = sum;
}

// out = matrix · x
void multiplyMatrix(const StepContext& c, int32_t matrix, const float* x, float* out) {
  c.kernels.denseDots(c.program.buffer(matrix).type, c.executable.dense(matrix), x, out);
}

}  // namespace

// ---- embedding, norms, quantisation ----

void embed(const StepContext& c, const EmbedOp& op, int32_t row) { widenRow(c, op, row, c.executable.f32(op.out).row(row)); }

void embedLanes(const StepContext& c, const EmbedOp& op, int32_t row) {
  widenRow(c, op, row, c.scratch.row);
  float* to = c.executable.f32(op.out).row(row / stripRows * stripRows) + row % stripRows;
  for (int32_t i = 0; i < c.program.buffer(op.table).cols; i++) to[static_cast<size_t>(i) * stripRows] = c.scratch.row[i];
}

uint32_t normalise(const StepContext& c, const float* x, const float* weight, int32_t cols, float eps, float* out) {
  const float mean = c.kernels.sumSquares(x, cols) / static_cast<float>(cols);
  return c.kernels.normalise(x, 1.0f / std::sqrt(mean + eps), weight, cols, out);
}

void rmsNormQuant(const StepContext& c, const RmsNormQuantOp& op, int32_t opIndex, int32_t row) {
  const int32_t cols = c.program.buffer(op.x).cols;
  // Read from memory with every step; a second row finds it in the cache.
  if (c.step.nRows == 1) prefetch(c.executable.vector(op.weight), static_cast<size_t>(cols) * sizeof(float));
  const uint32_t bits = normalise(c, c.executable.f32(op.x).row(row), c.executable.vector(op.weight), cols, op.eps, c.scratch.row);
  if (bits >= 0x7f800000u) return c.job.numericFailure(opIndex, row);
  quantiseRow(c, c.scratch.row, c.executable.q8(op.out), row, cols, quantisationScale(bits));
}

void rmsNormQuantLanes(const StepContext& c, const RmsNormQuantOp& op, int32_t opIndex, int32_t first) {
  const LaneKernels& k = *c.kernels.tiles->lanes;
  const Q8Rows& out = c.executable.q8(op.out);
  const int32_t cols = c.program.buffer(op.x).cols, n = std::min(stripRows, c.step.nRows - first);
  alignas(64) float factors[stripRows], scales[stripRows] = {};
  alignas(64) uint32_t most[stripRows];
  alignas(64) int32_t sums[stripRows];
  const LaneNorm y = {c.executable.f32(op.x).row(first), factors, c.executable.vector(op.weight), cols};
  k.squares(y.x, cols, factors);
  for (int32_t i = 0; i < stripRows; i++) factors[i] = i < n ? 1.0f / std::sqrt(factors[i] / static_cast<float>(cols) + op.eps) : 0.0f;
  k.magnitudes(y, most);
  for (int32_t i = 0; i < n; i++) {
    if (most[i] >= 0x7f800000u) return c.job.numericFailure(opIndex, first + i);
    scales[i] = quantisationScale(most[i]);
  }
  k.quantise(y, scales, {out.row(first), static_cast<int32_t>(out.stride), sums});
  std::memcpy(out.scales + first, scales, static_cast<size_t>(n) * sizeof(float));
  std::memcpy(out.sums + first, sums, static_cast<size_t>(n) * sizeof(int32_t));
}

// Each stretch of the row that is as wide as the weight.
void rmsNorm(const StepContext& c, const RmsNormOp& op, int32_t row) {
  const int32_t cols = c.program.buffer(op.x).cols, width = c.program.buffer(op.weight).cols;
  const float *x = c.executable.f32(op.x).row(row), *weight = c.executable.vector(op.weight);
  float* out = c.executable.f32(op.out).row(row);
  for (int32_t at = 0; at < cols; at += width) normalise(c, x + at, weight, width, op.eps, out + at);
}

void quantise(const StepContext& c, const QuantiseOp& op, int32_t opIndex, int32_t row) {
  const int32_t cols = c.program.buffer(op.x).cols;
  const float* x = c.executable.f32(op.x).row(row);
  const uint32_t bits = c.kernels.absMaxBits(x, cols);
  if (bits >= 0x7f800000u) return c.job.numericFailure(opIndex, row);
  quantiseRow(c, x, c.executable.q8(op.out), row, cols, quantisationScale(bits));
}

// ---- rotation and the cache ----

const float* anglesOf(const StepContext& c, int32_t table, int32_t row) {
  return c.executable.vector(table) + static_cast<size_t>(c.step.positions[row]) * static_cast<size_t>(c.program.buffer(table).cols);
}

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

void rope(const StepContext& c, const RopeOp& op, int32_t row) {
  const int32_t headDim = c.program.buffer(op.table).cols;
  for (int32_t h = 0; h < op.nHeads; h++) c.kernels.rope(c.executable.f32(op.x).row(row) + h * headDim, anglesOf(c, op.table, row), headDim, op.pairing);
}

void writeKv(const StepContext& c, const WriteKvOp& op, int32_t row) {
  const Buffer& kv = c.program.buffer(op.kv);
  for (int32_t h = 0; h < kv.nKvHeads; h++) {
    uint8_t* const key = cachedKey(c, op.kv, row, h);
    cache(c, c.executable.f32(op.k).row(row) + h * kv.headDim, kv.headDim, key);
    cache(c, c.executable.f32(op.v).row(row) + h * kv.headDim, kv.headDim, key + c.executable.kvHalf(op.kv));
  }
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
  rope(c, {op.q, op.table, op.nHeads, op.pairing}, row);
  rope(c, {op.k, op.table, kv.nKvHeads, op.pairing}, row);
  writeKv(c, {op.k, op.v, op.kv}, row);
}

// ---- activations, element by element ----

void gatedActivation(const StepContext& c, const GatedActivationOp& op, int32_t row) {
  c.kernels.gate(op.fn, c.executable.f32(op.gate).row(row), c.executable.f32(op.up).row(row), c.program.buffer(op.out).cols, c.executable.f32(op.out).row(row));
}

void activation(const StepContext& c, const ActivationOp& op, int32_t row) {
  constexpr int32_t piece = 256;
  static const auto ones = [] {
    struct Ones { alignas(64) float values[piece]; } all;
    std::fill(all.values, all.values + piece, 1.0f);
    return all;
  }();
  const int32_t cols = c.program.buffer(op.x).cols;
  for (int32_t at = 0; at < cols; at += piece)
    c.kernels.gate(op.fn, c.executable.f32(op.x).row(row) + at, ones.values, std::min(piece, cols - at), c.executable.f32(op.out).row(row) + at);
}

void multiplyRows(const StepContext& c, const MultiplyOp& op, int32_t row) {
  const float *x = c.executable.f32(op.x).row(row), *y = c.executable.f32(op.y).row(row);
  float* out = c.executable.f32(op.out).row(row);
  for (int32_t i = 0; i < c.program.buffer(op.x).cols; i++) out[i] = x[i] * y[i];
}

void bias(const StepContext& c, const BiasOp& op, int32_t row) {
  c.kernels.add(c.executable.f32(op.x).row(row), c.executable.vector(op.bias), c.program.buffer(op.x).cols);
}

void lora(const StepContext& c, const LoraOp& op, int32_t row) {
  if (!c.step.adapters || c.step.adapters[row] != op.adapter) return;
  const int32_t width = c.program.buffer(op.y).cols;
  multiplyMatrix(c, op.a, c.executable.f32(op.x).row(row), c.scratch.hidden);
  multiplyMatrix(c, op.b, c.scratch.hidden, c.scratch.row);
  c.kernels.multiply(c.scratch.row, width, op.scale);
  c.kernels.add(c.executable.f32(op.y).row(row), c.scratch.row, width);
}

void scale(const StepContext& c, const ScaleOp& op, int32_t row) { c.kernels.multiply(c.executable.f32(op.x).row(row), c.program.buffer(op.x).cols, op.factor); }

void residual(const StepContext& c, const ResidualOp& op, int32_t row) {
  c.kernels.add(c.executable.f32(op.x).row(row), c.executable.f32(op.y).row(row), c.program.buffer(op.x).cols);
}

}  // namespace bitnet::engine
