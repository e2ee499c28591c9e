// The table of training kernels of one instruction set. Every function does the part of an operation that one thread takes: a range of
// rows, of tiles or of elements, whose results depend on nobody else's. What each computes, bit for bit, stands in
// packages/train/src/kernels/reference. Knows nothing of threads or JavaScript.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bitnet::train {

// Columns of a product that are summed in one chain.
constexpr int chainLength = 256;
// Rows that one thread takes of a product at a time: a multiple of every tile's rows.
constexpr int rowsPerTask = 96;

struct Product {
  const float* a;
  const float* b;
  float* out;
  int m, n, k;
  bool transA, transB, adds;
  // a holds whole numbers −128 … 127, b −1, 0 and 1.
  bool isTernary;
  // Round both to bf16 first.
  bool isBrain;
  float factor;
  const float* rowDivisors;    // or null
  const float* innerDivisors;  // or null
  float* packedA;  // [tiles of a][k][tileRows], used with transA
  float* packedB;  // [panels][k][panelCols]
  const float* innerFactors;  // [k], 1 / innerDivisors
  int8_t* bytesA;  // [m + tileRows][byteColumns(k)]
  int8_t* bytesB;  // [panels][byteColumns(k) / 4][panelCols][4]
};

// Bytes of a row in whole vectors of 16 numbers.
constexpr int byteColumns(int k) { return (k + 15) / 16 * 16; }
// Sums of so many products of bytes and trits stay below 2²⁴, where f32 is exact.
constexpr int maxExactColumns = (1 << 24) / 128;

struct Attention {
  const int32_t* starts;
  int nHeads, nKvHeads, headDim;
  float scale;
  const float *q, *k, *v;
  float* out;
  float* stats;
  const float* dOut;
  float *dQ, *dK, *dV;
};

// The mask of a row and column: 16 bits of Threefry-2x32-20 under (seed, step) at (firstRow + row, firstCounter + column / 2).
struct Dropout {
  const float* x;
  float* out;
  int width;
  uint32_t seed, step, firstCounter, firstRow, threshold;
  float factor;
  bool adds;
};

struct CrossEntropy {
  float* logits;
  int vocab;
  const int32_t* labels;
  const float* weights;
  float* losses;
  bool hasGradient;
  float scale;
};

struct Adamw {
  float* weights;
  const float* gradient;
  float *m, *v;
  float rate, beta1, beta2, rest1, rest2, unbias1, unbias2, eps, decay, clip;
};

enum class GateFn : int32_t { relu2 = 0, silu = 1 };

struct TrainKernels {
  const char* isa;
  int tileRows, panelCols;

  // Of all tiles, columns [first, end).
  void (*packA)(const Product& p, int first, int end);
  void (*packB)(const Product& p, int panel);
  // Rows [first, end) of the result.
  void (*multiply)(const Product& p, int first, int end);
  // The same for a ternary product with `transB`, in integers; null where that is no faster.
  void (*packTrits)(const Product& p, int panel);
  void (*multiplyTrits)(const Product& p, int first, int end);
  // The same in bf16, without `transB`, packing pairs of columns; null where there is no such instruction.
  void (*packBrainsA)(const Product& p, int first, int end);
  void (*packBrainsB)(const Product& p, int panel);
  void (*multiplyBrains)(const Product& p, int first, int end);
  void (*stripedDots)(const float* a, const float* b, float* out, int first, int end, int n, int k);

  void (*rmsNorm)(const float* x, const float* weight, float eps, float* out, float* r, int first, int end, int width);
  // `partial` [width] gets the rows' share of the weight's gradient, one chain.
  void (*rmsNormGradient)(const float* x, const float* weight, const float* r, const float* dOut, float* dX, float* partial, int first, int end,
                          int width);
  // False when a row is not finite.
  bool (*quantise)(const float* x, float* q, float* s, int first, int end, int width);
  // Sums of magnitudes and of weights, in four chains each.
  void (*sumWeights)(const float* w, size_t n, double* magnitudes, double* plain);
  void (*trits)(const float* w, float* out, size_t n, float inverse);
  void (*signs)(const float* w, float* out, size_t n, float mean);
  void (*rope)(float* x, int rows, int nHeads, int headDim, const float* table, bool isInverse);
  // One document and key/value head. `scratch`: attentionScratch(longest document, headDim) floats.
  void (*attention)(const Attention& p, int document, int kvHead, float* scratch);
  void (*attentionGradient)(const Attention& p, int document, int kvHead, float* scratch);
  void (*gate)(GateFn fn, const float* gate, const float* up, float* out, size_t n);
  void (*gateGradient)(GateFn fn, const float* gate, const float* up, const float* dOut, float* dGate, float* dUp, size_t n);
  void (*add)(const float* a, const float* b, float* out, size_t n);
  void (*addScaled)(const float* a, const float* b, float factor, float* out, size_t n);
  void (*dropout)(const Dropout& p, int first, int end);
  void (*crossEntropy)(const CrossEntropy& p, int first, int end);
  double (*sumSquares)(const float* x, size_t n);
  void (*adamw)(const Adamw& p, size_t first, size_t end);
};

// Keys padded to whole vectors, twice transposed, and four rows of scores and of slopes.
inline size_t attentionScratch(int longest, int headDim) {
  const size_t padded = (static_cast<size_t>(longest) + 31) / 16 * 16;
  return padded * (2 * static_cast<size_t>(headDim) + 8) + 64;
}

// Null where the compiler or the architecture lacks the instruction set.
const TrainKernels* avx512bf16TrainKernels();
const TrainKernels* avx512vnniTrainKernels();
const TrainKernels* avx512TrainKernels();
const TrainKernels* avx2TrainKernels();
const TrainKernels* neonTrainKernels();
const TrainKernels* scalarTrainKernels();

}  // namespace bitnet::train
