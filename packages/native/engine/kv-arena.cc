#include "kv-arena.h"

#include <sys/mman.h>
#include <unistd.h>

namespace bitnet::engine {

bool KvArena::reserve(int32_t nPages, size_t pageBytes, Failure& failure) {
  free();
  nPages_ = nPages;
  pageBytes_ = pageBytes;
  const size_t system = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  stride_ = (pageBytes + system - 1) / system * system;
  if (nPages == 0 || stride_ == 0) return true;
  const auto outOfMemory = [&] {
    return failure.set(Code::OutOfMemory, "the KV cache of %d pages of %zu bytes cannot be reserved; ask for fewer pages", nPages, stride_);
  };
  constexpr size_t addressSpace = size_t{1} << 46;
  if (stride_ > addressSpace / static_cast<size_t>(nPages)) return outOfMemory();
  if (!states_.allocate(static_cast<size_t>(nPages))) return outOfMemory();
#if defined(MAP_NORESERVE)
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
#else
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#endif
  void* base = mmap(nullptr, stride_ * static_cast<size_t>(nPages), PROT_NONE, flags, -1, 0);
  if (base == MAP_FAILED) return outOfMemory();
  base_ = static_cast<uint8_t*>(base);
  countAllocation(0);
  return true;
}

void KvArena::free() {
  if (base_) {
    munmap(base_, stride_ * static_cast<size_t>(nPages_));
    countRelease(committedBytes());
  }
  base_ = nullptr;
  committedPages_.store(0, std::memory_order_relaxed);
  states_.free();
}

bool KvArena::commit(int32_t page) {
  if (!base_) return true;
  uint8_t& state = states_[static_cast<size_t>(page)];
  if (state == Committed) return true;
  if (state == Reserved && mprotect(this->page(page), stride_, PROT_READ | PROT_WRITE) != 0) return false;
  state = Committed;
  committedPages_.fetch_add(1, std::memory_order_relaxed);
  countBytes(static_cast<int64_t>(stride_));
  return true;
}

void KvArena::release(int32_t page) {
  if (!base_ || states_[static_cast<size_t>(page)] != Committed) return;
#if defined(__linux__)
  madvise(this->page(page), stride_, MADV_DONTNEED);
  states_[static_cast<size_t>(page)] = Open;
#else
  // Elsewhere that advice does not drop the contents at once; a new mapping does.
  mmap(this->page(page), stride_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  states_[static_cast<size_t>(page)] = Reserved;
#endif
  committedPages_.fetch_sub(1, std::memory_order_relaxed);
  countBytes(-static_cast<int64_t>(stride_));
}

}  // namespace bitnet::engine
