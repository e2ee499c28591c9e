// What records.generated.h is made of: structs whose members are the words that TypeScript writes and reads, and for each word its range.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "failure.h"
#include "kernels/kernels.h"

namespace bitnet::engine {

struct WordRange {
  const char* name;
  int32_t at, least, most;
};

template <class Record>
constexpr size_t wordsOf = sizeof(Record) / sizeof(int32_t);

// Copies a record from wordsOf<Record> words, or from null. `what` begins the message when one of them is out of range or there are none.
template <class Record>
bool readRecord(const int32_t* words, const char* what, Record& record, Failure& failure) {
  if (!words) return failure.set(Code::InvalidArgument, "%s: the encoding is too short", what);
  for (const WordRange& range : Record::ranges) {
    const int32_t value = words[range.at];
    if (value < range.least || value > range.most)
      return failure.set(Code::InvalidArgument, "%s: %s %d is not in %d…%d", what, range.name, value, range.least, range.most);
  }
  std::memcpy(&record, words, sizeof record);
  return true;
}

}  // namespace bitnet::engine
