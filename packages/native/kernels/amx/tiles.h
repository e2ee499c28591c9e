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

// Tiles 0 and 1: sums of a strip with the lower and the upper rows of weights; 2: activations; 3: weights; 4 and 5: sums of a second strip,
// where there are to be two. More tiles need fewer loads, but where another hardware thread of the core uses tiles, too few registers are
// left to rename: on a shared Emerald Rapids core four tiles give 2180 GMAC/s alone and 1000 beside such a neighbour, six 2310 and 750.
// That the registers are what lacks is inferred from this; there was no counter to ask.
void configureTiles(int nLower, int nUpper, int nStrips = 1) {
  alignas(64) TileConfig config = {};
  config.palette = 1;
  const int nTiles = nStrips == 1 ? 4 : 6;
  const int nRows[6] = {nLower, nUpper, stripRows, nLower, nLower, nUpper};
  for (int t = 0; t < nTiles; t++) {
    config.nRows[t] = static_cast<uint8_t>(nRows[t]);
    config.rowBytes[t] = nRows[t] == 0 ? 0 : lineBytes;
  }
  orderMemory();
  _tile_loadconfig(&config);
}

// Rows of weights, 64 columns a step, as they lie in memory.
struct WeightTiles {
  const uint8_t* lower;
  const uint8_t* upper;
  size_t rowBytes, stepBytes;
  // So much further lie rows that will be read soon; 0: they have been asked for.
  size_t aheadBytes;
};

// The sums of one strip: two tiles.
inline constexpr int stripSums = 2 * stripRows * 16;

enum class From { Zero, Memory, Tiles };

// Adds the products of weights and activations to the sums of one tile. A macro, as the number of a tile must stand in the text of the program.
#define BITNET_ADD_TO(isSigned, sums) \
  if constexpr (isSigned) {           \
    _tile_dpbssd(sums, 3, 2);         \
  } else {                            \
    _tile_dpbusd(sums, 3, 2);         \
  }

// Adds nSteps · 64 columns to the sums of a strip, which start from zero, lie in memory, or are still in the tiles. Activations that
// `pass` are not kept in the first-level cache, where they would take the place of weights.
template <bool isSigned, int nHalves, bool pass>
void addSteps(const WeightTiles& weights, const int8_t* strip, int nSteps, From from, int32_t* sums) {
  orderMemory();
  if (from == From::Zero) {
    _tile_zero(0);
    if constexpr (nHalves == 2) _tile_zero(1);
  } else if (from == From::Memory) {
    _tile_loadd(0, sums, lineBytes);
    if constexpr (nHalves == 2) _tile_loadd(1, sums + stripSums / 2, lineBytes);
  }
  for (int step = 0; step < nSteps; step++) {
    const uint8_t* lower = weights.lower + step * weights.stepBytes;
    const uint8_t* upper = weights.upper + step * weights.stepBytes;
    const int8_t* tile = strip + static_cast<size_t>(step) * tileBytes;
    if (weights.aheadBytes != 0) {
      for (int r = 0; r < stripRows; r++) {
        __builtin_prefetch(lower + r * weights.rowBytes + weights.aheadBytes, 0, 2);
        if constexpr (nHalves == 2) __builtin_prefetch(upper + r * weights.rowBytes + weights.aheadBytes, 0, 2);
      }
    }
    if constexpr (pass) {
      _tile_stream_loadd(2, tile, lineBytes);
    } else {
      _tile_loadd(2, tile, lineBytes);
    }
    _tile_loadd(3, lower, weights.rowBytes);
    BITNET_ADD_TO(isSigned, 0)
    if constexpr (nHalves == 2) {
      _tile_loadd(3, upper, weights.rowBytes);
      BITNET_ADD_TO(isSigned, 1)
    }
  }
  _tile_stored(0, sums, lineBytes);
  if constexpr (nHalves == 2) _tile_stored(1, sums + stripSums / 2, lineBytes);
  orderMemory();
}

// Strips whose part of a span stays in the first-level cache beside the weights of the span.
inline constexpr int keptStrips = 2;

// The same for all strips; their sums follow each other.
template <bool isSigned, int nHalves>
void addStrips(WeightTiles weights, const int8_t* x, size_t stripBytes, int nStrips, int nSteps, bool isFirst, int32_t* sums) {
  const From from = isFirst ? From::Zero : nStrips == 1 ? From::Tiles : From::Memory;
  const auto add = nStrips > keptStrips ? addSteps<isSigned, nHalves, true> : addSteps<isSigned, nHalves, false>;
  for (int s = 0; s < nStrips; s++, weights.aheadBytes = 0) add(weights, x + s * stripBytes, nSteps, from, sums + s * stripSums);
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
};

struct ScaledSums {
  const int32_t* bias;
  const float* t;
  float* out;
  size_t stride;
  float* row(int i) const { return out + i * stride; }
  __m512i of(int i, __m512i sums) const {
    const __m512 exact = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, _mm512_set1_epi32(bias[i])));
    return _mm512_castps_si512(_mm512_mul_ps(exact, _mm512_set1_ps(t[i])));
  }
  ScaledSums from(int i, int row) const { return {bias + i, t + i, out + i * stride + row, stride}; }
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

// Two tiles of 16 rows from one block of each.
inline void unpackRows(const uint8_t* const rows[stripRows], size_t offset, uint8_t* out) {
  const __m512i codeBits = _mm512_set1_epi8(3);
  const __m512i planes01 = _mm512_inserti64x4(_mm512_set1_epi16(6), _mm256_set1_epi16(4), 1);
  const __m512i planes23 = _mm512_inserti64x4(_mm512_set1_epi16(2), _mm256_setzero_si256(), 1);
  for (int r = 0; r < stripRows; r++) {
    const __m512i packed = _mm512_broadcast_i64x4(loadHalfVector(rows[r] + offset));
    auto* to = reinterpret_cast<__m512i*>(out) + r;
    _mm512_store_si512(to, _mm512_and_si512(_mm512_srlv_epi16(packed, planes01), codeBits));
    _mm512_store_si512(to + stripRows, _mm512_and_si512(_mm512_srlv_epi16(packed, planes23), codeBits));
  }
}

}  // namespace
}  // namespace bitnet
