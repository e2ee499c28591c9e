#include "program.h"

#include "word-reader.h"

namespace bitnet::engine {
namespace {

constexpr int32_t maxTernaryCols = 1 << 22;  // int32 sums hold for any input up to here
constexpr int32_t maxCols = 1 << 28;
constexpr int32_t maxHeadDim = 65536;

class Decoder {
 public:
  Decoder(const EncodedProgram& encoded, Program& program, Failure& failure)
      : encoded_(encoded), words_(encoded.words, encoded.nWords), program_(program), failure_(failure) {}

  bool decode() {
    program_.contextLength = words_.next();
    program_.vocabSize = words_.next();
    const int32_t nBuffers = words_.next();
    const int32_t nOps = words_.next();
    // Every record takes words of its own, so that the counts cannot exceed what was sent.
    if (nBuffers < 0 || nOps < 0 || static_cast<uint64_t>(nBuffers) + static_cast<uint64_t>(nOps) > encoded_.nWords)
      return invalid("the counts do not match the encoding");
    if (program_.contextLength < 1 || program_.vocabSize < 0) return invalid("contextLength or vocabSize is out of range");
    if (!program_.buffers.allocate(static_cast<size_t>(nBuffers)) || !program_.ops.allocate(static_cast<size_t>(nOps)) ||
        !program_.lists.allocate(encoded_.nWords) || !copyScales())
      return failure_.set(Code::OutOfMemory, "no memory for the program");
    for (index_ = 0; index_ < nBuffers; index_++)
      if (!decodeBuffer(program_.buffers[static_cast<size_t>(index_)])) return false;
    for (index_ = 0; index_ < nOps; index_++)
      if (!decodeOp(program_.ops[static_cast<size_t>(index_)])) return false;
    for (index_ = 0; index_ < nOps; index_++)
      if (!feedsFittingOp(index_)) return invalid("what an operation feeds is no activation");
    if (!words_.atEnd() || nextReal_ != encoded_.nReals) return invalid("the encoding has a wrong length");
    return true;
  }

 private:
  // Offsets of the scale arrays in Program::scales, found again by the running sum of rounded lengths.
  static size_t roundedScales(size_t count) { return (count + 15) / 16 * 16; }

  bool copyScales() {
    size_t total = 0;
    for (size_t i = 0; i < encoded_.nScales; i++) total += roundedScales(encoded_.scales[i].count);
    if (!program_.scales.allocate(total) || !scaleStarts_.allocate(encoded_.nScales)) return false;
    size_t at = 0;
    for (size_t i = 0; i < encoded_.nScales; i++) {
      const ScaleValues& from = encoded_.scales[i];
      if (from.count > 0) std::memcpy(program_.scales.data() + at, from.values, from.count * sizeof(float));
      scaleStarts_[i] = at;
      at += roundedScales(from.count);
    }
    return true;
  }

  bool invalid(const char* what) {
    return failure_.set(Code::ModelInvalid, "program: %s (record %d)", what, index_);
  }

  double nextReal() { return nextReal_ < encoded_.nReals ? encoded_.reals[nextReal_++] : 0; }

  bool decodeBuffer(Buffer& buffer) {
    buffer.kind = static_cast<BufferKind>(words_.next());
    switch (buffer.kind) {
      case BufferKind::Ternary:
        if (!decodeTensor(buffer) || buffer.cols > maxTernaryCols) return invalid("a ternary tensor is out of range");
        return inSource(buffer, ternaryRowBytes(buffer.cols)) && decodeScale(buffer);
      case BufferKind::Dense: {
        const int32_t type = words_.next();
        if (type < 0 || type > static_cast<int32_t>(DenseType::Q4_0)) return invalid("unknown dense type");
        buffer.type = static_cast<DenseType>(type);
        if (!decodeTensor(buffer)) return invalid("a dense tensor is out of range");
        return inSource(buffer, denseRowBytes(buffer.type, buffer.cols));
      }
      case BufferKind::Kv:
        program_.usesKv = true;
        buffer.nKvHeads = words_.next();
        buffer.headDim = words_.next();
        if (buffer.nKvHeads < 1 || buffer.nKvHeads > 65536 || buffer.headDim < 2 || buffer.headDim > maxHeadDim || buffer.headDim % 2 != 0 ||
            static_cast<int64_t>(buffer.nKvHeads) * buffer.headDim > maxCols)
          return invalid("a kv buffer is out of range");
        return true;
      case BufferKind::F32:
      case BufferKind::Q8:
        buffer.cols = words_.next();
        return (buffer.cols >= 1 && buffer.cols <= maxCols) || invalid("an activation is out of range");
    }
    return invalid("unknown kind of buffer");
  }

