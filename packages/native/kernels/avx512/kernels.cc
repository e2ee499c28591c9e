// AVX-512 with VNNI (Intel servers since 2019, AMD since Zen 4).
#include "../kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512VNNI__)
#include "lanes.h"

#include "../f32-kernels.inl.h"
#include "blocks.h"
#include "screen.h"

namespace bitnet {
namespace {

inline constexpr int panelBlocks = 4;  // 16 KiB

}  // namespace
}  // namespace bitnet

#include "../screen.inl.h"
#include "../ternary.inl.h"

namespace bitnet {
namespace {

constexpr Kernels table = kernelTable("avx512vnni", groupRows, ternaryMatmul, screenDots);

}  // namespace

const Kernels* avx512VnniKernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* avx512VnniKernels() { return nullptr; }

}  // namespace bitnet

#endif
