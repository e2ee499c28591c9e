#include "failure.h"

#include <cstdarg>
#include <cstdio>

namespace bitnet::engine {

const char* codeName(Code code) {
  switch (code) {
    case Code::None: return "NONE";
    case Code::InvalidArgument: return "INVALID_ARGUMENT";
    case Code::ModelInvalid: return "MODEL_INVALID";
    case Code::FileNotFound: return "FILE_NOT_FOUND";
    case Code::IoFailed: return "IO_FAILED";
    case Code::OutOfMemory: return "OUT_OF_MEMORY";
    case Code::BackendUnavailable: return "BACKEND_UNAVAILABLE";
    case Code::BackendFailed: return "BACKEND_FAILED";
    case Code::NumericFailure: return "NUMERIC_FAILURE";
    case Code::Disposed: return "DISPOSED";
    case Code::Aborted: return "ABORTED";
  }
  return "INTERNAL";
}

bool Failure::set(Code newCode, const char* format, ...) {
  code = newCode;
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return false;
}

}  // namespace bitnet::engine
