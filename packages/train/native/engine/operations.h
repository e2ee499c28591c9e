// Whole operations: parts of kernels spread over the team. Sizes are those that the caller's buffers have.
#pragma once
#include "kernels/train-kernels.h"

namespace bitnet::train {

// The best instruction set of this machine, or the one of this name; null when it does not run here.
const TrainKernels* chooseKernels(const char* name);

// False when memory for repacking is short.
bool product(const TrainKernels& k, Product p);
void stripedProduct(const TrainKernels& k, const float* a, const float* b, float* out, int m, int n, int columns);
void embed(const float* table, const int32_t* ids, int rows, int width, float* out);
void embedGradient(const int32_t* ids, const float* dOut, int rows, int width, float* dTable);
void rmsNorm(const TrainKernels& k, const float* x, const float* weight, float eps, float* out, float* r, int rows, int width);
bool rmsNormGradient(const TrainKernels& k, const float* x, const float* weight, const float* r, const float* dOut, float* dX, float* dWeight, int rows,
                     int width);
// False when a row is not finite.
bool quantise(const TrainKernels& k, const float* x, float* q, float* s, int rows, int width);
enum class WeightForm : int32_t { ternary = 0, binary = 1 };
// The scale; not finite when a weight is not.
float formWeights(const TrainKernels& k, const float* master, size_t n, WeightForm form, float* out);
void rope(const TrainKernels& k, float* x, const int32_t* starts, int nDocuments, int nHeads, int headDim, const float* table, bool isInverse);
// False when memory is short.
bool attention(const TrainKernels& k, const Attention& p, int nDocuments, bool isGradient);
void gate(const TrainKernels& k, GateFn fn, const float* gate, const float* up, float* out, size_t n);
void gateGradient(const TrainKernels& k, GateFn fn, const float* gate, const float* up, const float* dOut, float* dGate, float* dUp, size_t n);
void add(const TrainKernels& k, const float* a, const float* b, float* out, size_t n);
void addScaled(const TrainKernels& k, const float* a, const float* b, float factor, float* out, size_t n);
void dropout(const TrainKernels& k, const Dropout& p, int rows);
void crossEntropy(const TrainKernels& k, const CrossEntropy& p, int rows);
void adamw(const TrainKernels& k, const Adamw& p, size_t n);

}  // namespace bitnet::train