  bool decodeTensor(Buffer& buffer) {
    buffer.source = words_.next();
    buffer.rows = words_.next();
    buffer.cols = words_.next();
    const double offset = nextReal();
    if (!(offset >= 0 && offset <= 9007199254740991.0)) return false;
    buffer.offset = static_cast<uint64_t>(offset);
    return buffer.source >= 0 && static_cast<size_t>(buffer.source) < encoded_.nSources && buffer.rows >= 1 && buffer.cols >= 1 &&
           buffer.cols <= maxCols;
  }

  bool inSource(const Buffer& buffer, size_t rowBytes) {
    if (rowBytes == 0) return invalid("a row does not fill whole blocks");
    const uint64_t size = encoded_.sourceSizes[buffer.source];
    const uint64_t bytes = static_cast<uint64_t>(buffer.rows) * rowBytes;  // < 2³¹ · 2³⁰
    return (buffer.offset <= size && bytes <= size - buffer.offset) || invalid("a tensor leaves its source");
  }

  bool decodeScale(Buffer& buffer) {
    buffer.scaleKind = static_cast<ScaleKind>(words_.next());
    buffer.groupSize = words_.next();
    const int32_t index = words_.next();
    buffer.scale = static_cast<float>(nextReal());
    if (buffer.scaleKind == ScaleKind::Tensor) return true;
    if (index < 0 || static_cast<size_t>(index) >= encoded_.nScales) return invalid("a tensor's scales are missing");
    buffer.firstScale = scaleStarts_[static_cast<size_t>(index)];
    uint64_t expected = static_cast<uint64_t>(buffer.rows);
    if (buffer.scaleKind == ScaleKind::Group) {
      if (buffer.groupSize < 128 || buffer.groupSize % 128 != 0 || buffer.cols % buffer.groupSize != 0)
        return invalid("a scale's groups do not divide the columns");
      expected *= static_cast<uint64_t>(buffer.cols / buffer.groupSize);
    } else if (buffer.scaleKind != ScaleKind::Row) {
      return invalid("unknown kind of scale");
    }
    return encoded_.scales[index].count == expected || invalid("a tensor has a wrong number of scales");
  }

  // ---- operations ----

  const Buffer* find(int32_t id, BufferKind kind) const {
    if (id < 0 || static_cast<size_t>(id) >= program_.buffers.size()) return nullptr;
    const Buffer& buffer = program_.buffer(id);
    return buffer.kind == kind ? &buffer : nullptr;
  }
  bool activation(int32_t id, BufferKind kind, int64_t cols) const {
    const Buffer* buffer = find(id, kind);
    return buffer && buffer->cols == cols;
  }
  bool dense(int32_t id, int64_t rows, int64_t cols) const {
    const Buffer* buffer = find(id, BufferKind::Dense);
    return buffer && buffer->rows == rows && buffer->cols == cols;
  }
  int64_t colsOf(int32_t id, BufferKind kind) const {
    const Buffer* buffer = find(id, kind);
    return buffer ? buffer->cols : -1;
  }

  bool decodeOp(Op& op) {
    op.kind = static_cast<OpKind>(words_.next());
    return decodeOperands(op) || invalid("an operation does not fit its buffers");
  }

