// Matrix products by AMX int8 tiles: sums[row of weights][row of activations] of 16 × 16 products over 64 columns. Weights are the first factor,
// whose rows are plain rows of 64 values: 128 packed weights unpack into two of them by shifts alone, and rows of the screen's copy are
// loaded as they lie. Activations are the second factor, 4 columns of 16 rows a line, which `arrange` makes of them once. The sums
// are turned when they leave the tiles.
#pragma once
#include "../avx512/intrinsics.h"
#include "../kernels.h"

namespace bitnet {
namespace {

inline constexpr int tileBytes = 1024;
inline constexpr int lineBytes = 64;
inline constexpr int pairRows = 2 * stripRows;  // rows of weights that go together

// The intrinsics of some compilers do not say that tiles read and write memory: nothing may be moved across here.
inline void orderMemory() { __asm__ volatile("" ::: "memory"); }

// Operand of ldtilecfg.
struct TileConfig {
  uint8_t palette, startRow, reserved[14];
  uint16_t rowBytes[16];
  uint8_t nRows[16];
};
static_assert(sizeof(TileConfig) == 64);

// Tiles 0 and 1: sums with the lower and the upper rows of weights; 2: activations; 3: weights. More tiles would need fewer loads, and
// are as fast where a core belongs to one thread. Beside another hardware thread they are slow: see docs/kernels.md.
inline void configureTiles(int nLower, int nUpper) {
  alignas(64) TileConfig config = {};
  config.palette = 1;
  const int nRows[4] = {nLower, nUpper, stripRows, nLower};
  for (int t = 0; t < 4; t++) {
    config.nRows[t] = static_cast<uint8_t>(nRows[t]);
    config.rowBytes[t] = nRows[t] == 0 ? 0 : lineBytes;
  }
  orderMemory();
  _tile_loadconfig(&config);
}

// Rows of weights, a byte a column.
struct WeightTiles {
  const uint8_t* lower;
  const uint8_t* upper;
  size_t rowBytes;
};

// The sums of one strip: two tiles.
inline constexpr int stripSums = 2 * stripRows * 16;

inline __m512i addFloats(__m512i a, __m512i b) {
  return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
}

inline int leastOf(int a, int b) { return a < b ? a : b; }
inline int ceilOf(int n, int d) { return (n + d - 1) / d; }

// nHalves: 1 where there are only lower rows.
template <int nHalves>
inline void zeroSums() {
  _tile_zero(0);
  if constexpr (nHalves == 2) _tile_zero(1);
}

// Sums that were stored go on.
template <int nHalves>
inline void beginSums(bool isFirst, const int32_t* sums) {
  if (isFirst) return zeroSums<nHalves>();
  orderMemory();
  _tile_loadd(0, sums, lineBytes);
  if constexpr (nHalves == 2) _tile_loadd(1, sums + stripSums / 2, lineBytes);
}

template <int nHalves>
inline void storeSums(int32_t* sums) {
  orderMemory();
  _tile_stored(0, sums, lineBytes);
  if constexpr (nHalves == 2) _tile_stored(1, sums + stripSums / 2, lineBytes);
  orderMemory();
}

// Adds the products of weights and activations to the sums of one tile. A macro, as the number of a tile must stand in the text of the program.
#define BITNET_ADD_TO(isSigned, sums) \
  if constexpr (isSigned) {           \
    _tile_dpbssd(sums, 3, 2);         \
  } else {                            \
    _tile_dpbusd(sums, 3, 2);         \
  }

// Adds the products of nSteps · 64 columns to the sums. Activations are not kept in the first-level cache, where they would take the place of
// weights. between(step) is other work to be done meanwhile.
template <bool isSigned, int nHalves, class Between>
[[gnu::always_inline]] inline void addSteps(const WeightTiles& weights, const int8_t* strip, int nSteps, Between between) {
  for (int step = 0; step < nSteps; step++) {
    orderMemory();
    _tile_stream_loadd(2, strip + static_cast<size_t>(step) * tileBytes, lineBytes);
    _tile_loadd(3, weights.lower + step * lineBytes, weights.rowBytes);
    BITNET_ADD_TO(isSigned, 0)
    orderMemory();
    between(step);
    orderMemory();
    if constexpr (nHalves == 2) {
      _tile_loadd(3, weights.upper + step * lineBytes, weights.rowBytes);
      BITNET_ADD_TO(isSigned, 1)
    }
  }
}

// Calls put(i, Σ[r] = in[16 r + i]) for i < 16.
template <class Put>
void turnSums(const int32_t* in, Put put) {
  __m512i rows[16], fours[16];
  for (int r = 0; r < 16; r++) rows[r] = _mm512_load_si512(in + 16 * r);
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
  // Calls put(row, results) for the sums of nRows rows of weights with one block.
  template <class Put>
  void each(const int32_t* sums, int nRows, Put put) const {
    const __mmask16 used = nX >= stripRows ? 0xffff : static_cast<__mmask16>((1u << nX) - 1);
    const __m512i biases = _mm512_maskz_loadu_epi32(used, bias);
    const __m512 factors = _mm512_maskz_loadu_ps(used, to.factors);
#pragma GCC unroll 4
    for (int r = 0; r < nRows; r++)
      put(r, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_load_si512(sums + stripRows * r), biases)), factors));
  }
  void put(size_t row, __m512 results) const {
    float* at = to.out + stripRows * row;
    _mm512_storeu_ps(at, to.adds ? _mm512_add_ps(_mm512_loadu_ps(at), results) : results);
  }
};

