// Reads the 32-bit words of an encoded program or step in order. Past the end it gives zeros and remembers that it did.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bitnet::engine {

class WordReader {
 public:
  WordReader(const int32_t* words, size_t count) : words_(words), left_(count) {}

  int32_t next() {
    const int32_t* word = take(1);
    return word ? *word : 0;
  }
  // The next `count` words, or null where there are fewer (also for a negative count).
  const int32_t* take(int64_t count) {
    if (count < 0 || static_cast<uint64_t>(count) > left_) {
      complete_ = false;
      left_ = 0;
      return nullptr;
    }
    const int32_t* taken = words_;
    words_ += count;
    left_ -= static_cast<size_t>(count);
    return taken;
  }
  // Whether everything that was asked for was there.
  bool complete() const { return complete_; }
  bool atEnd() const { return complete_ && left_ == 0; }

 private:
  const int32_t* words_;
  size_t left_;
  bool complete_ = true;
};

}  // namespace bitnet::engine