  bool decodeOperands(Op& op) {
    switch (op.kind) {
      case OpKind::Embed:
        program_.embeds = true;
        op.table = words_.next();
        op.out = words_.next();
        return dense(op.table, program_.vocabSize, colsOf(op.out, BufferKind::F32));
      case OpKind::RmsNormQuant: {
        op.x = words_.next();
        op.weight = words_.next();
        op.out = words_.next();
        op.real = static_cast<float>(nextReal());
        const int64_t cols = colsOf(op.x, BufferKind::F32);
        return dense(op.weight, 1, cols) && activation(op.out, BufferKind::Q8, cols);
      }
      case OpKind::BitLinear:
        return decodeBitLinear(op);
      case OpKind::RopeKv: {
        op.q = words_.next();
        op.k = words_.next();
        op.v = words_.next();
        op.kv = words_.next();
        op.table = words_.next();
        op.nHeads = words_.next();
        const int32_t pairing = words_.next();
        op.pairing = static_cast<Pairing>(pairing);
        const Buffer* kv = find(op.kv, BufferKind::Kv);
        return (pairing == 0 || pairing == 1) && kv && op.nHeads >= 1 &&
               activation(op.q, BufferKind::F32, static_cast<int64_t>(op.nHeads) * kv->headDim) &&
               activation(op.k, BufferKind::F32, static_cast<int64_t>(kv->nKvHeads) * kv->headDim) &&
               activation(op.v, BufferKind::F32, static_cast<int64_t>(kv->nKvHeads) * kv->headDim) &&
               dense(op.table, program_.contextLength, kv->headDim);
      }
      case OpKind::Attention: {
        op.q = words_.next();
        op.kv = words_.next();
        op.out = words_.next();
        op.nHeads = words_.next();
        op.real = static_cast<float>(nextReal());
        const Buffer* kv = find(op.kv, BufferKind::Kv);
        return kv && op.nHeads >= 1 && op.nHeads % kv->nKvHeads == 0 &&
               activation(op.q, BufferKind::F32, static_cast<int64_t>(op.nHeads) * kv->headDim) &&
               activation(op.out, BufferKind::F32, static_cast<int64_t>(op.nHeads) * kv->headDim);
      }
      case OpKind::GatedActivation: {
        op.gate = words_.next();
        op.up = words_.next();
        op.out = words_.next();
        const int32_t fn = words_.next();
        op.fn = static_cast<GateFn>(fn);
        const int64_t cols = colsOf(op.gate, BufferKind::F32);
        return fn >= 0 && fn <= 2 && activation(op.up, BufferKind::F32, cols) && activation(op.out, BufferKind::F32, cols);
      }
      case OpKind::Residual:
        op.x = words_.next();
        op.y = words_.next();
        return activation(op.y, BufferKind::F32, colsOf(op.x, BufferKind::F32));
      case OpKind::Head: {
        program_.hasHead = true;
        op.x = words_.next();
        op.weight = words_.next();
        op.table = words_.next();
        op.real = static_cast<float>(nextReal());
        const int64_t cols = colsOf(op.x, BufferKind::F32);
        return dense(op.weight, 1, cols) && dense(op.table, program_.vocabSize, cols);
      }
    }
    return false;
  }

  bool feedsFittingOp(int32_t i) const {
    const Op& op = program_.ops[static_cast<size_t>(i)];
    if (op.kind != OpKind::BitLinear || !op.feedsNext) return true;
    if (static_cast<size_t>(i) + 1 >= program_.ops.size()) return false;
    const Op& next = (&op)[1];
    const int32_t* outs = program_.lists.data() + op.firstList + op.nWeights;
    switch (next.kind) {
      case OpKind::GatedActivation:
        return op.nWeights == 2 && next.gate == outs[0] && next.up == outs[1];
      case OpKind::Residual:
        return op.nWeights == 1 && next.y == outs[0] && next.x != next.y;
      case OpKind::RopeKv:
        return op.nWeights == 3 && next.q == outs[0] && next.k == outs[1] && next.v == outs[2];
      default:
        return false;
    }
  }

  bool decodeBitLinear(Op& op) {
    op.x = words_.next();
    op.feedsNext = words_.next() != 0;
    op.nWeights = words_.next();
    const int32_t* lists = op.nWeights >= 1 ? words_.take(2 * static_cast<int64_t>(op.nWeights)) : nullptr;
    if (!lists) return false;
    op.firstList = static_cast<int32_t>(nLists_);
    std::memcpy(program_.lists.data() + nLists_, lists, 2 * static_cast<size_t>(op.nWeights) * sizeof(int32_t));
    nLists_ += 2 * static_cast<size_t>(op.nWeights);
    const int64_t cols = colsOf(op.x, BufferKind::Q8);
    for (int32_t i = 0; i < op.nWeights; i++) {
      const Buffer* weight = find(lists[i], BufferKind::Ternary);
      if (!weight || weight->cols != cols || !activation(lists[op.nWeights + i], BufferKind::F32, weight->rows)) return false;
    }
    return true;
  }

  const EncodedProgram& encoded_;
  WordReader words_;
  size_t nextReal_ = 0;
  Program& program_;
  Failure& failure_;
  Array<size_t> scaleStarts_;
  size_t nLists_ = 0;
  int32_t index_ = 0;
};

}  // namespace

size_t denseRowBytes(DenseType type, int32_t cols) {
  const size_t n = static_cast<size_t>(cols);
  switch (type) {
    case DenseType::F32: return 4 * n;
    case DenseType::F16:
    case DenseType::BF16: return 2 * n;
    case DenseType::Q8_0: return n % 32 == 0 ? n / 32 * 34 : 0;
    case DenseType::Q4_0: return n % 32 == 0 ? n / 32 * 18 : 0;
    case DenseType::Q6_K: return n % 256 == 0 ? n / 256 * 210 : 0;
  }
  return 0;
}

bool decodeProgram(const EncodedProgram& encoded, Program& program, Failure& failure) {
  return Decoder(encoded, program, failure).decode();
}

}  // namespace bitnet::engine
