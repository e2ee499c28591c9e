// AVX-512 with VNNI (Intel servers since 2019, AMD since Zen 4).
#include "../kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512VNNI__)
#include "lanes.h"

#include "../f32-kernels.inl.h"
#include "../f32-lane-rows.inl.h"
#include "blocks.h"
#include "groups.h"
#include "screen.h"
#include "tiles.h"

#include "../screen.inl.h"
#include "../ternary.inl.h"

namespace bitnet {
namespace {

constexpr LaneKernels laneKernels = laneTable(32, laneTiles);

constexpr TileKernels tileKernels = {
    .ternaryFrom = 32,
    .screenFrom = INT32_MAX,
    .arrange = arrange,
    .ternary = ternaryTiles,
    .ternaryScaled = scaledTiles,
    .screen = nullptr,
    .lanes = &laneKernels,
};

constexpr Kernels table = kernelTable("avx512vnni", rowsMatmul, screenDots, groupDots, groupOffsets, &tileKernels);

}  // namespace

const Kernels* avx512VnniKernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* avx512VnniKernels() { return nullptr; }

}  // namespace bitnet

#endif
