// Where the bytes of weights come from: mapped files, copies, and memory that somebody else owns.
#include <cstring>

#include "executable.h"

namespace bitnet::engine {

bool Executable::roomOfSource(size_t i, uint64_t offset, size_t n, uint8_t*& room, Failure& failure) {
  room = nullptr;
  if (i >= nSources_ || sources_[i].path || sources_[i].shared || offset > sources_[i].size || n > sources_[i].size - offset)
    return failure.set(Code::InvalidArgument, "source %zu: %zu bytes at %llu do not belong to it", i, n, static_cast<unsigned long long>(offset));
  Source& source = sources_[i];
  if (!source.isRead || n == 0) return true;
  if (!source.copy && source.size <= SIZE_MAX) source.copy = static_cast<uint8_t*>(allocateBlock(static_cast<size_t>(source.size)));
  if (!source.copy)
    return failure.set(Code::OutOfMemory, "no memory for %llu bytes of weights", static_cast<unsigned long long>(source.size));
  room = source.copy + offset;
  return true;
}

bool Executable::fillSource(size_t i, uint64_t offset, const void* bytes, size_t n, Failure& failure) {
  uint8_t* room;
  if (!roomOfSource(i, offset, n, room, failure)) return false;
  if (room) std::memcpy(room, bytes, n);
  return true;
}

bool Executable::shareSource(size_t i, const void* bytes, size_t n, Failure& failure) {
  if (i >= nSources_ || sources_[i].path || sources_[i].copy || n != sources_[i].size)
    return failure.set(Code::InvalidArgument, "source %zu: %zu bytes do not belong to it", i, n);
  sources_[i].shared = static_cast<const uint8_t*>(bytes);
  return true;
}

bool Executable::mapSources(Failure& failure) {
  for (size_t i = 0; i < nSources_; i++) {
    Source& source = sources_[i];
    if (!source.isRead) continue;
    if (source.path && !source.mapping.open(source.path, source.size, failure)) return false;
    if (!source.data()) return failure.set(Code::InvalidArgument, "source %zu: its bytes are missing", i);
  }
  return true;
}

// Copies that were only widened are not read again.
void Executable::dropUnreadSources() {
  for (size_t i = 0; i < nSources_; i++) {
    Source& source = sources_[i];
    if (source.isInPlace) continue;
    freeBlock(source.copy, source.size);
    source.copy = nullptr;
    source.shared = nullptr;
    source.mapping.close();
  }
}

bool Executable::intact() const {
  for (size_t i = 0; i < nSources_; i++)
    if (!sources_[i].mapping.intact()) return false;
  return true;
}

uint64_t Executable::mappedBytes() const {
  uint64_t total = 0;
  for (size_t i = 0; i < nSources_; i++) total += sources_[i].mapping.size();
  return total;
}

}  // namespace bitnet::engine
