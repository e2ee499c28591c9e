#include "executable.h"

#include <algorithm>
#include <cstring>

#include "float-mode.h"

namespace bitnet::engine {

Executable::~Executable() {
  for (size_t i = 0; i < nSources_; i++) freeBlock(sources_[i].copy, sources_[i].size);
  if (sources_) countRelease(nSources_ * sizeof(Source));
  delete[] sources_;
}

bool Executable::checkLimits(Failure& failure) const {
  if (!fitsAddresses()) return failure.set(Code::OutOfMemory, "the model is too large for this backend's addresses; lower maxRows or the context");
  // Work is counted in 32 bits.
  for (const Operation& op : program_.operations) {
    int64_t work = 0;
    if (op.kind == OpKind::Attention) work = static_cast<int64_t>(limits_.maxRows) * program_.buffer(op.attention.kv).nKvHeads;
    if (op.kind == OpKind::BitLinear)
      for (const int32_t weight : op.bitLinear.weights) work += program_.buffer(weight).rows;
    if (work > INT32_MAX) return failure.set(Code::ModelInvalid, "program: an operation is too large for %d rows", limits_.maxRows);
  }
  return true;
}

// Whether sizes that are products can be told in a size_t with room to spare; where it has 64 bits the other limits see to that.
bool Executable::fitsAddresses() const {
  constexpr uint64_t most = SIZE_MAX / 16;
  const uint64_t rows = static_cast<uint64_t>(limits_.maxRows) + stripRows, nPages = static_cast<uint64_t>(limits_.nPages);
  const uint64_t keys = std::min(static_cast<uint64_t>(program_.contextLength), nPages * pageTokens) + 32;
  uint64_t pageBytes = 0, perKey = 1;
  for (const Buffer& buffer : program_.buffers) {
    const uint64_t cols = static_cast<uint64_t>(buffer.cols) + 128;
    if ((buffer.kind == BufferKind::F32 || buffer.kind == BufferKind::Q8) && rows * cols > most) return false;
    // Their bytes lie in a source; what is made of them in int8 or f32 is checked where it is laid out, if only the product can be told.
    if (buffer.kind == BufferKind::Dense && static_cast<uint64_t>(buffer.rows) * cols > SIZE_MAX) return false;
    if (buffer.kind != BufferKind::Kv) continue;
    pageBytes += 8ull * pageTokens * static_cast<uint64_t>(buffer.nKvHeads) * static_cast<uint64_t>(buffer.headDim);
  }
  for (const Operation& op : program_.operations)
    if (op.kind == OpKind::Attention) perKey = std::max(perKey, static_cast<uint64_t>(op.attention.nHeads) * static_cast<uint64_t>(limits_.threads));
  const uint64_t vocab = static_cast<uint64_t>(program_.vocabSize);
  return pageBytes <= most && nPages * pageTokens <= most && perKey * keys <= most && vocab * std::max<uint64_t>(rows, headPanel) <= most;
}

bool Executable::create(const EncodedProgram& encoded, Failure& failure) {
  if (!decodeProgram(encoded, program_, failure) || !checkLimits(failure)) return false;
  const size_t nSources = program_.sourceSizes.size();
  size_t pathBytes = 0;
  for (size_t i = 0; i < encoded.nPaths; i++) pathBytes += encoded.paths[i] ? std::strlen(encoded.paths[i]) + 1 : 0;
  sources_ = new (std::nothrow) Source[nSources];
  if (sources_) countAllocation(nSources * sizeof(Source));
  nSources_ = sources_ ? nSources : 0;
  if (!sources_ || !paths_.allocate(pathBytes) || !views_.allocate(program_.buffers.size()))
    return failure.set(Code::OutOfMemory, "no memory for the program");
  char* path = paths_.data();
  for (size_t i = 0; i < nSources; i++) {
    sources_[i].size = program_.sourceSizes[i];
    if (i >= encoded.nPaths || !encoded.paths[i]) continue;
    sources_[i].path = std::strcpy(path, encoded.paths[i]);
    path += std::strlen(path) + 1;
  }
  markReaders();
  return true;
}

void Executable::markReaders() {
  const auto view = [&](int32_t id) -> View& { return views_[index(id)]; };
  for (const Operation& op : program_.operations) {
    switch (op.kind) {
      case OpKind::RmsNormQuant: view(op.rmsNormQuant.weight).isVector = true; break;
      case OpKind::RmsNorm: view(op.rmsNorm.weight).isVector = true; break;
      case OpKind::Bias: view(op.bias.bias).isVector = true; break;
      case OpKind::RopeKv: view(op.ropeKv.table).isVector = true; break;
      case OpKind::Rope: view(op.rope.table).isVector = true; break;
      case OpKind::Embed: view(op.embed.table).isInPlace = true; break;
      case OpKind::Lora: view(op.lora.a).isInPlace = view(op.lora.b).isInPlace = true; break;
      case OpKind::Head: view(op.head.weight).isVector = view(op.head.table).isInPlace = true; break;
      case OpKind::BitLinear:
        for (const int32_t weight : op.bitLinear.weights) {
          view(weight).isInPlace = true;
          if (program_.buffer(weight).scaleKind == ScaleKind::Group) view(op.bitLinear.x).hasGroupReader = true;
        }
        break;
      default: break;  // reads no weight
    }
  }
  for (size_t id = 0; id < views_.size(); id++) {
    const Buffer& buffer = program_.buffers[id];
    if (!buffer.isWeight()) continue;
    Source& source = sources_[buffer.source];
    source.isRead |= views_[id].isVector || views_[id].isInPlace;
    source.isInPlace |= views_[id].isInPlace;
  }
}

uint64_t Executable::privateBytes() const {
  uint64_t total = memory_.bytes() + program_.scales.bytes() + counterMemory_.bytes() + arena_.committedBytes();
  total += screen_.bytes() + drawRoom_.keys.bytes() + drawRoom_.weights.bytes();
  for (size_t i = 0; i < nSources_; i++) total += sources_[i].copy ? sources_[i].size : 0;
  return total;
}

EngineNumbers Executable::numbers() const {
  const auto real = [](uint64_t n) { return static_cast<double>(n); };
  return {
      .privateBytes = real(privateBytes()),
      .mappedBytes = real(mappedBytes()),
      .kvBytesPerToken = real(arena_.pageBytes() / pageTokens),
      .screenBytes = real(screen_.bytes()),
      .headsScreened = real(headCounts_.screened.load()),
      .headsWhole = real(headCounts_.whole.load()),
      .headCandidates = real(headCounts_.candidates.load()),
  };
}

bool Executable::makeDrawRoom(size_t draws) {
  const size_t n = draws * static_cast<size_t>(program_.vocabSize);
  if (drawRoom_.keys.size() >= 2 * n && drawRoom_.weights.size() >= n) return true;
  return drawRoom_.keys.allocate(2 * n) && drawRoom_.weights.allocate(n);
}

// ---- buffers ----

struct Executable::Layout {
  uint8_t* base = nullptr;
  size_t at = 0;
  bool fits = true;