void arrange(const int8_t* x, size_t xStride, int nX, int cols, int8_t* strips) {
  for (int first = 0; first < nX; first += stripRows) {
    const int n = nX - first < stripRows ? nX - first : stripRows;
    for (int k = 0; k < cols; k += lineBytes, strips += tileBytes) {
      alignas(64) int32_t lines[16 * 16];
      for (int i = 0; i < stripRows; i++) {
        const __m512i line = i < n ? _mm512_loadu_si512(x + (first + i) * xStride + k) : _mm512_setzero_si512();
        _mm512_store_si512(lines + 16 * i, line);
      }
      turnSums(lines, [&](int i, __m512i column) { _mm512_store_si512(strips + lineBytes * i, column); });
    }
  }
}

// The codes of 128 weights, a byte each.
[[gnu::always_inline]] inline void unpackBlock(const uint8_t* packed, uint8_t* codes) {
  const __m512i codeBits = _mm512_set1_epi8(3);
  const __m512i planes01 = _mm512_inserti64x4(_mm512_set1_epi16(6), _mm256_set1_epi16(4), 1);
  const __m512i planes23 = _mm512_inserti64x4(_mm512_set1_epi16(2), _mm256_setzero_si256(), 1);
  const __m512i twice = _mm512_broadcast_i64x4(loadHalfVector(packed));
  _mm512_store_si512(codes, _mm512_and_si512(_mm512_srlv_epi16(twice, planes01), codeBits));
  _mm512_store_si512(codes + lineBytes, _mm512_and_si512(_mm512_srlv_epi16(twice, planes23), codeBits));
}

// Hands on the sums of nRows rows of weights with nX of activations, both at most 16.
template <class To>
void turnTile(const int32_t* sums, int nRows, int nX, const To& to) {
  const auto rows = static_cast<__mmask16>((1u << nRows) - 1);
  turnSums(sums, [&](int j, __m512i column) {
    if (j >= nX) return;
    __m512i values = to.of(j, column);
    if (to.adds()) values = addFloats(_mm512_maskz_loadu_epi32(rows, to.row(j)), values);
    _mm512_mask_storeu_epi32(to.row(j), rows, values);
  });
}

// Hands on the sums of nRows weight rows ≤ 32 with nX rows of activations.
template <class To>
void turnStrips(const int32_t* sums, int nRows, int nX, const To& to) {
  for (int i = 0; i < nX; i += stripRows, sums += stripSums) {
    for (int row = 0; row < nRows; row += stripRows)
      turnTile(sums + (row == 0 ? 0 : stripSums / 2), leastOf(nRows - row, stripRows), leastOf(nX - i, stripRows), to.from(i, row));
  }
}

void turnStrips(const int32_t* sums, int nRows, int nX, const LaneSums& to) {
  for (int i = 0; i < nX; i += stripRows, sums += stripSums) {
    const LaneSums block = to.from(i, 0);
    block.each(sums, nRows, [&](int r, __m512 results) { block.put(static_cast<size_t>(r), results); });
  }
}

}  // namespace
}  // namespace bitnet
