// Tables with one wrong function each, which the known-answer test has to reject by name.
#pragma once
#include "../kernels.h"

namespace bitnet::test {

struct WrongTable {
  const char* name;  // of the wrong function
  Kernels kernels;
};

// `from` with one function replaced, for every function of the table. Sets `count`.
const WrongTable* wrongTables(const Kernels& from, int* count);

}  // namespace bitnet::test
