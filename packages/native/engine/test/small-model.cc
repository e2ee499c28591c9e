#include "small-model.h"

#include <cstdio>
#include <cstring>

namespace bitnet::test {
namespace {

using namespace engine;

int32_t bitsOf(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

class Builder {
 public:
  Builder(SmallModel& model, ModelKind kind) : model_(model), kind_(kind) {}

  void build() {
    constexpr int32_t hidden = SmallModel::hidden, ffn = SmallModel::ffn, queries = SmallModel::nHeads * SmallModel::headDim;
    constexpr int32_t keys = SmallModel::nKvHeads * SmallModel::headDim;
    const int32_t table = dense(kind_.table, SmallModel::vocab, hidden);
    const int32_t angles = dense(DenseType::F32, SmallModel::context, SmallModel::headDim);
    const int32_t x = f32(hidden, true);
    const int32_t xq = q8(hidden, true), mixedQ = q8(queries, false), gatedQ = q8(ffn, true);
    const int32_t q = f32(queries, false), k = f32(keys, false), v = f32(keys, false), mixed = f32(queries, false);
    const int32_t y = f32(hidden, false), gate = f32(ffn, false), up = f32(ffn, false), gated = f32(ffn, true);
    op(OpKind::Embed, {table, x});
    for (int32_t layer = 0; layer < SmallModel::nLayers; layer++) {
      const int32_t kv = cache();
      norm(x, xq, hidden);
      linear(xq, {ternary(queries, hidden), ternary(keys, hidden), ternary(keys, hidden)}, {q, k, v});
      op(OpKind::RopeKv, {q, k, v, kv, angles, SmallModel::nHeads, 0});
      op(OpKind::Attention, {q, kv, mixed, SmallModel::nHeads, bitsOf(0.125f), 0});
      norm(mixed, mixedQ, queries);
      linear(mixedQ, {ternary(hidden, queries)}, {y});
      op(OpKind::Residual, {x, y});
      norm(x, xq, hidden);
      linear(xq, {ternary(ffn, hidden), ternary(ffn, hidden)}, {gate, up});
      op(OpKind::GatedActivation, {gate, up, gated, 0});
      norm(gated, gatedQ, ffn);
      linear(gatedQ, {ternary(hidden, ffn)}, {y});
      op(OpKind::Residual, {x, y});
    }
    op(OpKind::Head, {x, vector(hidden), bitsOf(1e-5f), table});
    finish();
  }

 private:
  uint32_t random() { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }

  // Everything but activations lies at odd places, as tensors of a file may.
  size_t place(size_t n) {
    const size_t at = model_.bytes.size() | 1;
    model_.bytes.resize(at + n);
    return at;
  }

  int32_t buffer(const ProgramBuffer& record) {
    putRecord(buffers_, record);
    return nBuffers_++;
  }
  int32_t f32(int32_t cols, bool suitsLanes) { return activation(BufferKind::F32, cols, suitsLanes); }
  int32_t q8(int32_t cols, bool suitsLanes) { return activation(BufferKind::Q8, cols, suitsLanes); }
  int32_t activation(BufferKind kind, int32_t cols, bool suitsLanes) {
    ProgramBuffer record = {};
    record.kind = kind;
    record.cols = cols;
    record.suitsLanes = suitsLanes && kind_.scale == ScaleKind::Tensor;
    return buffer(record);
  }
  int32_t cache() {
    ProgramBuffer record = {};
    record.kind = BufferKind::Kv;
    record.nKvHeads = SmallModel::nKvHeads;
    record.headDim = SmallModel::headDim;
    return buffer(record);
  }
  static ProgramBuffer tensor(BufferKind kind, size_t at, int32_t rows, int32_t cols) {
    ProgramBuffer record = {};
    record.kind = kind;
    record.offset = static_cast<double>(at);
    record.rows = rows;
    record.cols = cols;
    return record;
  }

  int32_t dense(DenseType type, int32_t rows, int32_t cols) {
    const size_t n = static_cast<size_t>(rows) * static_cast<size_t>(cols), rowBytes = denseRowBytes(type, cols);
    const size_t at = place(static_cast<size_t>(rows) * rowBytes);
    uint8_t* to = model_.bytes.data() + at;
    for (size_t i = 0; i < static_cast<size_t>(rows) * rowBytes; i++) to[i] = static_cast<uint8_t>(random());
    for (size_t i = 0; i < n && type != DenseType::Q8_0; i++) {
      const float value = static_cast<float>(static_cast<int32_t>(random() % 2001) - 1000) / 1000;
      const uint16_t half = static_cast<uint16_t>((random() & 0x8000) | (0x2c00 + random() % 0xc00));
      if (type == DenseType::F32) std::memcpy(to + 4 * i, &value, 4);
      if (type == DenseType::F16) std::memcpy(to + 2 * i, &half, 2);
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      const uint16_t brain = static_cast<uint16_t>(bits >> 16);
      if (type == DenseType::BF16) std::memcpy(to + 2 * i, &brain, 2);
    }
    for (size_t block = 0; type == DenseType::Q8_0 && block < n / 32; block++) {
      const uint16_t scale = static_cast<uint16_t>(0x2000 + random() % 0x400);
      std::memcpy(to + 34 * block, &scale, 2);
    }
    ProgramBuffer record = tensor(BufferKind::Dense, at, rows, cols);
    record.type = type;
    return buffer(record);
  }
  int32_t vector(int32_t cols) { return dense(DenseType::F32, 1, cols); }

  int32_t ternary(int32_t rows, int32_t cols) {
    const size_t n = static_cast<size_t>(rows) * ternaryRowBytes(cols), at = place(n);
    for (size_t i = 0; i < n; i++) {
      const uint32_t bits = random(), high = bits & 0xaa;
      model_.bytes[at + i] = static_cast<uint8_t>(high | (bits & 0x55 & ~(high >> 1)));
    }
    ProgramBuffer record = tensor(BufferKind::Ternary, at, rows, cols);
    record.scaleKind = kind_.scale;
    if (kind_.scale == ScaleKind::Tensor) {
      record.scale = 0.02f;
      return buffer(record);
    }
    if (kind_.scale == ScaleKind::Group) record.groupSize = 128;
    std::vector<float> values(static_cast<size_t>(rows) * static_cast<size_t>(kind_.scale == ScaleKind::Group ? cols / 128 : 1));
    for (float& value : values) value = 0.01f + static_cast<float>(random() % 1000) / 50000;
    record.scales = static_cast<int32_t>(model_.scales.size());
    model_.scales.push_back(values);
    return buffer(record);
  }

  void op(OpKind kind, std::vector<int32_t> fields) {
    ops_.push_back(static_cast<int32_t>(kind));
    ops_.insert(ops_.end(), fields.begin(), fields.end());
    const bool rows = isRowWise(kind);
    if (!rows || !wasRowWise_) ends_.push_back(0);
    ends_.back() = ++nOps_;
    wasRowWise_ = rows;
  }
  void norm(int32_t x, int32_t out, int32_t cols) { op(OpKind::RmsNormQuant, {x, vector(cols), out, bitsOf(1e-5f)}); }
  // Together with what follows.
  void linear(int32_t x, std::vector<int32_t> weights, std::vector<int32_t> outs) {
    std::vector<int32_t> fields = {x, static_cast<int32_t>(weights.size())};
    fields.insert(fields.end(), weights.begin(), weights.end());
    fields.push_back(static_cast<int32_t>(outs.size()));
    fields.insert(fields.end(), outs.begin(), outs.end());
    joined_.push_back(nOps_);
    op(OpKind::BitLinear, fields);
  }

  void finish() {
    putRecord(model_.words, ProgramCounts{.contextLength = SmallModel::context,
                                          .vocabSize = SmallModel::vocab,
                                          .nSources = 1,
                                          .nBuffers = nBuffers_,
                                          .nOperations = nOps_,
                                          .nPhases = static_cast<int32_t>(ends_.size()),
                                          .nJoined = static_cast<int32_t>(joined_.size())});
    putRecord(model_.words, ProgramSource{static_cast<double>(model_.bytes.size())});
    for (const std::vector<int32_t>* part : {&buffers_, &ops_, &ends_, &joined_})
      model_.words.insert(model_.words.end(), part->begin(), part->end());
  }

  SmallModel& model_;
  const ModelKind kind_;
  uint32_t state_ = 7;
  int32_t nBuffers_ = 0, nOps_ = 0;
  bool wasRowWise_ = false;
  std::vector<int32_t> buffers_, ops_, ends_, joined_;
};

}  // namespace

SmallModel::SmallModel(ModelKind kind) { Builder(*this, kind).build(); }

Executable* SmallModel::load(const Kernels* kernels, LoadLimits limits) const {
  std::vector<ScaleValues> values;
  for (const std::vector<float>& each : scales) values.push_back({each.data(), each.size()});
  const size_t size = bytes.size();
  const EncodedProgram program = {words.data(), words.size(), values.data(), values.size(), nullptr, 0};
  Failure failure;
  Executable* executable = create<Executable>(kernels, limits);
  // In two pieces.
  if (executable && executable->create(program, failure) && executable->fillSource(0, 0, bytes.data(), size / 2, failure) &&
      executable->fillSource(0, size / 2, bytes.data() + size / 2, size - size / 2, failure) && executable->finish(failure))
    return executable;
  std::printf("FAIL loading: %s\n", failure.message);
  destroy(executable);
  return nullptr;
}

}  // namespace bitnet::test
