// Reads a program from words and checks every operation against its buffers, as the table of operations says.
#include "program.h"

#include <algorithm>

#include "word-reader.h"

namespace bitnet::engine {
namespace {

constexpr int32_t maxTernaryCols = 1 << 22;  // int32 sums hold for any input up to here
constexpr int32_t maxHeadValues = 1 << 28;  // of one position of a KV buffer, keys or values

class Decoder {
 public:
  Decoder(const EncodedProgram& encoded, Program& program, Failure& failure)
      : encoded_(encoded), words_(encoded.words, encoded.nWords), program_(program), failure_(failure) {}

  bool decode() {
    ProgramCounts counts = {};
    if (!readNext(counts)) return false;
    if (!allocate(counts)) return false;
    for (uint64_t& size : program_.sourceSizes)
      if (!decodeSource(size)) return false;
    for (index_ = 0; index_ < counts.nBuffers; index_++)
      if (!decodeBuffer(program_.buffers[static_cast<size_t>(index_)])) return false;
    for (index_ = 0; index_ < counts.nOperations; index_++)
      if (!decodeOperation(program_.operations[static_cast<size_t>(index_)])) return false;
    if (!decodePhases() || !decodeJoined(counts.nJoined)) return false;
    return words_.atEnd() || invalid("the encoding has a wrong length");
  }

 private:
  // Offsets of the scale arrays in Program::scales, found again by the running sum of rounded lengths.
  static size_t roundedScales(size_t count) { return (count + 15) / 16 * 16; }

  // Everything takes words of its own, so that the counts cannot exceed what was sent.
  bool allocate(const ProgramCounts& counts) {
    const auto n = [](int32_t count) { return static_cast<size_t>(count); };
    const uint64_t total = uint64_t{n(counts.nSources)} + n(counts.nBuffers) + n(counts.nOperations) + n(counts.nPhases);
    if (total > encoded_.nWords) return invalid("the counts do not match the encoding");
    if (encoded_.nPaths != 0 && encoded_.nPaths != n(counts.nSources)) return invalid("the sources do not match their paths");
    program_.contextLength = counts.contextLength;
    program_.vocabSize = counts.vocabSize;
    return (program_.sourceSizes.allocate(n(counts.nSources)) && program_.buffers.allocate(n(counts.nBuffers)) &&
            program_.operations.allocate(n(counts.nOperations)) && program_.feedsNext.allocate(n(counts.nOperations)) &&
            program_.phases.allocate(n(counts.nPhases)) && program_.lists.allocate(encoded_.nWords) && copyScales()) ||
           failure_.set(Code::OutOfMemory, "no memory for the program");
  }

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

  template <class Record>
  bool readNext(Record& record) {
    return readRecord(words_.take(wordsOf<Record>), "program", record, failure_, Code::ModelInvalid);
  }

  // A whole number of bytes that JavaScript can tell.
  static bool isSize(double bytes) { return bytes >= 0 && bytes <= 9007199254740991.0; }

  bool decodeSource(uint64_t& size) {
    ProgramSource source = {};
    if (!readNext(source)) return false;
    if (!isSize(source.size)) return invalid("a source's size is out of range");
    size = static_cast<uint64_t>(source.size);
    return true;
  }

  bool decodeBuffer(Buffer& buffer) {
    if (!readNext(static_cast<ProgramBuffer&>(buffer))) return false;
    switch (buffer.kind) {
      case BufferKind::Ternary:
        if (!isTensor(buffer) || buffer.cols > maxTernaryCols) return invalid("a ternary tensor is out of range");
        return inSource(buffer, ternaryRowBytes(buffer.cols)) && findScales(buffer);
      case BufferKind::Dense:
        if (!isTensor(buffer)) return invalid("a dense tensor is out of range");
        return inSource(buffer, denseRowBytes(buffer.type, buffer.cols));
      case BufferKind::Kv:
        program_.usesKv = true;
        return (buffer.nKvHeads >= 1 && buffer.headDim >= 2 && buffer.headDim % 2 == 0 &&
                static_cast<int64_t>(buffer.nKvHeads) * buffer.headDim <= maxHeadValues) ||
               invalid("a kv buffer is out of range");
      case BufferKind::F32:
      case BufferKind::Q8:
        if (buffer.isGrouped() && (buffer.groupSize != 128 || buffer.suitsLanes)) return invalid("an activation has groups of another size, or in lanes");
        return buffer.cols >= 1 || invalid("an activation is out of range");
    }
    return false;
  }

  bool isTensor(const Buffer& buffer) const {
    return isSize(buffer.offset) && static_cast<size_t>(buffer.source) < program_.sourceSizes.size() && buffer.rows >= 1 && buffer.cols >= 1;
  }

