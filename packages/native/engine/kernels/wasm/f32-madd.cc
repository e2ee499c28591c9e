// The f32 kernels with relaxed_madd.
#include "dots.h"

#if defined(__wasm_relaxed_simd__)
#define BITNET_RELAXED_MADD
#include "lanes.h"

#include "../f32-kernels.inl.h"
#include "words-plain.h"
#include "group-pairs.h"

#include "../group-dots.inl.h"

namespace bitnet {

static constexpr Kernels table = kernelTable("", nullptr, nullptr, groupDots, groupOffsets);
const Kernels* wasmF32Madd() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* wasmF32Madd() { return nullptr; }

}  // namespace bitnet

#endif
