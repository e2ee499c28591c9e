// The floating-point mode that the numerics rest on: round to nearest even, subnormals kept, no traps. A thread may have inherited another one.
#pragma once
#include <cstdint>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace bitnet::engine {

#if defined(__x86_64__)
using FloatMode = uint32_t;
constexpr FloatMode standardFloatMode = 0x1f80;
inline FloatMode floatMode() { return _mm_getcsr(); }
inline void setFloatMode(FloatMode mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
using FloatMode = uint64_t;
constexpr FloatMode standardFloatMode = 0;
inline FloatMode floatMode() {
  FloatMode mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
inline void setFloatMode(FloatMode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
using FloatMode = uint32_t;
constexpr FloatMode standardFloatMode = 0;
inline FloatMode floatMode() { return 0; }
inline void setFloatMode(FloatMode) {}
#endif

// For threads that are not ours: the standard mode as long as this lives.
class StandardFloatMode {
 public:
  StandardFloatMode() : before_(floatMode()) { setFloatMode(standardFloatMode); }
  ~StandardFloatMode() { setFloatMode(before_); }
  StandardFloatMode(const StandardFloatMode&) = delete;
  StandardFloatMode& operator=(const StandardFloatMode&) = delete;

 private:
  FloatMode before_;
};

}  // namespace bitnet::engine
