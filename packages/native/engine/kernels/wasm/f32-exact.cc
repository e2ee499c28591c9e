// The f32 kernels with multiply-adds by way of f64, for engines whose relaxed_madd rounds twice, or that have none.
#include "dots.h"
#include "lanes.h"

#include "../f32-kernels.inl.h"
#include "words-plain.h"
#include "group-pairs.h"

#include "../group-dots.inl.h"

namespace bitnet {

static constexpr Kernels table = kernelTable("", nullptr, nullptr, groupDots, groupOffsets);
const Kernels* wasmF32Exact() { return &table; }

}  // namespace bitnet
