// AVX-512 with VNNI and products of bf16 (Intel servers since 2020, AMD since Zen 4).
#include "train-kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512VNNI__) && defined(__AVX512BF16__)
#include "../../../../native/engine/kernels/avx512/lanes.h"
#include "../../../../native/engine/kernels/f32-lanes.inl.h"
#include "table.inl.h"
#include "vnni-dot.inl.h"
#include "trits.inl.h"

namespace bitnet::train {
namespace {

// Two products of bf16 added to every lane.
inline F32x16 dotBrains(F32x16 sums, F32x16 a, F32x16 b) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
  return sums;
}

}  // namespace
}  // namespace bitnet::train

#include "brains.inl.h"

namespace bitnet::train {

const TrainKernels* avx512bf16TrainKernels() {
  static constexpr TrainKernels table =
      trainTable("avx512bf16", {packTrits, multiplyTrits}, {packBrainsA, packBrainsB, multiplyBrains});
  return &table;
}

}  // namespace bitnet::train

#else

namespace bitnet::train {

const TrainKernels* avx512bf16TrainKernels() { return nullptr; }

}  // namespace bitnet::train

#endif
