// Every lasting native allocation goes through here, so that a test can see that disposing gives everything back. Nothing here throws
// or aborts: null means that there is no memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

namespace bitnet::engine {

struct LiveAllocations {
  uint64_t count, bytes;
};
LiveAllocations liveAllocations();

// For memory that is obtained elsewhere: mapped files and the KV arena. `countBytes` tells of one that grew or shrank.
void countAllocation(size_t bytes);
void countRelease(size_t bytes);
void countBytes(int64_t change);

// Zeroed and 64-byte aligned. Large blocks are mapped, so that their memory is committed as it is first touched.
void* allocateBlock(size_t bytes);
void freeBlock(void* block, size_t bytes);

// Asks for large pages, where the system has them, for a block that is read over and over.
void preferLargePages(void* block, size_t bytes);

template <class T, class... Args>
T* create(Args&&... args) {
  T* object = new (std::nothrow) T(std::forward<Args>(args)...);
  if (object) countAllocation(sizeof(T));
  return object;
}

template <class T>
void destroy(T* object) {
  if (!object) return;
  countRelease(sizeof(T));
  delete object;
}

// A fixed-size array of plain values, zeroed.
template <class T>
class Array {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  Array() = default;
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { free(); }

  // False when there is no memory. Earlier contents are freed first.
  bool allocate(size_t n) {
    free();
    if (n == 0) return true;
    if (n > SIZE_MAX / sizeof(T)) return false;
    data_ = static_cast<T*>(allocateBlock(n * sizeof(T)));
    if (data_) size_ = n;
    return data_ != nullptr;
  }
  void free() {
    if (data_) freeBlock(data_, bytes());
    data_ = nullptr;
    size_ = 0;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace bitnet::engine
