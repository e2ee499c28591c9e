// What operations.generated.h is made of: for each field of an operation where it lies in its struct and what it must be. A decoder
// (program.cc) goes through these tables instead of knowing any operation.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "records.generated.h"

namespace bitnet::engine {

// Buffer ids, in Program::lists.
struct IdList {
  const int32_t* ids;
  int32_t n;
  int32_t operator[](int32_t i) const { return ids[i]; }
  const int32_t* begin() const { return ids; }
  const int32_t* end() const { return ids + n; }
};

// The first names of sizes are those that the program or a kv buffer gives; the others get their numbers from attributes and buffers.
enum SizeName : int8_t { VocabSize = 0, ContextLength = 1, NKvHeads = 2, HeadDim = 3 };

// A product of `n` names; of none it is 1. n = −1: any size.
struct Size {
  int8_t n;
  int8_t names[2];
};
constexpr Size anySize = {-1, {-1, -1}};

struct FieldSpec {
  enum class Kind { Operand, Integer, Real, Choice } kind;
  size_t offset;  // within the operation's struct
  // operands
  BufferKind takes;
  bool isList;
  Size rows, cols;
  uint32_t denseTypes;  // a bit for each that is allowed
  // attributes: least … most, or below it for reals
  int8_t sizeName;
  double least, most;
  bool isOpen;  // the least itself does not belong to the range

  static constexpr FieldSpec operand(size_t offset, BufferKind takes, bool isList, Size rows, Size cols, uint32_t denseTypes) {
    return {Kind::Operand, offset, takes, isList, rows, cols, denseTypes, -1, 0, 0, false};
  }
  static constexpr FieldSpec integer(size_t offset, int sizeName, int32_t least, int32_t most) {
    return {Kind::Integer, offset, {}, false, anySize, anySize, 0, static_cast<int8_t>(sizeName), double(least), double(most), false};
  }
  static constexpr FieldSpec real(size_t offset, double least, bool isOpen, double below) {
    return {Kind::Real, offset, {}, false, anySize, anySize, 0, -1, least, below, isOpen};
  }
  static constexpr FieldSpec choice(size_t offset, int32_t count) {
    return {Kind::Choice, offset, {}, false, anySize, anySize, 0, -1, 0, double(count - 1), false};
  }
};

struct OperationSpec {
  const char* name;
  int32_t firstField, nFields;
  bool rowWise;  // one thread may do it for a row while others do it for other rows
  Size multiple, divisor;  // the first must be a multiple of the second
};

}  // namespace bitnet::engine
