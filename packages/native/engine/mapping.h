// Read-only mappings of model files, computed on in place. A file that is truncated or written to while it is mapped damages its
// mapping and nothing else: reading past its end gives zeros instead of a fatal signal, and `intact` turns false.
#pragma once
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>

#include "failure.h"

namespace bitnet::engine {

class FileMapping {
 public:
  FileMapping() = default;
  ~FileMapping() { close(); }
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  // `expectedSize`: what the file's header was read under; any other size is a failure. An empty file maps to null.
  bool open(const char* path, uint64_t expectedSize, Failure& failure);
  void close();

  const uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }
  // Whether the bytes are still those that were mapped. False for good once the guard stepped in.
  bool intact() const;

 private:
  bool map(uint64_t expectedSize, const char* path, Failure& failure);

  int fd_ = -1;
  int guard_ = -1;  // entry of the guard that covers it
  struct stat opened_ = {};
  const uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace bitnet::engine
