// No kernels for the matrix instructions of ARMv8.6 yet: such machines run the dot-product ones.
#include "../kernels.h"

namespace bitnet {

const Kernels* neonI8mmKernels() { return nullptr; }

}  // namespace bitnet