  bool inSource(const Buffer& buffer, size_t rowBytes) {
    if (rowBytes == 0) return invalid("a row does not fill whole blocks");
    const uint64_t size = program_.sourceSizes[static_cast<size_t>(buffer.source)], offset = static_cast<uint64_t>(buffer.offset);
    const uint64_t bytes = static_cast<uint64_t>(buffer.rows) * rowBytes;  // < 2³¹ · 2³⁰
    return (offset <= size && bytes <= size - offset) || invalid("a tensor leaves its source");
  }

  bool findScales(Buffer& buffer) {
    if (buffer.scaleKind == ScaleKind::Tensor) return true;
    const size_t index = static_cast<size_t>(buffer.scales);
    if (index >= encoded_.nScales) return invalid("a tensor's scales are missing");
    buffer.firstScale = scaleStarts_[index];
    uint64_t expected = static_cast<uint64_t>(buffer.rows);
    if (buffer.scaleKind == ScaleKind::Group) {
      if (buffer.groupSize < 128 || buffer.groupSize % 128 != 0 || buffer.cols % buffer.groupSize != 0)
        return invalid("a scale's groups do not divide the columns");
      expected *= static_cast<uint64_t>(buffer.cols / buffer.groupSize);
    }
    return encoded_.scales[index].count == expected || invalid("a tensor has a wrong number of scales");
  }

  // ---- operations ----

  // Sizes that have their numbers; 0 for those that have none yet.
  struct Sizes {
    int64_t of[nSizeNames];
  };

  const Buffer* find(int32_t id, BufferKind kind) const {
    if (id < 0 || static_cast<size_t>(id) >= program_.buffers.size()) return nullptr;
    const Buffer& buffer = program_.buffer(id);
    return buffer.kind == kind ? &buffer : nullptr;
  }

  bool decodeOperation(Operation& operation) {
    const int32_t kind = words_.next();
    if (kind < 0 || kind >= nOperations) return invalid("there is no such operation");
    operation.kind = static_cast<OpKind>(kind);
    const OperationSpec& spec = operationSpecs[kind];
    uint8_t* const members = reinterpret_cast<uint8_t*>(&operation) + operationMembers;
    Sizes sizes = {};
    sizes.of[SizeName::VocabSize] = program_.vocabSize;
    sizes.of[SizeName::ContextLength] = program_.contextLength;
    const FieldSpec* const fields = fieldSpecs + spec.firstField;
    for (int32_t i = 0; i < spec.nFields; i++)
      if (!readField(fields[i], members + fields[i].offset, sizes)) return invalid("an operation has a wrong field");
    if (!fitSizes(spec, members, sizes)) return invalid("an operation does not fit its buffers");
    const int64_t divisor = product(spec.divisor, sizes);
    if (spec.multiple.n >= 0 && (divisor < 1 || product(spec.multiple, sizes) % divisor != 0))
      return invalid("an operation's sizes do not divide");
    program_.embeds |= operation.kind == OpKind::Embed;
    if (operation.kind == OpKind::Head) {
      program_.hasHead = true;
      program_.headCols = std::max(program_.headCols, program_.buffer(operation.head.table).cols);
    }
    return true;
  }

  bool readField(const FieldSpec& field, uint8_t* to, Sizes& sizes) {
    switch (field.kind) {
      case FieldSpec::Kind::Real: {
        const int32_t bits = words_.next();
        float value;
        std::memcpy(&value, &bits, sizeof value);
        std::memcpy(to, &value, sizeof value);
        return (field.isOpen ? value > field.least : value >= field.least) && value < field.most;
      }
      case FieldSpec::Kind::Integer:
      case FieldSpec::Kind::Choice: {
        const int32_t value = words_.next();
        std::memcpy(to, &value, sizeof value);
        if (field.sizeName >= 0) sizes.of[field.sizeName] = value;
        return value >= field.least && value <= field.most;
      }
      case FieldSpec::Kind::Operand: break;
    }
    if (field.isList) return readList(field, to);
    const int32_t id = words_.next();
    std::memcpy(to, &id, sizeof id);
    return takes(field, id, sizes);
  }

  bool readList(const FieldSpec& field, uint8_t* to) {
    const int32_t n = words_.next();
    const int32_t* ids = n >= 1 ? words_.take(n) : nullptr;
    if (!ids) return false;
    int32_t* const kept = program_.lists.data() + nLists_;
    std::memcpy(kept, ids, static_cast<size_t>(n) * sizeof(int32_t));
    nLists_ += static_cast<size_t>(n);
    const IdList list = {kept, n};
    std::memcpy(to, &list, sizeof list);
    Sizes unused = {};
    for (const int32_t id : list)
      if (!takes(field, id, unused)) return false;
    return true;
  }

  bool takes(const FieldSpec& field, int32_t id, Sizes& sizes) const {
    const Buffer* buffer = find(id, field.takes);
    if (!buffer) return false;
    if (buffer->kind == BufferKind::Dense && (field.denseTypes >> static_cast<int32_t>(buffer->type) & 1) == 0) return false;
    if (buffer->kind == BufferKind::Kv) {
      sizes.of[SizeName::NKvHeads] = buffer->nKvHeads;
      sizes.of[SizeName::HeadDim] = buffer->headDim;
    }
    return true;
  }

