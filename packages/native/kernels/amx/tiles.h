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

// Tiles 0 … 3: sums of strip 0 with the lower and the upper rows of weights, then of strip 1; 4: activations; 5: weights. Not more tiles,
// although some weights are loaded twice for it: with eight tiles in use the loop has two speeds on a shared Emerald Rapids core, the slower
// one 0.7 × that of six tiles; the faster ones are alike. Loops of loads and products slow down with the number of tiles in use, so probably
// two hardware threads share too few registers to rename.
void configureTiles(int nLower, int nUpper) {
  alignas(64) TileConfig config = {};
  config.palette = 1;
  const int nRows[6] = {nLower, nUpper, nLower, nUpper, stripRows, nLower};
  for (int t = 0; t < 6; t++) {
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

// Adds nSteps · 64 columns to the sums in the tiles.
template <bool isSigned, int nHalves, int nStrips>
void addSteps(const WeightTiles& weights, const int8_t* x, size_t stripBytes, int nSteps) {
  // The number of a tile must stand in the text of the program.
#define BITNET_ADD(sums)         \
  if constexpr (isSigned) {      \
    _tile_dpbssd(sums, 5, 4);    \
  } else {                       \
    _tile_dpbusd(sums, 5, 4);    \
  }
  for (int step = 0; step < nSteps; step++) {
    const uint8_t* lower = weights.lower + step * weights.stepBytes;
    const uint8_t* upper = weights.upper + step * weights.stepBytes;
    const int8_t* tile = x + static_cast<size_t>(step) * tileBytes;
    if (weights.aheadBytes != 0) {
      for (int r = 0; r < stripRows; r++) {
        __builtin_prefetch(lower + r * weights.rowBytes + weights.aheadBytes, 0, 2);
        if constexpr (nHalves == 2) __builtin_prefetch(upper + r * weights.rowBytes + weights.aheadBytes, 0, 2);
      }
    }
    _tile_loadd(4, tile, lineBytes);
    _tile_loadd(5, lower, weights.rowBytes);
    BITNET_ADD(0)
    if constexpr (nHalves == 2) {
      _tile_loadd(5, upper, weights.rowBytes);
      BITNET_ADD(1)
    }
    if constexpr (nStrips == 2) {
      _tile_loadd(4, tile + stripBytes, lineBytes);
      if constexpr (nHalves == 2) {
        BITNET_ADD(3)
        _tile_loadd(5, lower, weights.rowBytes);
      }
      BITNET_ADD(2)
    }
  }
#undef BITNET_ADD
}

// The sums of one strip: two tiles.
inline constexpr int stripSums = 2 * stripRows * 16;

enum class From { Zero, Memory, Tiles };

// Adds to sums of one or two strips that start from zero, lie in memory, or are still in the tiles.
template <bool isSigned, int nHalves, int nStrips>
void addToSums(const WeightTiles& weights, const int8_t* x, size_t stripBytes, int nSteps, From from, int32_t* sums) {
  orderMemory();
  if (from == From::Zero) {
    _tile_zero(0);
    if constexpr (nHalves == 2) _tile_zero(1);
    if constexpr (nStrips == 2) _tile_zero(2);
    if constexpr (nHalves == 2 && nStrips == 2) _tile_zero(3);
  } else if (from == From::Memory) {
    _tile_loadd(0, sums, lineBytes);
    if constexpr (nHalves == 2) _tile_loadd(1, sums + stripSums / 2, lineBytes);
    if constexpr (nStrips == 2) _tile_loadd(2, sums + stripSums, lineBytes);
    if constexpr (nHalves == 2 && nStrips == 2) _tile_loadd(3, sums + stripSums + stripSums / 2, lineBytes);
  }
  addSteps<isSigned, nHalves, nStrips>(weights, x, stripBytes, nSteps);
  _tile_stored(0, sums, lineBytes);
  if constexpr (nHalves == 2) _tile_stored(1, sums + stripSums / 2, lineBytes);
  if constexpr (nStrips == 2) _tile_stored(2, sums + stripSums, lineBytes);
  if constexpr (nHalves == 2 && nStrips == 2) _tile_stored(3, sums + stripSums + stripSums / 2, lineBytes);
  orderMemory();
}

// The same for all strips.
template <bool isSigned, int nHalves>
void addStrips(WeightTiles weights, const int8_t* x, size_t stripBytes, int nStrips, int nSteps, bool isFirst, int32_t* sums) {
  const From from = isFirst ? From::Zero : nStrips <= 2 ? From::Tiles : From::Memory;
  int s = 0;
  for (; s + 2 <= nStrips; s += 2) {
    addToSums<isSigned, nHalves, 2>(weights, x + s * stripBytes, stripBytes, nSteps, from, sums + s * stripSums);
    weights.aheadBytes = 0;
  }
  if (s < nStrips) addToSums<isSigned, nHalves, 1>(weights, x + s * stripBytes, stripBytes, nSteps, from, sums + s * stripSums);
}

// out[i · outStride + r] = in[16 r + i] − bias[i] for r < nRows, i < nX; both at most 16.
void turnSums(const int32_t* in, int nRows, int nX, const int32_t* bias, int32_t* out, size_t outStride) {
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
  const __mmask16 mask = static_cast<__mmask16>((1u << nRows) - 1);
  const auto put = [&](int i, __m512i sums) {
    if (i >= nX) return;
    _mm512_mask_storeu_epi32(out + i * outStride, mask, _mm512_sub_epi32(sums, _mm512_set1_epi32(bias ? bias[i] : 0)));
  };
  for (int c = 0; c < 4; c++) {
    const __m512i evenUpper = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0x88), oddUpper = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0xdd);
    const __m512i evenLower = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0x88), oddLower = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0xdd);
    put(c, _mm512_shuffle_i32x4(evenUpper, evenLower, 0x88));
    put(c + 4, _mm512_shuffle_i32x4(oddUpper, oddLower, 0x88));
    put(c + 8, _mm512_shuffle_i32x4(evenUpper, evenLower, 0xdd));
    put(c + 12, _mm512_shuffle_i32x4(oddUpper, oddLower, 0xdd));
  }
}

void arrange(const int8_t* x, size_t xStride, int nX, int cols, int8_t* strips) {
  for (int first = 0; first < nX; first += stripRows) {
    const int n = nX - first < stripRows ? nX - first : stripRows;
    for (int k = 0; k < cols; k += lineBytes, strips += tileBytes) {
      alignas(64) int32_t lines[16 * 16];
      for (int i = 0; i < stripRows; i++) {
        const __m512i line = i < n ? _mm512_loadu_si512(x + (first + i) * xStride + k) : _mm512_setzero_si512();
        _mm512_store_si512(lines + 16 * i, line);
      }
      turnSums(lines, 16, 16, nullptr, reinterpret_cast<int32_t*>(strips), 16);
    }
  }
}

}  // namespace
}  // namespace bitnet
