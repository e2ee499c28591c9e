#include "isa.h"

#if defined(__wasm__)
#include "wasm/dots.h"
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace bitnet {
namespace {

bool always() { return true; }

#if defined(__x86_64__)

struct CpuFeatures {
  bool avx2, avxVnni, avx512Vnni, amxInt8;
};

// Register sets that the operating system saves (extended control register 0).
uint64_t savedRegisters() {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

bool has(uint32_t word, int bit) { return (word >> bit & 1) != 0; }

CpuFeatures detectFeatures() {
  CpuFeatures found = {};
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  const bool fma = has(c, 12), f16c = has(c, 29), osxsave = has(c, 27);
  if (!osxsave || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  const uint64_t saved = savedRegisters();
  const auto saves = [&](uint64_t mask) { return (saved & mask) == mask; };
  const uint32_t maxSubleaf = a;
  found.avx2 = fma && f16c && has(b, 5) && saves(0x6);
  const bool avx512 = has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31) && saves(0xe6);
  found.avx512Vnni = found.avx2 && avx512 && has(c, 11);
  found.amxInt8 = found.avx512Vnni && has(d, 24) && has(d, 25) && saves(0x60000);
  if (maxSubleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) found.avxVnni = found.avx2 && has(a, 4);
  return found;
}

const CpuFeatures& features() {
  static const CpuFeatures found = detectFeatures();
  return found;
}

constexpr Variant variants[] = {
    {"amx", amxKernels, [] { return features().amxInt8 && amxPermission(); }},
    {"avx512vnni", avx512VnniKernels, [] { return features().avx512Vnni; }},
    {"avxvnni", avxVnniKernels, [] { return features().avxVnni; }},
    {"avx2", avx2Kernels, [] { return features().avx2; }},
    {"scalar", scalarKernels, always},
};

#elif defined(__aarch64__)

#if defined(__linux__)
bool hasDotprod() { return (getauxval(AT_HWCAP) >> 20 & 1) != 0; }
bool hasI8mm() { return (getauxval(AT_HWCAP2) >> 13 & 1) != 0; }
#elif defined(__APPLE__)
bool hasFeature(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value == 1;
}
bool hasDotprod() { return hasFeature("hw.optional.arm.FEAT_DotProd"); }
bool hasI8mm() { return hasFeature("hw.optional.arm.FEAT_I8MM"); }
#else
bool hasDotprod() { return false; }
bool hasI8mm() { return false; }
#endif

constexpr Variant variants[] = {
    {"neon-i8mm", neonI8mmKernels, [] { return hasDotprod() && hasI8mm(); }},
    {"neon-dotprod", neonDotprodKernels, hasDotprod},
    {"scalar", scalarKernels, always},
};

#elif defined(__wasm__)

// Which of the dots is faster is measured by who chooses.
constexpr Variant variants[] = {
    {"wasm-i32-madd", wasmI32Madd, [] { return isProved(proofDotI32 | proofMadd); }},
    {"wasm-i16-madd", wasmI16Madd, [] { return isProved(proofDotI16 | proofMadd); }},
    {"wasm-plain-madd", wasmPlainMadd, [] { return isProved(proofMadd); }},
    {"wasm-i32-exact", wasmI32Exact, [] { return isProved(proofDotI32); }},
    {"wasm-i16-exact", wasmI16Exact, [] { return isProved(proofDotI16); }},
    {"wasm-plain-exact", wasmPlainExact, always},
    {"scalar", scalarKernels, always},
};

#else

constexpr Variant variants[] = {{"scalar", scalarKernels, always}};

#endif

}  // namespace

const Variant* kernelVariants(int* count) {
  *count = static_cast<int>(sizeof variants / sizeof variants[0]);
  return variants;
}

bool amxPermission() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long requestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long tileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
#else
  return false;
#endif
}

}  // namespace bitnet