  // Single operands first, then the lists, place by place.
  bool fitSizes(const OperationSpec& spec, const uint8_t* members, Sizes& sizes) const {
    int32_t listLength = -1;
    for (int32_t i = 0; i < spec.nFields; i++) {
      const FieldSpec& field = fieldSpecs[spec.firstField + i];
      if (field.kind != FieldSpec::Kind::Operand) continue;
      if (!field.isList) {
        int32_t id;
        std::memcpy(&id, members + field.offset, sizeof id);
        if (!fits(field, id, sizes)) return false;
        continue;
      }
      const IdList list = listOf(field, members);
      if (listLength >= 0 && list.n != listLength) return false;
      listLength = list.n;
    }
    for (int32_t at = 0; at < listLength; at++) {
      Sizes here = sizes;
      for (int32_t i = 0; i < spec.nFields; i++) {
        const FieldSpec& field = fieldSpecs[spec.firstField + i];
        if (field.kind == FieldSpec::Kind::Operand && field.isList && !fits(field, listOf(field, members)[at], here)) return false;
      }
    }
    return true;
  }

  static IdList listOf(const FieldSpec& field, const uint8_t* members) {
    IdList list;
    std::memcpy(&list, members + field.offset, sizeof list);
    return list;
  }

  bool fits(const FieldSpec& field, int32_t id, Sizes& sizes) const {
    const Buffer& buffer = program_.buffer(id);
    if (buffer.kind == BufferKind::Kv) return true;
    return (!buffer.isWeight() || hasSize(field.rows, buffer.rows, sizes)) && hasSize(field.cols, buffer.cols, sizes);
  }

  static int64_t product(const Size& size, const Sizes& sizes) {
    int64_t all = 1;
    for (int32_t i = 0; i < size.n; i++) all *= sizes.of[size.names[i]];
    return all;
  }

  // A name without a number gets what is left of `found`.
  static bool hasSize(const Size& size, int64_t found, Sizes& sizes) {
    if (size.n < 0) return true;
    int64_t known = 1;
    int64_t* open = nullptr;
    for (int32_t i = 0; i < size.n; i++) {
      int64_t& value = sizes.of[size.names[i]];
      if (value > 0) known *= value;
      else if (open) return false;
      else open = &value;
    }
    if (!open) return known == found;
    if (found % known != 0) return false;
    *open = found / known;
    return true;
  }

  // ---- the plan ----

  bool decodePhases() {
    int32_t first = 0;
    for (PhaseRange& phase : program_.phases) {
      const int32_t end = words_.next();
      if (end <= first || static_cast<size_t>(end) > program_.operations.size()) return invalid("a phase is out of range");
      for (int32_t i = first; i < end && end - first > 1; i++)
        if (!isRowWise(program_.operations[static_cast<size_t>(i)].kind)) return invalid("a phase has an operation that needs all rows");
      phase = {first, end};
      first = end;
    }
    return static_cast<size_t>(first) == program_.operations.size() || invalid("the phases leave operations out");
  }

  bool decodeJoined(int32_t nJoined) {
    const int32_t* joined = words_.take(nJoined);
    if (nJoined > 0 && !joined) return invalid("the encoding has a wrong length");
    for (int32_t i = 0; i < nJoined; i++) {
      if (!joinsNext(joined[i])) return invalid("operations that do not fit each other are joined");
      program_.feedsNext[static_cast<size_t>(joined[i])] = true;
    }
    return true;
  }

  bool joinsNext(int32_t i) const {
    const size_t nOps = program_.operations.size();
    if (i < 0 || static_cast<size_t>(i) + 1 >= nOps) return false;
    const Operation* op = program_.operations.data() + i;
    if (op->kind != OpKind::BitLinear) return false;
    const IdList& outs = op->bitLinear.outs;
    const Operation& next = op[1];
    switch (next.kind) {
      case OpKind::GatedActivation:
        return outs.n == 2 && next.gatedActivation.gate == outs[0] && next.gatedActivation.up == outs[1];
      case OpKind::Residual:
        return outs.n == 1 && next.residual.y == outs[0] && next.residual.x != next.residual.y;
      case OpKind::RopeKv: {
        const RopeKvOp& rope = next.ropeKv;
        return outs.n == 3 && rope.q == outs[0] && rope.k == outs[1] && rope.v == outs[2];
      }
      default:
        return false;
    }
  }

  const EncodedProgram& encoded_;
  WordReader words_;
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
    case DenseType::Trits: return n % 128 == 0 ? n / 128 * 34 : 0;
    case DenseType::Q4_K: return n % 256 == 0 ? n / 256 * 144 : 0;
  }
  return 0;
}

bool decodeProgram(const EncodedProgram& encoded, Program& program, Failure& failure) {
  return Decoder(encoded, program, failure).decode();
}

}  // namespace bitnet::engine
