// The KV cache: reserved address space for all pages, committed page by page. An arena page holds the keys and values of `pageTokens`
// positions for all layers, so that giving one back or copying it is one range: [layer][K, V][nKvHeads][pageTokens][headDim]. Knows the
// size of a page, not what stands where in it.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "allocations.h"
#include "failure.h"

namespace bitnet::engine {

// As in packages/core/src/backend/backend.ts.
constexpr int pageTokens = 32;

class KvArena {
 public:
  KvArena() = default;
  ~KvArena() { free(); }
  KvArena(const KvArena&) = delete;
  KvArena& operator=(const KvArena&) = delete;

  // `pageBytes` may be 0 for a program without KV buffers.
  bool reserve(int32_t nPages, size_t pageBytes, Failure& failure);
  void free();

  // Makes a page readable and writable; false when there is no memory. New pages hold zeros.
  bool commit(int32_t page);
  // Gives the memory of a page back; its contents are lost. Not while a run uses the page.
  void release(int32_t page);

#if defined(__wasm__)
  uint8_t* page(int32_t page) const { return pages_[static_cast<size_t>(page)]; }
#else
  uint8_t* page(int32_t page) const { return base_ + static_cast<size_t>(page) * stride_; }
#endif
  int32_t pages() const { return nPages_; }
  size_t pageBytes() const { return pageBytes_; }
  uint64_t committedBytes() const { return committedPages_.load(std::memory_order_relaxed) * stride_; }

 private:
  enum State : uint8_t { Reserved, Open, Committed };  // `Open`: accessible, but given back

#if defined(__wasm__)
  Array<uint8_t*> pages_;  // there is no address space to reserve: each page is a block, null before it is committed
#else
  uint8_t* base_ = nullptr;
#endif
  size_t stride_ = 0;  // pageBytes in whole system pages
  size_t pageBytes_ = 0;
  int32_t nPages_ = 0;
#if !defined(__wasm__)
  Array<uint8_t> states_;
#endif
  std::atomic<uint64_t> committedPages_{0};
};

}  // namespace bitnet::engine
