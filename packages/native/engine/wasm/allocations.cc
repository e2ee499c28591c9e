// Memory of one WebAssembly module: what lies behind its data grows by memory.grow, and blocks that were given back wait in one list in
// the order of their addresses, neighbours joined. Only the coordinating thread allocates. `new` and `delete` come here as well.
#include "../allocations.h"

#include <cstring>

extern "C" unsigned char __heap_base;

namespace bitnet::engine {
namespace {

constexpr size_t grain = 64;
constexpr size_t pageSize = 65536;

struct FreeBlock {
  size_t bytes;
  FreeBlock* next;
};
static_assert(sizeof(FreeBlock) <= grain);

FreeBlock* firstFree = nullptr;
// Memory from here on has never been used, so that it is zero; 0 before the first allocation.
uintptr_t fresh = 0;
uint64_t liveCount = 0, liveBytes = 0;

size_t rounded(size_t bytes) { return (bytes + grain - 1) / grain * grain; }

// Memory ends at 4 GiB at most: as 64 bits, since an address past the last one does not fit 32.
bool growTo(uint64_t end) {
  const uint64_t have = static_cast<uint64_t>(__builtin_wasm_memory_size(0)) * pageSize;
  if (end <= have) return true;
  const uint64_t pages = (end - have + pageSize - 1) / pageSize;
  return pages <= 65536 && __builtin_wasm_memory_grow(0, static_cast<size_t>(pages)) != SIZE_MAX;
}

void* takeFresh(size_t bytes) {
  if (fresh == 0) fresh = rounded(reinterpret_cast<uintptr_t>(&__heap_base));
  // The last page stays unused, so that `fresh` does not wrap around.
  const uint64_t end = uint64_t{fresh} + bytes;
  if (end > UINT32_MAX - pageSize || !growTo(end)) return nullptr;
  void* block = reinterpret_cast<void*>(fresh);
  fresh = static_cast<uintptr_t>(end);
  return block;
}

// The first block that is large enough; the rest of it stays in the list.
void* takeFree(size_t bytes) {
  for (FreeBlock** link = &firstFree; *link; link = &(*link)->next) {
    FreeBlock* block = *link;
    if (block->bytes < bytes) continue;
    if (block->bytes == bytes) {
      *link = block->next;
    } else {
      auto* rest = reinterpret_cast<FreeBlock*>(reinterpret_cast<uint8_t*>(block) + bytes);
      *rest = {block->bytes - bytes, block->next};
      *link = rest;
    }
    return std::memset(static_cast<void*>(block), 0, bytes);
  }
  return nullptr;
}

bool touches(const FreeBlock* a, const FreeBlock* b) { return reinterpret_cast<const uint8_t*>(a) + a->bytes == reinterpret_cast<const uint8_t*>(b); }

void giveBack(void* memory, size_t bytes) {
  FreeBlock *before = nullptr, *after = firstFree;
  while (after && static_cast<void*>(after) < memory) {
    before = after;
    after = after->next;
  }
  auto* block = static_cast<FreeBlock*>(memory);
  *block = {bytes, after};
  if (after && touches(block, after)) *block = {bytes + after->bytes, after->next};
  if (!before) {
    firstFree = block;
  } else if (touches(before, block)) {
    *before = {before->bytes + block->bytes, block->next};
  } else {
    before->next = block;
  }
}

}  // namespace

LiveAllocations liveAllocations() { return {liveCount, liveBytes}; }

void countAllocation(size_t bytes) {
  liveCount++;
  liveBytes += bytes;
}

void countRelease(size_t bytes) {
  liveCount--;
  liveBytes -= bytes;
}

void countBytes(int64_t change) { liveBytes += static_cast<uint64_t>(change); }

void* allocateBlock(size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX - pageSize) return nullptr;
  const size_t whole = rounded(bytes);
  void* block = takeFree(whole);
  if (!block) block = takeFresh(whole);
  if (block) countAllocation(bytes);
  return block;
}

void preferLargePages(void*, size_t) {}

void freeBlock(void* block, size_t bytes) {
  if (!block) return;
  giveBack(block, rounded(bytes));
  countRelease(bytes);
}

}  // namespace bitnet::engine

// A grain before each object holds its size, which not every `delete` tells.
namespace {

constexpr size_t headBytes = 64;

void* newObject(size_t bytes) {
  void* block = bytes > SIZE_MAX / 2 ? nullptr : bitnet::engine::allocateBlock(bytes + headBytes);
  if (!block) return nullptr;
  *static_cast<size_t*>(block) = bytes + headBytes;
  return static_cast<uint8_t*>(block) + headBytes;
}

void deleteObject(void* object) {
  if (!object) return;
  void* block = static_cast<uint8_t*>(object) - headBytes;
  bitnet::engine::freeBlock(block, *static_cast<size_t*>(block));
}

void* newOrTrap(size_t bytes) {
  void* object = newObject(bytes);
  if (!object) __builtin_trap();
  return object;
}

}  // namespace

void* operator new(size_t bytes) { return newOrTrap(bytes); }
void* operator new[](size_t bytes) { return newOrTrap(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return newObject(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return newObject(bytes); }
// Objects are at least 64-byte aligned.
void* operator new(size_t bytes, std::align_val_t) { return newOrTrap(bytes); }
void* operator new(size_t bytes, std::align_val_t, const std::nothrow_t&) noexcept { return newObject(bytes); }
void operator delete(void* object) noexcept { deleteObject(object); }
void operator delete[](void* object) noexcept { deleteObject(object); }
void operator delete(void* object, size_t) noexcept { deleteObject(object); }
void operator delete[](void* object, size_t) noexcept { deleteObject(object); }
void operator delete(void* object, std::align_val_t) noexcept { deleteObject(object); }
void operator delete(void* object, size_t, std::align_val_t) noexcept { deleteObject(object); }
