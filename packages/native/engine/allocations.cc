#include "allocations.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace bitnet::engine {
namespace {

std::atomic<uint64_t> liveCount{0};
std::atomic<uint64_t> liveBytes{0};

constexpr size_t alignment = 64;
constexpr size_t mapFrom = size_t{1} << 20;
constexpr size_t largest = size_t{1} << 46;

}  // namespace

LiveAllocations liveAllocations() { return {liveCount.load(), liveBytes.load()}; }

void countAllocation(size_t bytes) {
  liveCount.fetch_add(1, std::memory_order_relaxed);
  liveBytes.fetch_add(bytes, std::memory_order_relaxed);
}

void countRelease(size_t bytes) {
  liveCount.fetch_sub(1, std::memory_order_relaxed);
  liveBytes.fetch_sub(bytes, std::memory_order_relaxed);
}

void countBytes(int64_t change) { liveBytes.fetch_add(static_cast<uint64_t>(change), std::memory_order_relaxed); }

void* allocateBlock(size_t bytes) {
  if (bytes == 0 || bytes > largest) return nullptr;
  void* block = nullptr;
  if (bytes >= mapFrom) {
    block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return nullptr;
  } else {
    if (posix_memalign(&block, alignment, bytes) != 0) return nullptr;
    std::memset(block, 0, bytes);
  }
  countAllocation(bytes);
  return block;
}

void preferLargePages([[maybe_unused]] void* block, [[maybe_unused]] size_t bytes) {
#if defined(MADV_HUGEPAGE)
  if (bytes >= mapFrom) madvise(block, bytes, MADV_HUGEPAGE);
#endif
}

void freeBlock(void* block, size_t bytes) {
  if (!block) return;
  if (bytes >= mapFrom) {
    munmap(block, bytes);
  } else {
    std::free(block);
  }
  countRelease(bytes);
}

}  // namespace bitnet::engine
