// Strips of activations in AVX-512 registers, for avx512/ and amx/: how they are made, and what becomes of the sums of products with them, a line of
// which holds those of a row of weights with the 16 rows of a strip.
#pragma once
#include "../kernels.h"
#include "intrinsics.h"

namespace bitnet {
namespace {

inline __m512i addFloats(__m512i a, __m512i b) {
  return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
}

// The codes of 128 weights, a byte each.
[[gnu::always_inline]] inline void unpackCodes(const uint8_t* packed, uint8_t* codes) {
  const __m512i codeBits = _mm512_set1_epi8(3);
  const __m512i planes01 = _mm512_inserti64x4(_mm512_set1_epi16(6), _mm256_set1_epi16(4), 1);
  const __m512i planes23 = _mm512_inserti64x4(_mm512_set1_epi16(2), _mm256_setzero_si256(), 1);
  const __m512i twice = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(packed)));
  _mm512_store_si512(codes, _mm512_and_si512(_mm512_srlv_epi16(twice, planes01), codeBits));
  _mm512_store_si512(codes + 64, _mm512_and_si512(_mm512_srlv_epi16(twice, planes23), codeBits));
}

// Calls put(i, Σ[r] = in[stride · r + i]) for i < 16.
template <class Put>
void turnSums(const int32_t* in, Put put, size_t stride = 16) {
  __m512i rows[16], fours[16];
  for (int r = 0; r < 16; r++) rows[r] = _mm512_load_si512(in + stride * r);
  for (int r = 0; r < 16; r += 4) {
    const __m512i ab = _mm512_unpacklo_epi32(rows[r], rows[r + 1]), ab2 = _mm512_unpackhi_epi32(rows[r], rows[r + 1]);
    const __m512i cd = _mm512_unpacklo_epi32(rows[r + 2], rows[r + 3]), cd2 = _mm512_unpackhi_epi32(rows[r + 2], rows[r + 3]);
    fours[r] = _mm512_unpacklo_epi64(ab, cd);
    fours[r + 1] = _mm512_unpackhi_epi64(ab, cd);
    fours[r + 2] = _mm512_unpacklo_epi64(ab2, cd2);
    fours[r + 3] = _mm512_unpackhi_epi64(ab2, cd2);
  }
  for (int c = 0; c < 4; c++) {
    const __m512i evenUpper = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0x88), oddUpper = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0xdd);
    const __m512i evenLower = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0x88), oddLower = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0xdd);
    put(c, _mm512_shuffle_i32x4(evenUpper, evenLower, 0x88));
    put(c + 4, _mm512_shuffle_i32x4(oddUpper, oddLower, 0x88));
    put(c + 8, _mm512_shuffle_i32x4(evenUpper, evenLower, 0xdd));
    put(c + 12, _mm512_shuffle_i32x4(oddUpper, oddLower, 0xdd));
  }
}

// What becomes of the sums with row i of activations, once `bias[i]` is taken off.
struct Sums {
  const int32_t* bias;  // or null
  int32_t* acc;
  size_t stride;
  int32_t* row(int i) const { return acc + i * stride; }
  __m512i of(int i, __m512i sums) const { return _mm512_sub_epi32(sums, _mm512_set1_epi32(bias ? bias[i] : 0)); }
  Sums from(int i, int row) const { return {bias ? bias + i : nullptr, acc + i * stride + row, stride}; }
  static constexpr bool adds() { return false; }
  static constexpr bool asks() { return false; }
  void ask(int) const {}
};

struct ScaledSums {
  const int32_t* bias;
  ScaledRows to;
  float* row(int i) const { return to.out + i * to.stride; }
  __m512i of(int i, __m512i sums) const {
    const __m512 exact = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, _mm512_set1_epi32(bias[i])));
    return _mm512_castps_si512(_mm512_mul_ps(exact, _mm512_set1_ps(to.factors[i])));
  }
  ScaledSums from(int i, int row) const {
    const float* ahead = to.ahead ? to.ahead + i * to.aheadStride + row : nullptr;
    return {bias + i, {to.factors + i, to.out + i * to.stride + row, to.stride, to.adds, ahead, to.aheadStride}};
  }
  bool adds() const { return to.adds; }
  bool asks() const { return to.ahead != nullptr; }
  // For two lines of row i.
  void ask(int i) const {
    __builtin_prefetch(to.ahead + i * to.aheadStride, 1);
    __builtin_prefetch(to.ahead + i * to.aheadStride + 16, 1);
  }
};

// As ScaledSums, but in lanes: i is the first row of a block.
struct LaneSums {
  const int32_t* bias;
  int nX;
  ScaledRows to;
  LaneSums from(int i, int row) const {
    const float* ahead = to.ahead ? to.ahead + i * to.aheadStride + stripRows * row : nullptr;
    return {bias + i, nX - i, {to.factors + i, to.out + i * to.stride + stripRows * row, to.stride, to.adds, ahead, to.aheadStride}};
  }
  bool asks() const { return to.ahead != nullptr; }
  // For two lines of what 32 rows of weights give a block: as many as rows.
  void ask(int i) const {
    const float* lines = to.ahead + i / stripRows * stripRows * to.aheadStride + i % stripRows * 32;
    __builtin_prefetch(lines, 1);
    __builtin_prefetch(lines + 16, 1);
  }
  // Calls put(row, results) for the sums of nRows rows of weights, `stride` apart, with one block.
  template <class Put>
  void each(const int32_t* sums, int nRows, Put put, size_t stride = 16) const {
    const __mmask16 used = nX >= stripRows ? 0xffff : static_cast<__mmask16>((1u << nX) - 1);
    const __m512i biases = _mm512_maskz_loadu_epi32(used, bias);
    const __m512 factors = _mm512_maskz_loadu_ps(used, to.factors);
#pragma GCC unroll 4
    for (int r = 0; r < nRows; r++)
      put(r, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(sums + stride * r), biases)), factors));
  }
  void put(size_t row, __m512 results) const {
    float* at = to.out + stripRows * row;
    _mm512_storeu_ps(at, to.adds ? _mm512_add_ps(_mm512_loadu_ps(at), results) : results);
  }
};

void arrange(const Int8Matrix& x, int8_t* strips) {
  for (int first = 0; first < x.rows; first += stripRows) {
    const int n = x.rows - first < stripRows ? x.rows - first : stripRows;
    for (int k = 0; k < x.cols; k += 64, strips += 1024) {
      alignas(64) int32_t lines[16 * 16];
      for (int i = 0; i < stripRows; i++) {
        const __m512i line = i < n ? _mm512_loadu_si512(x.row(first + i) + k) : _mm512_setzero_si512();
        _mm512_store_si512(lines + 16 * i, line);
      }
      turnSums(lines, [&](int i, __m512i column) { _mm512_store_si512(strips + 64 * i, column); });
    }
  }
}

// Hands on the sums of nRows rows of weights with nX of activations, both at most 16.
template <class To>
void turnTile(const int32_t* sums, int nRows, int nX, const To& to, size_t stride = 16) {
  const auto rows = static_cast<__mmask16>((1u << nRows) - 1);
  turnSums(sums, [&](int j, __m512i column) {
    if (j >= nX) return;
    __m512i values = to.of(j, column);
    if (to.adds()) values = addFloats(_mm512_maskz_loadu_epi32(rows, to.row(j)), values);
    _mm512_mask_storeu_epi32(to.row(j), rows, values);
  }, stride);
}

}  // namespace
}  // namespace bitnet
