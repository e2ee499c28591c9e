// The dispatch table: one set of functions per instruction set, all giving the same bits (docs/numerics.md). Kernels get flat
// matrices and sizes; they neither allocate nor log, know nothing of programs, threads or files, and read no byte outside what their
// sizes say. Pointers to weights may have any alignment; activations and scratch are 64-byte aligned.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bitnet {

enum class DenseType : int32_t { F32 = 0, F16 = 1, BF16 = 2, Q8_0 = 3, Q6_K = 4, Q4_0 = 5, Trits = 6, Q4_K = 7 };
enum class KvType : int32_t { F32 = 0, F16 = 1 };
enum class GateFn : int32_t { Relu2 = 0, Silu = 1, Gelu = 2 };
enum class Pairing : int32_t { Half = 0, Adjacent = 1 };

// Rows of T that begin `stride` elements apart. Methods are always inlined, so that no copy of one is shared by objects that are compiled for
// different instruction sets.
template <class T>
struct Matrix {
  T* data;
  size_t stride;
  int rows, cols;
  [[gnu::always_inline]] T* row(int i) const { return data + static_cast<size_t>(i) * stride; }
  // Rows [first, first + n).
  [[gnu::always_inline]] Matrix part(int first, int n) const { return {row(first), stride, n, cols}; }
};
// Ternary weights, four a byte (I2_S 128/32): a row takes cols / 4 bytes, and rows are stride bytes apart.
using PackedMatrix = Matrix<const uint8_t>;
using Int8Matrix = Matrix<const int8_t>;
// Rows of a dense type, stride bytes apart; cols are elements.
using DenseMatrix = Matrix<const uint8_t>;
// What a product gives: of row i of activations with row r of weights at row(i)[r], so that its rows are those of activations.
using SumMatrix = Matrix<int32_t>;
using F32Matrix = Matrix<float>;
using ConstF32Matrix = Matrix<const float>;

struct NoiseKey {
  uint32_t seed, choice, index;
};

// How logits of consecutive ids are perturbed.
struct Perturbation {
  float temperature;
  NoiseKey key;
  uint32_t firstId;
};

// What a row x ≈ unit · step · (256 · high + low) of the head contributes to the bounds of its logits. The factors of a table row's loss, norm and
// scale are of x / unit, rounded up; unit is a power of two that brings the largest value of x to 1 … 2.
struct ScreenFactors {
  float unit, step, byLoss, byNorm, byScale;
};

// Rows of the head's copy: what each was multiplied by, and bounds of what it lost and of its norm.
struct CopiedRows {
  const float *scales, *losses, *norms;
  int n;
};

// Of the products of such rows with the two digits of x.
struct DigitSums {
  const int32_t *high, *low;
};

// Keys or values of one head in the cache, headDim elements apart.
struct CachedHead {
  KvType type;
  const void* data;
  int nKeys, headDim;
};

// What keys weigh: key j for query i at data[i · queryStride + j · keyStride].
struct KeyWeights {
  const float* data;
  size_t queryStride, keyStride;
  int nQueries;
};

// Weighted sums of values on their way over the keys; those of query i lie at i · stride.
struct ValueSums {
  float* acc;
  size_t stride;
  bool isFirst;  // they begin with +0, whatever acc holds
  float* total;  // or null: with these keys they are complete and are added to the total; acc then holds nothing
};

// Products with many rows of activations by a unit that multiplies whole tiles. Activations are arranged for it once and then serve every
// weight: strips of stripRows rows, each stride bytes further, in which column c of a strip begins at byte stripRows · c. A strip is filled up
// with zero rows.
constexpr int stripRows = 16;
struct StripMatrix {
  const int8_t* data;
  size_t stride;   // of a strip, which may be longer than cols: data then begins at a column that is a multiple of 64
  int rows, cols;  // of activations
  // The strips from that of a row on which begins one.
  [[gnu::always_inline]] StripMatrix part(int first, int n) const { return {data + static_cast<size_t>(first / stripRows) * stride, stride, n, cols}; }
};

// Where scaled products go: those with row i of activations to row i.
struct ScaledRows {
  const float* factors;
  float* out;
  size_t stride;
  bool adds;  // to what is there
  // Rows of the same shape that will be written next, out or others, or null. A kernel may ask for their lines.
  const float* ahead;
  size_t aheadStride;
};

// (x · factor of the lane) · weight of the column, for n columns of a block of lanes.
struct LaneNorm {
  const float *x, *factors, *weight;
  int n;
};

