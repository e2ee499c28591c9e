// A denser copy of ternary weights, five in a byte (1.6 bits each instead of 2), for machines whose byte permutes unpack it at the speed of
// memory. Decoding reads it; files and tiles keep 2 bits. Knows nothing of programs, threads or who owns the copy.
//
// Layout: rows of `cols` codes 0, 1, 2 are filled up to a multiple of 320 with zeros, and the rows to a multiple of 4 with arbitrary ones.
// A row takes quintVectors(cols) vectors of 64 bytes; vector v of four rows lies together, before vector v + 1 of the same four, so that
// a chunk of rows is one stream. Byte i of vector v holds the codes t_j of weights 320 v + 64 j + i, j < 5. With a = t₀ + 3 t₁ + 9 t₂
// (at most 26) and b = t₃ + 3 t₄ (at most 8) it is 8 a + b where b < 8, else 216 + a.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bitnet {

inline constexpr int quintRows = 4;  // rows that lie together
inline constexpr int quintVectorBytes = 64;
inline constexpr int quintVectorCodes = 320;
// The most rows of activations that a product takes; from three on, 2 bits are faster, measured on Zen 5.
inline constexpr int quintActivations = 2;

static inline size_t quintVectors(int cols) { return (static_cast<size_t>(cols) + quintVectorCodes - 1) / quintVectorCodes; }

// Bytes of `nRows` rows, the unused ones of the last four included.
static inline size_t quintBytes(size_t nRows, int cols) {
  return (nRows + quintRows - 1) / quintRows * quintRows * quintVectors(cols) * quintVectorBytes;
}

struct QuintKernels {
  // Packs I2_S rows (128/32) that lie rowBytes apart. False, with `out` half written, when a code is 3, which five in a byte cannot hold.
  bool (*pack)(const uint8_t* weights, size_t rowBytes, int nRows, int cols, uint8_t* out);
  // As Kernels::ternaryMatmul, for packed rows and 1 … quintActivations rows of activations; `quints` is 64-byte aligned.
  void (*matmul)(const uint8_t* quints, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums, int nX, int cols, int32_t* acc,
                 size_t accStride);
};

// Null where the compiler could not build it.
const QuintKernels* avx512VbmiQuintKernels();

// Whether `kernels` gives the sums of the scalar table on known inputs, and refuses codes of 3.
bool checkQuints(const QuintKernels& kernels);

// What goes with the kernel table of that name on this machine, proven once; null with a reason where there is nothing.
const QuintKernels* provenQuints(const char* isa, const char** reason);

}  // namespace bitnet
