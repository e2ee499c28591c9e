// How a native function says what went wrong. The names of the codes are those of BitNetError.
#pragma once
#include <cstdint>

namespace bitnet::engine {

enum class Code : int32_t {
  None,
  InvalidArgument,
  ModelInvalid,
  FileNotFound,
  IoFailed,
  OutOfMemory,
  BackendUnavailable,
  BackendFailed,
  NumericFailure,
  Disposed,
  Aborted,
};

const char* codeName(Code code);

struct Failure {
  Code code = Code::None;
  // Where in the program and the step, or −1.
  int32_t op = -1, row = -1;
  char message[512] = "";

  // Always false, so that a check can end in `return failure.set(…)`.
  bool set(Code code, const char* format, ...) __attribute__((format(printf, 3, 4)));
};

}  // namespace bitnet::engine
