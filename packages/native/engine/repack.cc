// The denser private copy of ternary weights (kernels/quints.h), made once while loading, by as many threads as steps have. A weight
// with a code of 3, with scales of groups, or of a size whose copy would be larger, keeps its 2 bits alone.
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>

#include "executable.h"

namespace bitnet::engine {
namespace {

// Rows that a thread packs at a time; a multiple of quintRows.
constexpr int32_t rowsAtOnce = 64;

// Fewer entries of the page table for a stream that every token reads. A wish: nothing depends on it.
void askForLargePages(void* block, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 4096;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(block) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(block) + bytes) / page * page;
  if (bytes >= size_t{1} << 20) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#else
  (void)block;
  (void)bytes;
#endif
}

}  // namespace

size_t Executable::quintSize(int32_t weight) const {
  const Buffer& buffer = program_.buffer(weight);
  return quintBytes(static_cast<size_t>(buffer.rows), paddedCols(buffer.cols));
}

void Executable::dropQuints(int32_t weight) {
  View& view = views_[index(weight)];
  if (!view.quints) return;
  freeBlock(view.quints, quintSize(weight));
  quintTotal_ -= quintSize(weight);
  view.quints = nullptr;
}

void Executable::dropAllQuints() {
  for (size_t id = 0; id < views_.size(); id++) dropQuints(static_cast<int32_t>(id));
}

bool Executable::packWeight(int32_t weight) {
  const View& view = views_[index(weight)];
  const Buffer& buffer = program_.buffer(weight);
  const int32_t cols = paddedCols(buffer.cols);
  const size_t rowBytes = ternaryRowBytes(buffer.cols);
  std::atomic<int32_t> next{0};
  std::atomic<bool> fits{true};
  const auto work = [&] {
    for (;;) {
      const int32_t first = next.fetch_add(rowsAtOnce);
      if (first >= buffer.rows || !fits.load(std::memory_order_relaxed)) return;
      const int32_t nRows = std::min(rowsAtOnce, buffer.rows - first);
      uint8_t* out = view.quints + quintBytes(static_cast<size_t>(first), cols);
      if (!quintKernels_->pack(view.bytes + static_cast<size_t>(first) * rowBytes, rowBytes, nRows, cols, out)) fits = false;
    }
  };
  // A thread costs about as much as packing this many bytes.
  constexpr size_t worthBytes = size_t{1} << 18;
  const size_t worth = std::clamp(quintSize(weight) / worthBytes, size_t{1}, static_cast<size_t>(limits_.threads));
  const auto main = [](void* argument) -> void* {
    (*static_cast<decltype(&work)>(argument))();
    return nullptr;
  };
  pthread_t helpers[maxThreads];
  size_t started = 0;
  while (started + 1 < worth && pthread_create(&helpers[started], nullptr, main, const_cast<void*>(static_cast<const void*>(&work))) == 0) started++;
  work();
  for (size_t t = 0; t < started; t++) pthread_join(helpers[t], nullptr);
  return fits.load();
}

bool Executable::repack(Failure& failure) {
  quintKernels_ = provenQuints(kernels_->isa, &noQuints_);
  if (!quintKernels_) return true;
  for (const Op& op : program_.ops) {
    if (op.kind != OpKind::BitLinear) continue;
    for (int32_t i = 0; i < op.nWeights; i++) {
      const int32_t weight = program_.lists[index(op.firstList + i)];
      View& view = views_[index(weight)];
      const Buffer& buffer = program_.buffer(weight);
      const size_t bytes = quintSize(weight), inFile = static_cast<size_t>(buffer.rows) * ternaryRowBytes(buffer.cols);
      if (view.quints || buffer.scaleKind == ScaleKind::Group || bytes > inFile) continue;
      view.quints = static_cast<uint8_t*>(allocateBlock(bytes));
      if (!view.quints)
        return failure.set(Code::OutOfMemory, "no memory for a denser copy of the weights; load without repacking");
      quintTotal_ += bytes;
      askForLargePages(view.quints, bytes);
    }
  }
  for (size_t id = 0; id < views_.size(); id++) {
    const auto weight = static_cast<int32_t>(id);
    if (views_[id].quints && !packWeight(weight)) dropQuints(weight);
  }
  return true;
}

RepackOutcome Executable::repackOutcome() const {
  RepackOutcome outcome = {0, 0, 0, noQuints_};
  for (size_t id = 0; id < views_.size(); id++) {
    const Buffer& buffer = program_.buffers[id];
    if (buffer.kind != BufferKind::Ternary) continue;
    (views_[id].quints ? outcome.nPacked : outcome.nKept)++;
    if (!views_[id].quints) continue;
    const size_t inFile = static_cast<size_t>(buffer.rows) * ternaryRowBytes(buffer.cols);
    outcome.sparedBytes += static_cast<int64_t>(inFile) - static_cast<int64_t>(quintSize(static_cast<int32_t>(id)));
  }
  return outcome;
}

}  // namespace bitnet::engine