struct QuantisedLanes {
  int8_t* strip;
  int nPadded;    // columns, a multiple of 64
  int32_t* sums;  // [16] of each lane
};

// Rows of activations in lanes: element k of row i lies at 16 · k + i mod 16 in the block of 16 rows that it belongs to. So tiles leave their
// sums, and strips follow from them, without anything being turned. Lanes beyond the last row hold anything.
struct LaneKernels {
  // Rows of a step from which lanes are faster.
  int from;
  // As ternaryScaled, but to.out holds lanes: a block of 16 rows is 16 · to.stride further than the one before. to.ahead likewise.
  void (*ternary)(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to);
  // sumSquares of a block of n elements, lane by lane
  void (*squares)(const float* x, int n, float sums[16]);
  // The largest bits & 0x7fffffff of each lane
  void (*magnitudes)(const LaneNorm& y, uint32_t most[16]);
  // clamp(rne(y · s), −128, 127), s being that of the lane; zeros from n to nPadded
  void (*quantise)(const LaneNorm& y, const float s[16], const QuantisedLanes& to);
};

struct TileKernels {
  // Rows of activations from which each of the two is faster than its counterpart in the table.
  int ternaryFrom, screenFrom;
  // Rows of a multiple of 64 columns to strips of stripRows · cols bytes, 64-byte aligned.
  void (*arrange)(const Int8Matrix& x, int8_t* strips);
  // As ternaryMatmul and screenDots.
  void (*ternary)(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const SumMatrix& acc);
  // float(Σ_k w[r][k] · x[i][k]) · factors[i]: the same with scaleTensor, without the way through memory.
  void (*ternaryScaled)(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to);
  // Or null, where it would never be faster.
  void (*screen)(const Int8Matrix& table, const StripMatrix& x, const SumMatrix& acc);
  // Or null.
  const LaneKernels* lanes;
};

// Rows of activations that were quantised in groups of 128 columns, each with nGroups groups.
struct GroupedRows {
  // Group after group, two groups at a time: for each of the four planes of 32 columns that of the even group, then that of the odd one; zeros
  // in place of a group that an odd number lacks.
  const int8_t* arranged;
  size_t arrangedStride;
  const float* reciprocals;  // 1 / s of each group
  size_t scaleStride;
  // [16 for every two groups] −Σ x of each word of 4 columns in each plane of the even group, then of the odd one; codes are weights + 1.
  const int32_t* offsets;
  size_t offsetStride;
  int nRows, nGroups;
};

// Scales of weights by group, `stride` of them a row; or none (null): 1.
struct GroupScales {
  const float* values;
  size_t stride;
  int groupsPerScale;
};

struct Kernels {
  const char* isa;
  // Null where the instruction set has no such unit.
  const TileKernels* tiles;

  // ---- ternary × int8 → int32 (I2_S 128/32 rows) ----
  // acc.row(i)[r] = Σ_k w[r][k] · x[i][k]; xSums[i] = Σ_k x[i][k]. The columns are a multiple of 128, at most 2²² (so that no sum leaves int32).
  void (*ternaryMatmul)(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc);
  // out[r] = float(acc[r]) · t
  void (*scaleTensor)(const int32_t* acc, int n, float t, float* out);
  // out[r] = float(acc[r]) · (scale[r] / s)
  void (*scaleRow)(const int32_t* acc, int n, const float* scale, float s, float* out);
  // sum[r] = fma(float(acc[r]), scale[r · scaleStride], sum[r])
  void (*foldGroup)(const int32_t* acc, int n, const float* scale, size_t scaleStride, float* sum);
  // out.row(i)[r] = the product of row r with row i of activations in groups (numerics)
  void (*groupDots)(const PackedMatrix& weights, const GroupedRows& x, const GroupScales& scales, const F32Matrix& out);
  // The offsets (GroupedRows) of arranged rows of activations: −Σ x of each word of 4 columns in each plane, 16 for each of nPairs pairs of groups.
  void (*groupOffsets)(const int8_t* arranged, int nPairs, int32_t* offsets);
  // x[i] = x[i] · t
  void (*multiply)(float* x, int n, float t);

