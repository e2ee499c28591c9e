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
bool readRecord(const int32_t* words, const char* what, Record& record, Failure& failure, Code code = Code::InvalidArgument) {
  if (!words) return failure.set(code, "%s: the encoding is too short", what);
  if constexpr (requires { Record::ranges; }) {
    for (const WordRange& range : Record::ranges) {
      const int32_t value = words[range.at];
      if (value < range.least || value > range.most)
        return failure.set(code, "%s: %s %d is not in %d…%d", what, range.name, value, range.least, range.most);
    }
  }
  std::memcpy(&record, words, sizeof record);
  return true;
}

}  // namespace bitnet::engine
