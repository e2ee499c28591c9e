// What the files of the probes share.
#pragma once
#include "probes.h"

namespace bitnet {

static inline float* floats(uint8_t* out, int shift) { return reinterpret_cast<float*>(out) + shift; }

static inline int roundUp(int n, int step) { return (n + step - 1) / step * step; }

// Of LaneKernels, in lane-probes.cc. A table without lanes answers by the counterparts for rows.
void probeTernaryLanes(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out);
void probeLaneSquares(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out);
void probeLaneMagnitudes(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out);
void probeLaneQuantise(const Kernels& k, const Samples& s, int n, int shift, uint8_t* out);

}  // namespace bitnet
