// Chooses a kernel table by proof: variants are tried best first against known answers, and one that answers wrongly is passed over with a reason.
#pragma once
#include "kernels/isa.h"
#include "failure.h"

namespace bitnet::engine {

constexpr int maxVariants = 16;

struct RejectedVariant {
  const char* isa;
  char reason[160];
};

struct KernelChoice {
  const Kernels* kernels = nullptr;
  RejectedVariant rejected[maxVariants];
  int nRejected = 0;
};

// `forced`: the only variant to try, or null. `corrupted`: a variant that is given a wrong kernel before its check, so that a test can see
// it rejected, or null. Fails with BACKEND_UNAVAILABLE.
bool chooseKernels(const char* forced, const char* corrupted, KernelChoice& choice, Failure& failure);

// Why the variant of that index cannot be used, in `reason`; null when it can.
const char* whyRejected(int variant, char* reason, size_t size);

// The table of that name if it has passed its check, otherwise null.
const Kernels* provenKernels(const char* isa);

}  // namespace bitnet::engine