  template <class T>
  T* take(size_t n) {
    constexpr size_t most = SIZE_MAX / 4;
    if (n > most / sizeof(T) || at > most) {
      fits = false;
      return nullptr;
    }
    T* part = base ? reinterpret_cast<T*>(base + at) : nullptr;
    at += (n * sizeof(T) + 63) / 64 * 64;
    return part;
  }
  F32Rows takeF32(size_t rows, size_t cols) {
    const size_t stride = (cols + 15) / 16 * 16;
    return {take<float>(rows * stride), stride};
  }
};

bool Executable::placeBuffers(Failure& failure) {
  Layout counted;
  layOut(counted);
  if (!counted.fits || !memory_.allocate(counted.at))
    return failure.set(Code::OutOfMemory, "no memory for the activations of %d rows; lower maxRows", limits_.maxRows);
  Layout placed;
  placed.base = memory_.data();
  layOut(placed);
  return true;
}

void Executable::layOut(Layout& layout) {
  const size_t maxRows = static_cast<size_t>(limits_.maxRows), wholeStrips = (maxRows + stripRows - 1) / stripRows * stripRows;
  for (size_t id = 0; id < views_.size(); id++) {
    const Buffer& buffer = program_.buffers[id];
    View& view = views_[id];
    const size_t cols = static_cast<size_t>(buffer.cols);
    if (buffer.kind == BufferKind::F32) view.f32 = layout.takeF32(view.suitsLanes ? wholeStrips : maxRows, cols);
    if (buffer.kind == BufferKind::Q8) {
      const size_t stride = static_cast<size_t>(paddedCols(buffer.cols));
      view.q8.stride = stride;
      view.q8.data = layout.take<int8_t>((view.suitsLanes ? wholeStrips : maxRows) * stride);
      view.q8.scales = layout.take<float>(maxRows);
      view.q8.sums = layout.take<int32_t>(maxRows);
      if (buffer.isGrouped()) {
        view.q8.groupScales = layout.take<float>(maxRows * (stride / 128));
        view.q8.reciprocals = layout.take<float>(maxRows * (stride / 128));
        view.q8.arranged = layout.take<int8_t>(maxRows * view.q8.arrangedOfRow());
        view.q8.offsets = layout.take<int32_t>(maxRows * view.q8.offsetsOfRow());
      }
      view.q8.blockSums = view.hasGroupReader ? layout.take<int32_t>(maxRows * (stride / 128)) : nullptr;
    }
    if (view.isVector) view.widened = layout.take<float>(static_cast<size_t>(buffer.rows) * cols);
    if (view.isInPlace) view.bytes = bytesOf(buffer);
  }
  layOutScratch(layout);
}

size_t Executable::stripScratch() const {
  if (!kernels_->tiles) return 0;
  const auto fillUp = [](int32_t rows) { return static_cast<size_t>((rows + stripRows - 1) / stripRows * stripRows); };
  size_t cols = 0;
  for (const View& view : views_) cols = std::max(cols, view.q8.stride);
  return std::max(fillUp(std::min(limits_.maxRows, maxPanel)) * cols, fillUp(2 * std::min(limits_.maxRows, headPanel)) * screen_.stride());
}

void Executable::layOutScratch(Layout& layout) {
  size_t rowCols = 0, headCols = 0, group = 0, headDim = 0, rank = 0;
  for (const Operation& op : program_.operations) {
    const auto fits = [&](size_t& most, int32_t n) { most = std::max(most, static_cast<size_t>(n)); };
    if (op.kind == OpKind::RmsNormQuant) fits(rowCols, program_.buffer(op.rmsNormQuant.x).cols);
    if (op.kind == OpKind::Embed) fits(rowCols, program_.buffer(op.embed.out).cols);
    if (op.kind == OpKind::Lora) fits(rank, program_.buffer(op.lora.a).rows);
    if (op.kind == OpKind::Lora) fits(rowCols, program_.buffer(op.lora.y).cols);
    if (op.kind == OpKind::Head) fits(headCols, program_.buffer(op.head.x).cols);
    if (op.kind != OpKind::Attention) continue;
    const Buffer& kv = program_.buffer(op.attention.kv);
    fits(group, op.attention.nHeads / kv.nKvHeads);
    fits(headDim, kv.headDim);
  }
  const size_t keys = std::min(static_cast<size_t>(program_.contextLength), static_cast<size_t>(limits_.nPages) * pageTokens);
  const size_t headStride = (headDim + 15) / 16 * 16;
  // An odd number of cache lines; attention uses less of it for fewer keys.
  scoreStride_ = (keys + 15) / 16 * 16 | 16;
  const size_t tile = group == 0 ? 0 : std::max(group, size_t{tileQueries});
  scoreFloats_ = std::max(group * scoreStride_, std::min(tileScores, tile * scoreStride_));
  const size_t stripBytes = stripScratch();
  for (Scratch& scratch : scratch_) {
    scratch.row = layout.take<float>(rowCols);
    scratch.hidden = layout.take<float>(rank);
    scratch.acc = layout.take<int32_t>(accScratch);
    scratch.sums = layout.take<int32_t>(maxPanel);
    scratch.tensorScales = layout.take<float>(maxPanel);
    scratch.strips = stripBytes == 0 ? nullptr : layout.take<int8_t>(stripBytes);
    scratch.scores = layout.take<float>(scoreFloats_);
    scratch.queries = layout.take<float>(tile * headDim);
    scratch.values = layout.take<float>(2 * tile * headStride);
    scratch.denominators = layout.take<float>(tile);
    scratch.page = layout.take<float>(size_t{pageTokens} * headDim);
    scratch.joined = layout.take<float>(accScratch);
    scratch.widened = layout.take<float>(widenedRows * ((headCols + 15) / 16 * 16));
    scratch.logits = layout.take<float>(logitScratch);
  }
  if (limits_.threads > 1) {
    constexpr size_t most = size_t{1} << 24;
    const size_t perUnit = group * (scoreStride_ + 16 + (keys / valueBlock + 1) * headStride);
    splitFloats_ = std::min(most, perUnit * 4 * static_cast<size_t>(limits_.threads));
    splitScratch_ = layout.take<float>(splitFloats_);
  }
  if (!program_.hasHead) return;
  const size_t panel = static_cast<size_t>(std::min(limits_.maxRows, headPanel));
  headRows_ = layout.takeF32(panel, headCols);
  logits_ = layout.takeF32(panel, static_cast<size_t>(program_.vocabSize));
  if (!screen_.isPlanned()) return;
  screenedPanel_ = {layout.take<int8_t>(2 * panel * screen_.stride()), layout.take<int32_t>(2 * panel), layout.take<ScreenFactors>(panel)};
}

// Only for a single head: nothing else tells which table a request belongs to.
void Executable::planScreen() {
  const Buffer* table = nullptr;
  for (const Operation& op : program_.operations) {
    if (op.kind != OpKind::Head) continue;
    if (table) return;
    table = &program_.buffer(op.head.table);
  }
  if (table && limits_.screening) screen_.plan(table->rows, table->cols);
}

void Executable::widenVectors() {
  for (size_t id = 0; id < views_.size(); id++) {
    const View& view = views_[id];
    if (!view.isVector) continue;
    const Buffer& buffer = program_.buffers[id];
    const uint8_t* bytes = bytesOf(buffer);
    const size_t rowBytes = denseRowBytes(buffer.type, buffer.cols);
    for (size_t row = 0; row < static_cast<size_t>(buffer.rows); row++)
      kernels_->widen(buffer.type, bytes + row * rowBytes, buffer.cols, view.widened + row * static_cast<size_t>(buffer.cols));
  }
}

DenseMatrix Executable::dense(int32_t id) const {
  const Buffer& buffer = program_.buffer(id);
  return {weightBytes(id), denseRowBytes(buffer.type, buffer.cols), buffer.rows, buffer.cols};
}

// ---- KV arena ----

static size_t kvElementBytes(KvType type) { return type == KvType::F16 ? 2 : 4; }

size_t Executable::kvHeadBytes(int32_t buffer) const {
  return pageTokens * static_cast<size_t>(program_.buffer(buffer).headDim) * kvElementBytes(limits_.kvType);
}

size_t Executable::kvHalf(int32_t buffer) const { return kvHeadBytes(buffer) * static_cast<size_t>(program_.buffer(buffer).nKvHeads); }

bool Executable::reserveArena(Failure& failure) {
  size_t pageBytes = 0;
  for (size_t id = 0; id < views_.size(); id++) {
    if (program_.buffers[id].kind != BufferKind::Kv) continue;
    views_[id].kvOffset = pageBytes;
    pageBytes += 2 * kvHalf(static_cast<int32_t>(id));
  }
  return arena_.reserve(limits_.nPages, pageBytes, failure);
}

// ---- plan ----

bool Executable::planPhases() {
  if (!phases_.allocate(program_.operations.size())) return false;
  size_t n = 0;
  int32_t counters = 0;
  for (const PhaseRange& range : program_.phases) {
    const OpKind kind = program_.operation(range.first).kind;
    addWork(program_.operation(range.first));
    phases_[n++] = {range.first, range.end, isRowWise(kind), counters};
    const int32_t panels = (limits_.maxRows + headPanel - 1) / headPanel;
    counters += kind == OpKind::Attention ? 4 : 1;
    if (kind == OpKind::Head) counters += headCounters * panels;
  }
  // The rest of the array stays zero: empty phases.
  nCounters_ = static_cast<size_t>(counters);
  if (!counterMemory_.allocate(nCounters_ * sizeof(WorkCounter))) return false;
  counters_ = reinterpret_cast<WorkCounter*>(counterMemory_.data());
  for (size_t i = 0; i < nCounters_; i++) new (counters_ + i) WorkCounter;
  return true;
}

void Executable::addWork(const Operation& op) {
  work_.nPhases++;
  if (op.kind == OpKind::Attention) work_.perKey += 2 * static_cast<int64_t>(program_.buffer(op.attention.q).cols);
  if (op.kind == OpKind::Head) {
    const Buffer& table = program_.buffer(op.head.table);
    work_.headWeights += static_cast<int64_t>(table.rows) * table.cols;
    work_.headBytes += static_cast<int64_t>(table.rows) * static_cast<int64_t>(denseRowBytes(table.type, table.cols));
  }
  if (op.kind != OpKind::BitLinear) return;
  for (const int32_t id : op.bitLinear.weights) {
    const Buffer& weight = program_.buffer(id);
    work_.ternaryWeights += static_cast<int64_t>(weight.rows) * paddedCols(weight.cols);
  }
}

// From rough speeds of one thread: a phase that is over in less time than threads take to meet is no place for more of them.
int32_t Executable::threadsFor(const StepSize& size) const {
  if (limits_.allThreads) return limits_.threads;
  constexpr double bytesPerNs = 16, ternaryPerNs = 150, floatPerNs = 15, worthNs = 8000;
  const auto real = [](int64_t n) { return static_cast<double>(n); };
  double ns = std::max(real(work_.ternaryWeights) / 4 / bytesPerNs, real(work_.ternaryWeights) * real(size.nRows) / ternaryPerNs);
  if (size.nRequests > 0) ns += std::max(real(work_.headBytes) / bytesPerNs, real(work_.headWeights) * real(size.nRequests) / floatPerNs);
  ns += real(work_.perKey) * real(size.nKeys) / floatPerNs;
  const double worth = ns / (worthNs * std::max(1.0, real(work_.nPhases)));
  return static_cast<int32_t>(std::clamp(worth, 1.0, real(limits_.threads)));
}

void Executable::resetCounters() {
  for (size_t i = 0; i < nCounters_; i++) counters_[i].next.store(0, std::memory_order_relaxed);
}

bool Executable::finish(Failure& failure) {
  const StandardFloatMode mode;
  if (!mapSources(failure) || !reserveArena(failure)) return false;
  if (!scratch_.allocate(static_cast<size_t>(limits_.threads)) || !planPhases())
    return failure.set(Code::OutOfMemory, "no memory for the program");
  planScreen();
  // As the plan says, where the machine has such kernels.
  const bool hasLanes = kernels_->tiles && kernels_->tiles->lanes;
  for (size_t id = 0; id < views_.size(); id++) views_[id].suitsLanes = hasLanes && program_.buffers[id].suitsLanes;
  if (!placeBuffers(failure)) return false;
  widenVectors();
  if (!intact()) return failure.set(Code::BackendFailed, "a model file changed while it was loaded; load it again");
  dropUnreadSources();
  return true;
}

}  // namespace bitnet::engine
