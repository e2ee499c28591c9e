#include "kernel-choice.h"

#include <cstdio>
#include <cstring>
#include <mutex>

#include "kernels/known-answer.h"
#include "float-mode.h"

namespace bitnet::engine {
namespace {

enum class Proof { Untried, Right, Wrong };

struct Tried {
  Proof proof = Proof::Untried;
  const char* wrongKernel = nullptr;
};

std::mutex mutex;  // of what follows
Tried tried[maxVariants];
const Kernels* genuine = nullptr;  // what the corrupted table is made from

void wrongMatmul(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
  genuine->ternaryMatmul(weights, x, xSums, acc);
  if (weights.rows > 0 && x.rows > 0) acc.data[0] ^= 1;
}

const char* checkCorrupted(const Kernels* kernels) {
  genuine = kernels;
  Kernels copy = *kernels;
  copy.ternaryMatmul = wrongMatmul;
  return checkKernels(&copy);
}

int variantCount() {
  int count;
  kernelVariants(&count);
  return count < maxVariants ? count : maxVariants;
}

// Null when the variant can be used; otherwise why not, in `reason`.
const char* whyNot(int i, const char* corrupted, char* reason, size_t size) {
  int count;
  const Variant& variant = kernelVariants(&count)[i];
  const Kernels* kernels = variant.kernels();
  if (!kernels) {
    snprintf(reason, size, "the compiler of this build does not know its instructions");
    return reason;
  }
  if (!variant.supported()) {
    snprintf(reason, size, "this processor or operating system does not offer its instructions");
    return reason;
  }
  const StandardFloatMode mode;
  const char* wrong;
  if (corrupted && std::strcmp(variant.isa, corrupted) == 0) {
    wrong = checkCorrupted(kernels);
  } else {
    if (tried[i].proof == Proof::Untried) {
      tried[i].wrongKernel = checkKernels(kernels);
      tried[i].proof = tried[i].wrongKernel ? Proof::Wrong : Proof::Right;
    }
    wrong = tried[i].wrongKernel;
  }
  if (!wrong) return nullptr;
  snprintf(reason, size, "its kernel %s gives wrong answers here", wrong);
  return reason;
}

bool unknownVariant(const char* forced, Failure& failure) {
  char names[200] = "";
  int count;
  const Variant* variants = kernelVariants(&count);
  for (int i = 0; i < variantCount(); i++) {
    const size_t length = std::strlen(names);
    snprintf(names + length, sizeof names - length, "%s%s", i == 0 ? "" : ", ", variants[i].isa);
  }
  return failure.set(Code::BackendUnavailable, "there is no instruction set \"%.40s\" for this architecture; choose one of %s", forced, names);
}

}  // namespace

bool chooseKernels(const char* forced, const char* corrupted, KernelChoice& choice, Failure& failure) {
  const std::lock_guard<std::mutex> lock(mutex);
  int count;
  const Variant* variants = kernelVariants(&count);
  bool known = false;
  for (int i = 0; i < variantCount(); i++) {
    if (forced && std::strcmp(forced, variants[i].isa) != 0) continue;
    known = true;
    RejectedVariant& rejected = choice.rejected[choice.nRejected];
    rejected.isa = variants[i].isa;
    if (!whyNot(i, corrupted, rejected.reason, sizeof rejected.reason)) {
      choice.kernels = variants[i].kernels();
      return true;
    }
    choice.nRejected++;
  }
  if (forced && !known) return unknownVariant(forced, failure);
  const RejectedVariant& last = choice.rejected[choice.nRejected - 1];
  return failure.set(Code::BackendUnavailable, "the instruction set \"%s\" cannot be used: %s", last.isa, last.reason);
}

const char* whyRejected(int variant, char* reason, size_t size) {
  const std::lock_guard<std::mutex> lock(mutex);
  return whyNot(variant, nullptr, reason, size);
}

const Kernels* provenKernels(const char* isa) {
  const std::lock_guard<std::mutex> lock(mutex);
  int count;
  const Variant* variants = kernelVariants(&count);
  for (int i = 0; i < variantCount(); i++)
    if (std::strcmp(isa, variants[i].isa) == 0 && tried[i].proof == Proof::Right) return variants[i].kernels();
  return nullptr;
}

}  // namespace bitnet::engine
