// The KV cache in WebAssembly: a block for each page that is in use.
#include "../kv-arena.h"

namespace bitnet::engine {

bool KvArena::reserve(int32_t nPages, size_t pageBytes, Failure& failure) {
  free();
  nPages_ = nPages;
  pageBytes_ = pageBytes;
  stride_ = (pageBytes + 63) / 64 * 64;
  if (nPages == 0 || stride_ == 0) return true;
  return pages_.allocate(static_cast<size_t>(nPages)) ||
         failure.set(Code::OutOfMemory, "no memory for a table of %d pages of the KV cache; ask for fewer pages", nPages);
}

void KvArena::free() {
  for (uint8_t*& page : pages_) freeBlock(page, stride_);
  pages_.free();
  committedPages_.store(0, std::memory_order_relaxed);
}

bool KvArena::commit(int32_t page) {
  if (pages_.size() == 0) return true;
  uint8_t*& block = pages_[static_cast<size_t>(page)];
  if (block) return true;
  block = static_cast<uint8_t*>(allocateBlock(stride_));
  if (!block) return false;
  committedPages_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void KvArena::release(int32_t page) {
  if (pages_.size() == 0 || !pages_[static_cast<size_t>(page)]) return;
  freeBlock(pages_[static_cast<size_t>(page)], stride_);
  pages_[static_cast<size_t>(page)] = nullptr;
  committedPages_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace bitnet::engine