  // ---- rows of f32 ----
  float (*sumSquares)(const float* x, int n);
  // out[i] = (x[i] · r) · w[i]; returns the largest bits & 0x7fffffff of out
  uint32_t (*normalise)(const float* x, float r, const float* w, int n, float* out);
  // q[i] = clamp(rne(y[i] · s), −128, 127), zeros from n to nPadded; returns Σ q
  int32_t (*quantise)(const float* y, float s, int n, int nPadded, int8_t* q);
  // Largest bits & 0x7fffffff
  uint32_t (*absMaxBits)(const float* x, int n);
  // x[i] += y[i]
  void (*add)(float* x, const float* y, int n);
  void (*gate)(GateFn fn, const float* gate, const float* up, int n, float* out);
  // Rotates one head in place; table: headDim/2 cosines, then headDim/2 sines
  void (*rope)(float* x, const float* table, int headDim, Pairing pairing);
  // f16 by rne, saturating
  void (*narrow)(const float* x, int n, uint16_t* out);

  // ---- dense weights ----
  // out[i] = f32 of element i of one row
  void (*widen)(DenseType type, const void* row, int n, float* out);
  // out[r] = dot(f32(row r), x); F32, F16 and BF16 only
  void (*denseDots)(DenseType type, const DenseMatrix& weights, const float* x, float* out);

  // ---- the screened head: a copy of the table in int8, one scale s a row ----
  // acc.row(i)[r] = Σ_k table[r][k] · x[i][k]; values of the table lie in −127 … 127; xSums[i] = Σ_k x[i][k]. The columns are a multiple of 64, at
  // most 2¹⁶.
  void (*screenDots)(const Int8Matrix& table, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc);
  // upper[r] ≥ what row r's logit can be, given the sums of its high and low digits (docs/kernels.md)
  void (*screenBounds)(const ScreenFactors& x, const CopiedRows& rows, const DigitSums& sums, float* upper);
  // sum of e·e in stripes, e = fma(−s, q[i], w[i])
  float (*residualSquares)(const float* w, const int8_t* q, float s, int n);

  // ---- attention; rows of queries are headDim wide ----
  // scores.row(i)[j] = dot(q_i, key_j)
  void (*scores)(const ConstF32Matrix& queries, const CachedHead& keys, const F32Matrix& scores);
  // Largest of n ≥ 1 values
  float (*maximum)(const float* x, int n);
  // x[j] = exp(fma(x[j], scale, −m)), and stripes[j mod 16] += x[j]; x[0] belongs to stripe 0
  void (*expStripes)(float* x, int n, float scale, float m, float stripes[16]);
  // acc_i[d] = fma(weight of key j for query i, value_j[d], acc_i[d]) in ascending j
  void (*accumulateValues)(const KeyWeights& weights, const CachedHead& values, const ValueSums& sums);
  // The next three are for many queries at once, one in each lane: rows of a multiple of 16 lanes, as many as their stride. The first writes
  // the first queries.rows lanes of headDim rows, whose order is its own.
  void (*arrangeQueries)(const ConstF32Matrix& queries, const F32Matrix& arranged);
  // scores.row(j)[i] = dot(q_i, key_j) for all lanes i
  void (*laneScores)(const ConstF32Matrix& arranged, const ConstF32Matrix& keys, const F32Matrix& scores);
  // For every lane i: x_j = scores.row(j)[i] becomes exp(fma(x_j, scale, −m)), m = max(x_j) · scale, over one row or more;
  // denominators[i] = their sum in stripes, x_0 in stripe 0
  void (*laneSoftmax)(const F32Matrix& scores, float scale, float* denominators);
  // out[d] = total[d] / denominator
  void (*divide)(const float* total, int n, float denominator, float* out);

  // ---- sampling ----
  // out[i] = float(logits[i] / temperature) + gumbel(key, firstId + i)
  void (*perturb)(const float* logits, int n, const Perturbation& by, float* out);
};

// Fold of the 16 chains, then + 0.0f. Static, like every function in a header here: an inline one would be merged across objects
// that are compiled for different instruction sets.
static inline float foldStripes(float c[16]) {
  for (int half = 8; half >= 1; half /= 2)
    for (int j = 0; j < half; j++) c[j] += c[j + half];
  return c[0] + 0.0f;
}

// Null where the binary was built without that instruction set.
const Kernels* scalarKernels();
const Kernels* avx2Kernels();
const Kernels* avxVnniKernels();
const Kernels* avx512VnniKernels();
const Kernels* amxKernels();
const Kernels* neonDotprodKernels();
const Kernels* neonI8mmKernels();

}  // namespace bitnet
