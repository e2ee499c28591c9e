#include "small-model.h"

#include <cstdio>
#include <cstring>

namespace bitnet::test {
namespace {

using namespace engine;

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
      const int32_t kv = buffer({static_cast<int32_t>(BufferKind::Kv), SmallModel::nKvHeads, SmallModel::headDim});
      norm(x, xq, hidden);
      linear(xq, {ternary(queries, hidden), ternary(keys, hidden), ternary(keys, hidden)}, {q, k, v});
      op(OpKind::RopeKv, {q, k, v, kv, angles, SmallModel::nHeads, 0});
      op(OpKind::Attention, {q, kv, mixed, SmallModel::nHeads, 0}, {0.125});
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
    op(OpKind::Head, {x, vector(hidden), table}, {1e-5});
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

  int32_t buffer(std::initializer_list<int32_t> words) {
    buffers_.insert(buffers_.end(), words);
    return nBuffers_++;
  }
  bool lanes() const { return kind_.scale == ScaleKind::Tensor; }
  int32_t f32(int32_t cols, bool suitsLanes) { return buffer({static_cast<int32_t>(BufferKind::F32), cols, suitsLanes && lanes()}); }
  int32_t q8(int32_t cols, bool suitsLanes) { return buffer({static_cast<int32_t>(BufferKind::Q8), cols, suitsLanes && lanes(), 0}); }

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
    offsets_.push_back(static_cast<double>(at));
    return buffer({static_cast<int32_t>(BufferKind::Dense), static_cast<int32_t>(type), 0, rows, cols});
  }
  int32_t vector(int32_t cols) { return dense(DenseType::F32, 1, cols); }

  int32_t ternary(int32_t rows, int32_t cols) {
    const size_t n = static_cast<size_t>(rows) * ternaryRowBytes(cols), at = place(n);
    for (size_t i = 0; i < n; i++) {
      const uint32_t bits = random(), high = bits & 0xaa;
      model_.bytes[at + i] = static_cast<uint8_t>(high | (bits & 0x55 & ~(high >> 1)));
    }
    offsets_.push_back(static_cast<double>(at));
    const bool isTensor = kind_.scale == ScaleKind::Tensor, isGroup = kind_.scale == ScaleKind::Group;
    offsets_.push_back(isTensor ? 0.02 : 0);
    if (!isTensor) {
      std::vector<float> values(static_cast<size_t>(rows) * static_cast<size_t>(isGroup ? cols / 128 : 1));
      for (float& value : values) value = 0.01f + static_cast<float>(random() % 1000) / 50000;
      model_.scales.push_back(values);
    }
    const int32_t scales = isTensor ? -1 : static_cast<int32_t>(model_.scales.size()) - 1;
    return buffer({static_cast<int32_t>(BufferKind::Ternary), 0, rows, cols, static_cast<int32_t>(kind_.scale), isGroup ? 128 : 0, scales});
  }

  void op(OpKind kind, std::vector<int32_t> fields, std::vector<double> reals = {}) {
    ops_.push_back(static_cast<int32_t>(kind));
    ops_.insert(ops_.end(), fields.begin(), fields.end());
    opReals_.insert(opReals_.end(), reals.begin(), reals.end());
    const bool rows = isRowWise(kind);
    if (!rows || !wasRowWise_) ends_.push_back(0);
    ends_.back() = ++nOps_;
    wasRowWise_ = rows;
  }
  void norm(int32_t x, int32_t out, int32_t cols) { op(OpKind::RmsNormQuant, {x, vector(cols), out}, {1e-5}); }
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
    model_.words = {SmallModel::context, SmallModel::vocab, nBuffers_, nOps_, static_cast<int32_t>(ends_.size())};
    for (const std::vector<int32_t>* part : {&buffers_, &ops_, &ends_}) model_.words.insert(model_.words.end(), part->begin(), part->end());
    model_.words.push_back(static_cast<int32_t>(joined_.size()));
    model_.words.insert(model_.words.end(), joined_.begin(), joined_.end());
    model_.reals = offsets_;
    model_.reals.insert(model_.reals.end(), opReals_.begin(), opReals_.end());
  }

  SmallModel& model_;
  const ModelKind kind_;
  uint32_t state_ = 7;
  int32_t nBuffers_ = 0, nOps_ = 0;
  bool wasRowWise_ = false;
  std::vector<int32_t> buffers_, ops_, ends_, joined_;
  std::vector<double> offsets_, opReals_;
};

}  // namespace

SmallModel::SmallModel(ModelKind kind) { Builder(*this, kind).build(); }

Executable* SmallModel::load(const Kernels* kernels, LoadLimits limits) const {
  std::vector<ScaleValues> values;
  for (const std::vector<float>& each : scales) values.push_back({each.data(), each.size()});
  const uint64_t size = bytes.size();
  const EncodedProgram program = {words.data(), words.size(), reals.data(), reals.size(), values.data(), values.size(), &size, 1};
  const SourceDecl source = {nullptr, size};
  Failure failure;
  Executable* executable = create<Executable>(kernels, limits);
  // In two pieces.
  if (executable && executable->create(program, &source, 1, failure) && executable->fillSource(0, 0, bytes.data(), size / 2, failure) &&
      executable->fillSource(0, size / 2, bytes.data() + size / 2, size - size / 2, failure) && executable->finish(failure))
    return executable;
  std::printf("FAIL loading: %s\n", failure.message);
  destroy(executable);
  return nullptr;
}

}  // namespace bitnet::test
