// Memory whose last byte is followed by a page that cannot be touched, so that a read or write past the end stops the test.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace bitnet::test {

template <class T>
class Guarded {
 public:
  explicit Guarded(size_t n) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t used = (n * sizeof(T) + page - 1) / page * page;
    bytes_ = used + page;
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) std::abort();
    auto* first = static_cast<uint8_t*>(memory_);
    if (mprotect(first + used, page, PROT_NONE) != 0) std::abort();
    data_ = reinterpret_cast<T*>(first + used - n * sizeof(T));
  }
  // A copy of n elements.
  Guarded(const T* from, size_t n) : Guarded(n) { std::memcpy(data_, from, n * sizeof(T)); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(memory_, bytes_); }

  T* data() { return data_; }

 private:
  void* memory_;
  size_t bytes_;
  T* data_;
};

}  // namespace bitnet::test
