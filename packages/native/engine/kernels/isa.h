// Which kernel tables this binary and this machine have. Chooses nothing: kernel-choice.cc tries them in order.
#pragma once
#include "kernels.h"

namespace bitnet {

struct Variant {
  const char* isa;              // as in packages/core/src/backend/backend.ts
  const Kernels* (*kernels)();  // gives null where the compiler could not build it
  bool (*supported)();          // whether the CPU has the instructions and the operating system keeps their registers
};

// The variants of this architecture, best first, the last being scalar. Sets `count`.
const Variant* kernelVariants(int* count);

// Asks Linux for the right to use AMX tiles, which holds for the whole process; false where it is refused or unknown.
bool amxPermission();

}  // namespace bitnet
