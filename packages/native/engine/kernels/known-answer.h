// Compares a table with the scalar one before it is used: a CPU, an emulator or a compiler may be wrong.
#pragma once
#include "kernels.h"

namespace bitnet {

// Null when every function gives the bits of the scalar one, otherwise the name of the first that does not. Takes a few milliseconds.
const char* checkKernels(const Kernels* kernels);

}  // namespace bitnet
