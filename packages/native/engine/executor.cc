// The step from its first page copy to its last operation, and the operations that work row by row.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "worker.h"

namespace bitnet::engine {
namespace {

// That of a row whose largest magnitude has these bits.
float quantisationScale(uint32_t bits) {
  float absMax;
  std::memcpy(&absMax, &bits, sizeof absMax);
  return 127.0f / (absMax > 1e-5f ? absMax : 1e-5f);
}

}  // namespace

Worker::Worker(StepJob& job, Team& team, int thread)
    : job_(job),
      exe_(job.executable_),
      program_(exe_.program()),
      step_(job.step_),
      k_(exe_.kernels()),
      team_(team),
      thread_(thread),
      scratch_(exe_.scratch(thread)),
      // What a step sets or asks for lies row by row.
      hasLanes_(k_.tiles && k_.tiles->lanes && step_.nRows >= k_.tiles->lanes->from && step_.nOutputs == 0 && step_.inputs.size() == 0) {}

void Worker::run() {
  if (setUp()) return;
  const Phase* phase = exe_.phases().data();
  const Phase* const end = phase + exe_.phases().size();
  while (phase < end && phase->first < phase->end) {
    if (firstOf(*phase) == phase->end) {
      phase++;
      continue;
    }
    if (runPhase(*phase)) return;
    // Work on a single row is for one thread: the last to arrive does it at once, rather than that all meet once more for it.
    phase++;
    const Phase* const alone = step_.nRows == 1 && phase < end && phase->rowWise ? phase++ : nullptr;
    const auto last = [&] {
      if (alone) runRows(*alone);
    };
    if (team_.barrier(last)) return;
  }
}

// Copies pages and sets inputs, where the step asks for it.
bool Worker::setUp() {
  if (step_.nCopies == 0 && step_.inputs.size() == 0) return team_.barrier();
  copyPages();
  for (const StepInput& input : step_.inputs) {
    const F32Rows& rows = exe_.f32(input.buffer);
    const size_t cols = static_cast<size_t>(program_.buffer(input.buffer).cols);
    for (int32_t row = thread_; row < step_.nRows; row += team_.size())
      std::memcpy(rows.row(row), input.values + static_cast<size_t>(row) * cols, cols * sizeof(float));
  }
  return team_.barrier();
}

// Every thread makes all copies in order, but only of its own part of a page.
void Worker::copyPages() {
  const size_t bytes = exe_.arena().pageBytes();
  const size_t part = (bytes / static_cast<size_t>(team_.size()) + 64) / 64 * 64;
  const size_t from = std::min(bytes, part * static_cast<size_t>(thread_));
  const size_t n = std::min(bytes - from, part);
  if (n == 0) return;
  for (int32_t i = 0; i < step_.nCopies; i++) {
    const int32_t source = step_.copies[2 * i], target = step_.copies[2 * i + 1];
    if (source != target) std::memcpy(exe_.arena().page(target) + from, exe_.arena().page(source) + from, n);
  }
}

bool Worker::runPhase(const Phase& phase) {
  const Op& op = program_.ops[static_cast<size_t>(phase.first)];
  WorkCounter* counters = exe_.counters(phase.counters);
  if (op.kind == OpKind::BitLinear) {
    bitLinear(phase.first, counters);
  } else if (op.kind == OpKind::Attention) {
    return attention(op, counters);
  } else if (op.kind == OpKind::Head) {
    return head(op, phase.first, counters);
  } else {
    runRows(phase);
  }
  return false;
}

void Worker::runRows(const Phase& phase) {
  WorkCounter& counter = *exe_.counters(phase.counters);
  const uint32_t nRows = static_cast<uint32_t>(step_.nRows);
  const int32_t first = firstOf(phase);
  bool hasBlocks = false;
  for (int32_t i = first; i < phase.end; i++) hasBlocks |= usesLanes(program_.ops[static_cast<size_t>(i)]);
  if (hasBlocks) {
    for (uint32_t row = take(counter) * stripRows; row < nRows; row = take(counter) * stripRows) {
      for (int32_t i = first; i < phase.end; i++) runBlock(program_.ops[static_cast<size_t>(i)], i, static_cast<int32_t>(row));
    }
    return;
  }
  for (uint32_t row = take(counter); row < nRows; row = take(counter)) {
    for (int32_t i = first; i < phase.end; i++) runRow(program_.ops[static_cast<size_t>(i)], i, static_cast<int32_t>(row));
  }
}

bool Worker::usesLanes(const Op& op) const {
  return (op.kind == OpKind::Embed && inLanes(op.out)) || (op.kind == OpKind::RmsNormQuant && inLanes(op.x));
}

// For stripRows rows, as far as there are.
void Worker::runBlock(const Op& op, int32_t opIndex, int32_t first) {
  const int32_t end = std::min(first + stripRows, step_.nRows);
  if (!usesLanes(op)) {
    for (int32_t row = first; row < end; row++) runRow(op, opIndex, row);
  } else if (op.kind == OpKind::Embed) {
    for (int32_t row = first; row < end; row++) embedLanes(op, row);
  } else {
    rmsNormQuantLanes(op, opIndex, first);
  }
}

// An operation that was computed with the one before it is passed over.
int32_t Worker::firstOf(const Phase& phase) const { return phase.first + (phase.first > 0 && joinedTo(phase.first - 1) ? 1 : 0); }

void Worker::runRow(const Op& op, int32_t opIndex, int32_t row) {
  switch (op.kind) {
    case OpKind::Embed: return embed(op, row);
    case OpKind::RmsNormQuant: return rmsNormQuant(op, opIndex, row);
    case OpKind::RmsNorm: return rmsNorm(op, row);
    case OpKind::Quantise: return quantise(op, opIndex, row);
    case OpKind::RopeKv: return ropeKv(op, row);
    case OpKind::Rope: return rope(op, row);
    case OpKind::WriteKv: return writeKv(op, row);
    case OpKind::Activation: return activation(op, row);
    case OpKind::Multiply: return multiplyRows(op, row);
    case OpKind::GatedActivation:
      return k_.gate(op.fn, exe_.f32(op.gate).row(row), exe_.f32(op.up).row(row), program_.buffer(op.out).cols, exe_.f32(op.out).row(row));
    case OpKind::Bias: return k_.add(exe_.f32(op.x).row(row), exe_.vector(op.weight), program_.buffer(op.x).cols);
    case OpKind::Scale: return k_.multiply(exe_.f32(op.x).row(row), program_.buffer(op.x).cols, op.real);
    case OpKind::Residual: return k_.add(exe_.f32(op.x).row(row), exe_.f32(op.y).row(row), program_.buffer(op.x).cols);
    default: return;
  }
}

void Worker::embed(const Op& op, int32_t row) {
  const Buffer& table = program_.buffer(op.table);
  const size_t rowBytes = denseRowBytes(table.type, table.cols);
  k_.widen(table.type, exe_.weightBytes(op.table) + static_cast<size_t>(step_.tokens[row]) * rowBytes, table.cols, exe_.f32(op.out).row(row));
}

void Worker::embedLanes(const Op& op, int32_t row) {
  const Buffer& table = program_.buffer(op.table);
  const size_t rowBytes = denseRowBytes(table.type, table.cols);
  k_.widen(table.type, exe_.weightBytes(op.table) + static_cast<size_t>(step_.tokens[row]) * rowBytes, table.cols, scratch_.row);
  float* to = exe_.f32(op.out).row(row / stripRows * stripRows) + row % stripRows;
  for (int32_t i = 0; i < table.cols; i++) to[static_cast<size_t>(i) * stripRows] = scratch_.row[i];
}

// The rows of one block; lanes without a row become zeros.
void Worker::rmsNormQuantLanes(const Op& op, int32_t opIndex, int32_t first) {
  const LaneKernels& k = *k_.tiles->lanes;
  const Q8Rows& out = exe_.q8(op.out);
  const int32_t cols = program_.buffer(op.x).cols, n = std::min(stripRows, step_.nRows - first);
  const float *x = exe_.f32(op.x).row(first), *weight = exe_.vector(op.weight);
  alignas(64) float factors[stripRows], scales[stripRows] = {};
  alignas(64) uint32_t most[stripRows];
  alignas(64) int32_t sums[stripRows];
  k.squares(x, cols, factors);
  for (int32_t i = 0; i < stripRows; i++) factors[i] = i < n ? 1.0f / std::sqrt(factors[i] / static_cast<float>(cols) + op.real) : 0.0f;
  k.magnitudes(x, factors, weight, cols, most);
  for (int32_t i = 0; i < n; i++) {
    if (most[i] >= 0x7f800000u) return job_.numericFailure(opIndex, first + i);
    scales[i] = quantisationScale(most[i]);
  }
  k.quantise(x, factors, weight, scales, cols, static_cast<int32_t>(out.stride), out.row(first), sums);
  std::memcpy(out.scales + first, scales, static_cast<size_t>(n) * sizeof(float));
  std::memcpy(out.sums + first, sums, static_cast<size_t>(n) * sizeof(int32_t));
}

void Worker::normalise(const float* x, const float* weight, int32_t cols, float eps, float* out, uint32_t* absMax) {
  const float mean = k_.sumSquares(x, cols) / static_cast<float>(cols);
  const float r = 1.0f / std::sqrt(mean + eps);
  *absMax = k_.normalise(x, r, weight, cols, out);
}

void Worker::rmsNormQuant(const Op& op, int32_t opIndex, int32_t row) {
  const int32_t cols = program_.buffer(op.x).cols;
  uint32_t bits;
  // Read from memory with every step; a second row finds it in the cache.
  if (step_.nRows == 1) prefetch(exe_.vector(op.weight), static_cast<size_t>(cols) * sizeof(float));
  normalise(exe_.f32(op.x).row(row), exe_.vector(op.weight), cols, op.real, scratch_.row, &bits);
  if (bits >= 0x7f800000u) return job_.numericFailure(opIndex, row);
  quantiseRow(scratch_.row, exe_.q8(op.out), row, cols, quantisationScale(bits));
}

// Each stretch of the row that is as wide as the weight.
void Worker::rmsNorm(const Op& op, int32_t row) {
  const int32_t cols = program_.buffer(op.x).cols, width = program_.buffer(op.weight).cols;
  const float *x = exe_.f32(op.x).row(row), *weight = exe_.vector(op.weight);
  float* out = exe_.f32(op.out).row(row);
  uint32_t bits;
  for (int32_t at = 0; at < cols; at += width) normalise(x + at, weight, width, op.real, out + at, &bits);
}

void Worker::quantise(const Op& op, int32_t opIndex, int32_t row) {
  const int32_t cols = program_.buffer(op.x).cols;
  const float* x = exe_.f32(op.x).row(row);
  const uint32_t bits = k_.absMaxBits(x, cols);
  if (bits >= 0x7f800000u) return job_.numericFailure(opIndex, row);
  quantiseRow(x, exe_.q8(op.out), row, cols, quantisationScale(bits));
}

void Worker::activation(const Op& op, int32_t row) {
  constexpr int32_t piece = 256;
  static const auto ones = [] {
    struct Ones { alignas(64) float values[piece]; } all;
    std::fill(all.values, all.values + piece, 1.0f);
    return all;
  }();
  const int32_t cols = program_.buffer(op.x).cols;
  for (int32_t at = 0; at < cols; at += piece)
    k_.gate(op.fn, exe_.f32(op.x).row(row) + at, ones.values, std::min(piece, cols - at), exe_.f32(op.out).row(row) + at);
}

void Worker::multiplyRows(const Op& op, int32_t row) {
  const float *x = exe_.f32(op.x).row(row), *y = exe_.f32(op.y).row(row);
  float* out = exe_.f32(op.out).row(row);
  for (int32_t i = 0; i < program_.buffer(op.x).cols; i++) out[i] = x[i] * y[i];
}

// A scale for each 128 columns.
void Worker::quantiseGroups(const float* x, const Q8Rows& out, int32_t row, int32_t cols) {
  const size_t nGroups = static_cast<size_t>(out.nGroups());
  float* const scales = out.groupScales + static_cast<size_t>(row) * nGroups;
  float* const reciprocals = out.reciprocals + static_cast<size_t>(row) * nGroups;
  int32_t* const offsets = out.offsets + static_cast<size_t>(row) * out.offsetsOfRow();
  int8_t* const arranged = out.arranged + static_cast<size_t>(row) * out.arrangedOfRow();
  std::memset(offsets, 0, out.offsetsOfRow() * sizeof(int32_t));
  for (int32_t g = 0; g < out.nGroups(); g++) {
    const int32_t from = 128 * g, n = std::min(128, cols - from);
    int8_t* const values = out.row(row) + from;
    scales[g] = quantisationScale(k_.absMaxBits(x + from, n));
    reciprocals[g] = 1.0f / scales[g];
    k_.quantise(x + from, scales[g], n, 128, values);
    int32_t* const sums = offsets + 8 * g;
    for (int32_t c = 0; c < 128; c++) sums[c % 32 / 4] -= values[c];
    for (int32_t plane = 0; plane < 4; plane++)
      std::memcpy(arranged + g / 2 * 256 + 64 * plane + 32 * (g % 2), values + 32 * plane, 32);
  }
}

void Worker::quantiseRow(const float* x, const Q8Rows& out, int32_t row, int32_t cols, float scale) {
  if (out.groupScales) return quantiseGroups(x, out, row, cols);
  const int32_t padded = static_cast<int32_t>(out.stride);
  out.scales[row] = scale;
  if (!out.blockSums) {
    out.sums[row] = k_.quantise(x, scale, cols, padded, out.row(row));
    return;
  }
  // Scales by group need the sums of the groups: quantise block by block.
  int32_t* blockSums = out.blockSums + static_cast<size_t>(row) * (out.stride / 128);
  int32_t sum = 0;
  for (int32_t from = 0; from < padded; from += 128) {
    const int32_t n = std::min(128, cols - from);
    blockSums[from / 128] = k_.quantise(x + from, scale, n, 128, out.row(row) + from);
    sum += blockSums[from / 128];
  }
  out.sums[row] = sum;
}

const float* Worker::anglesOf(const Op& op, int32_t row) const {
  return exe_.vector(op.table) + static_cast<size_t>(step_.positions[row]) * static_cast<size_t>(program_.buffer(op.table).cols);
}

// Where the key of a row lies; its value follows kvHalf bytes later.
uint8_t* Worker::cachedKey(const Op& op, int32_t row, int32_t kvHead) const {
  const int32_t position = step_.positions[row];
  const size_t headBytes = exe_.kvHeadBytes(op.kv);
  return exe_.arena().page(step_.tableOfRow(row).pages[position / pageTokens]) + exe_.kvOffset(op.kv) + static_cast<size_t>(kvHead) * headBytes +
         static_cast<size_t>(position % pageTokens) * (headBytes / pageTokens);
}

void Worker::cache(const float* x, int32_t n, uint8_t* out) const {
  if (exe_.limits().kvType == KvType::F16) return k_.narrow(x, n, reinterpret_cast<uint16_t*>(out));
  std::memcpy(out, x, static_cast<size_t>(n) * sizeof(float));
}

void Worker::ropeKv(const Op& op, int32_t row) {
  const Buffer& kv = program_.buffer(op.kv);
  const size_t half = exe_.kvHalf(op.kv), keyBytes = exe_.kvHeadBytes(op.kv) / pageTokens;
  // The lines to be written are few and far apart: none is near before it is asked for.
  for (int32_t h = 0; h < kv.nKvHeads; h++) {
    for (size_t i = 0; i < keyBytes; i += 64) {
      __builtin_prefetch(cachedKey(op, row, h) + i, 1);
      __builtin_prefetch(cachedKey(op, row, h) + half + i, 1);
    }
  }
  for (int32_t h = 0; h < kv.nKvHeads; h++) ropeHead(op, row, h);
}

void Worker::rope(const Op& op, int32_t row) {
  const int32_t headDim = program_.buffer(op.table).cols;
  for (int32_t h = 0; h < op.nHeads; h++) k_.rope(exe_.f32(op.x).row(row) + h * headDim, anglesOf(op, row), headDim, op.pairing);
}

void Worker::writeKv(const Op& op, int32_t row) {
  const Buffer& kv = program_.buffer(op.kv);
  for (int32_t h = 0; h < kv.nKvHeads; h++) {
    cache(exe_.f32(op.k).row(row) + h * kv.headDim, kv.headDim, cachedKey(op, row, h));
    cache(exe_.f32(op.v).row(row) + h * kv.headDim, kv.headDim, cachedKey(op, row, h) + exe_.kvHalf(op.kv));
  }
}

// The queries, the key and the value of one KV head.
void Worker::ropeHead(const Op& op, int32_t row, int32_t kvHead) {
  const Buffer& kv = program_.buffer(op.kv);
  const int32_t headDim = kv.headDim, group = op.nHeads / kv.nKvHeads;
  const float* table = anglesOf(op, row);
  float* q = exe_.f32(op.q).row(row) + static_cast<size_t>(kvHead) * static_cast<size_t>(group * headDim);
  for (int32_t h = 0; h < group; h++) k_.rope(q + h * headDim, table, headDim, op.pairing);
  const size_t at = static_cast<size_t>(kvHead) * static_cast<size_t>(headDim);
  float* k = exe_.f32(op.k).row(row) + at;
  k_.rope(k, table, headDim, op.pairing);
  cache(k, headDim, cachedKey(op, row, kvHead));
  cache(exe_.f32(op.v).row(row) + at, headDim, cachedKey(op, row, kvHead) + exe_.kvHalf(op.kv));
}

}  // namespace bitnet::engine
