// The matrix instructions of ARMv8.6 for many rows (Graviton 3, Apple M2, Cortex-A510 and later), NEON dot products for everything else.
#include "../kernels.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD) && defined(__ARM_FEATURE_MATMUL_INT8)
#include "lanes.h"

#include "../f32-kernels.inl.h"
#include "blocks.h"
#include "screen.h"
#include "tiles.h"

#include "../group-dots.inl.h"
#include "../screen.inl.h"
#include "../ternary.inl.h"

namespace bitnet {
namespace {

// Not measured on such a machine yet: from half a strip on, half of the products are not with zeros.
constexpr TileKernels tileKernels = {
    .ternaryFrom = 8,
    .screenFrom = 8,
    .arrange = arrange,
    .ternary = ternaryPairs,
    .ternaryScaled = scaledPairs,
    .screen = screenPairs,
    .lanes = nullptr,
};

constexpr Kernels table = kernelTable("neon-i8mm", rowsMatmul, screenDots, groupDots, groupOffsets, &tileKernels);

}  // namespace

const Kernels* neonI8mmKernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* neonI8mmKernels() { return nullptr; }

}  // namespace bitnet

#endif
