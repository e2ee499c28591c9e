// NEON with the dot products of ARMv8.2 (Apple M1, Graviton 2, Cortex-A76 and later).
#include "../kernels.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include "lanes.h"

#include "../f32-kernels.inl.h"
#include "blocks.h"
#include "screen.h"

#include "../group-dots.inl.h"
#include "../screen.inl.h"
#include "../ternary-tiles.inl.h"

namespace bitnet {
namespace {

constexpr Kernels table = kernelTable("neon-dotprod", ternaryMatmul, screenDots, groupDots, groupOffsets);

}  // namespace

const Kernels* neonDotprodKernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* neonDotprodKernels() { return nullptr; }

}  // namespace bitnet

#endif
