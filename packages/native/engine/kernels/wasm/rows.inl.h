// The ternary product in WebAssembly: one row of activations against four rows of weights at a time, which lie far apart, so that four
// long streams are read beside each other (there is no prefetch); several rows of activations in tiles of two rows of weights, which are
// unpacked once for all of them.
//
// Include after a header that defines in an anonymous namespace: RowSums, what one row of weights has added up, with zero(), add(16 bytes of weights, the
// activations they meet) and safeBlocks, the blocks that it may take before `flush`, which returns the sums in int32 lanes and starts anew;
// RowX and loadRowX(x), the activations that 16 bytes meet (32 columns between those of a plane and the next); TileSums with zero(), add(codes, x) and
// flush() likewise, its safeBlocks; TileCodes and tileCodes(16 codes), TileX and loadTileX(x).
#pragma once
#include <wasm_simd128.h>

#include "../kernels.h"

namespace bitnet {
namespace {

inline v128_t sumLanes(v128_t a, v128_t b, v128_t c, v128_t d) {
  const v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
  const v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
  return wasm_i32x4_add(wasm_i64x2_shuffle(ab, cd, 0, 2), wasm_i64x2_shuffle(ab, cd, 1, 3));
}

// 16 bytes of every block of four rows. The loop holds no more than fits the registers of the engines: those of some kernels take it in parts.
template <int part>
inline void addHalves(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d, const int8_t* x, int nBlocks, RowSums* sums) {
#pragma clang loop unroll(disable)
  for (int n = nBlocks; n > 0; n--, a += 32, b += 32, c += 32, d += 32, x += 128) {
    const auto values = loadRowX<part>(x);
    sums[0].add<part>(wasm_v128_load(a), values);
    sums[1].add<part>(wasm_v128_load(b), values);
    sums[2].add<part>(wasm_v128_load(c), values);
    sums[3].add<part>(wasm_v128_load(d), values);
  }
  if constexpr (part + 1 < RowSums::parts)
    addHalves<part + 1>(a - 32 * nBlocks, b - 32 * nBlocks, c - 32 * nBlocks, d - 32 * nBlocks, x - 128 * nBlocks, nBlocks, sums);
}

// Σ code · x of four rows.
inline v128_t fourRows(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d, const int8_t* x, int nBlocks) {
  const v128_t zero = wasm_i32x4_const_splat(0);
  v128_t totals[4] = {zero, zero, zero, zero};
  for (int left = nBlocks; left > 0; left -= RowSums::safeBlocks) {
    RowSums sums[4] = {RowSums::zero(), RowSums::zero(), RowSums::zero(), RowSums::zero()};
    const int span = left < RowSums::safeBlocks ? left : RowSums::safeBlocks;
    // One half of each block after the other: with both at once some engines run out of registers.
#pragma clang loop unroll(disable)
    for (int half = 0; half < 32; half += 16) addHalves<0>(a + half, b + half, c + half, d + half, x + half, span, sums);
    a += 32 * span;
    b += 32 * span;
    c += 32 * span;
    d += 32 * span;
    x += 128 * span;
    for (int r = 0; r < 4; r++) totals[r] = wasm_i32x4_add(totals[r], sums[r].flush());
  }
  return sumLanes(totals[0], totals[1], totals[2], totals[3]);
}

void oneActivation(const PackedMatrix& weights, const int8_t* x, int32_t xSum, int nBlocks, int32_t* acc) {
  const v128_t bias = wasm_i32x4_splat(xSum);
  const int perStream = weights.rows / 4;
  const size_t rowBytes = weights.stride, streamBytes = static_cast<size_t>(perStream) * rowBytes;
  const uint8_t* row = weights.data;
  for (int r = 0; r < perStream; r++, row += rowBytes) {
    const v128_t sums =
        wasm_i32x4_sub(fourRows(row, row + streamBytes, row + 2 * streamBytes, row + 3 * streamBytes, x, nBlocks), bias);
    acc[r] = wasm_i32x4_extract_lane(sums, 0);
    acc[perStream + r] = wasm_i32x4_extract_lane(sums, 1);
    acc[2 * perStream + r] = wasm_i32x4_extract_lane(sums, 2);
    acc[3 * perStream + r] = wasm_i32x4_extract_lane(sums, 3);
  }
  row += 3 * streamBytes;
  for (int r = 4 * perStream; r < weights.rows; r++, row += rowBytes)
    acc[r] = wasm_i32x4_extract_lane(fourRows(row, row, row, row, x, nBlocks), 0) - xSum;
}

// Blocks that two rows of weights are unpacked for at a time, to meet all rows of activations.
constexpr int spanBlocks = TileSums::safeBlocks < 16 ? TileSums::safeBlocks : 16;
constexpr int mostActivations = 128;

// The codes of two rows, 16 of either in turn, in the order of the activations that they meet.
void unpackTwo(const uint8_t* a, const uint8_t* b, int nBlocks, TileCodes* span) {
  const v128_t three = wasm_i8x16_const_splat(3);
  for (; nBlocks > 0; nBlocks--, a += 32, b += 32, span += 16) {
#pragma clang loop unroll(full)
    for (int half = 0; half < 2; half++) {
      const v128_t packed[2] = {wasm_v128_load(a + 16 * half), wasm_v128_load(b + 16 * half)};
#pragma clang loop unroll(full)
      for (int plane = 0; plane < 4; plane++) {
        TileCodes* const to = span + 4 * plane + 2 * half;
        to[0] = tileCodes(wasm_v128_and(wasm_u16x8_shr(packed[0], 6 - 2 * plane), three));
        to[1] = tileCodes(wasm_v128_and(wasm_u16x8_shr(packed[1], 6 - 2 * plane), three));
      }
    }
  }
}

// totals[i][r] += of two rows of weights with nX rows of activations. The loop is short on purpose: of a longer one the compiler makes a chain
// for each sum, one after another, and keeps what they share on the stack.
template <int nX>
void addTile(const TileCodes* span, const int8_t* x, size_t xStride, int nBlocks, v128_t totals[][2]) {
  TileSums running[nX][2];
  const int8_t* rows[nX];
  for (int i = 0; i < nX; i++) {
    running[i][0] = running[i][1] = TileSums::zero();
    rows[i] = x + static_cast<size_t>(i) * xStride;
  }
#pragma clang loop unroll(disable)
  for (int n = 8 * nBlocks; n > 0; n--, span += 2) {
    const TileCodes first = span[0], second = span[1];
#pragma clang loop unroll(full)
    for (int i = 0; i < nX; i++) {
      const TileX values = loadTileX(rows[i]);
      running[i][0].add(first, values);
      running[i][1].add(second, values);
      rows[i] += 16;
    }
  }
  for (int i = 0; i < nX; i++) {
    totals[i][0] = wasm_i32x4_add(totals[i][0], running[i][0].flush());
    totals[i][1] = wasm_i32x4_add(totals[i][1], running[i][1].flush());
  }
}

using AddTile = void (*)(const TileCodes*, const int8_t*, size_t, int, v128_t[][2]);
constexpr AddTile addTileBySize[] = {nullptr, addTile<1>, addTile<2>, addTile<3>, addTile<4>};

// Two rows of weights, which may be the same one, with nX ≤ mostActivations rows of activations.
void twoRows(const uint8_t* a, const uint8_t* b, const int8_t* x, size_t xStride, int nX, int nBlocks, v128_t totals[][2]) {
  TileCodes span[16 * spanBlocks];
  for (int i = 0; i < nX; i++) totals[i][0] = totals[i][1] = wasm_i32x4_const_splat(0);
  for (int first = 0; first < nBlocks; first += spanBlocks) {
    const int n = nBlocks - first < spanBlocks ? nBlocks - first : spanBlocks;
    unpackTwo(a + 32 * static_cast<size_t>(first), b + 32 * static_cast<size_t>(first), n, span);
    const int8_t* part = x + 128 * static_cast<size_t>(first);
    for (int i = 0; i < nX; i += 4, part += 4 * xStride) addTileBySize[nX - i < 4 ? nX - i : 4](span, part, xStride, n, totals + i);
  }
}

void ternaryMatmul(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
  if (x.rows == 1) return oneActivation(weights, x.data, xSums[0], x.cols / 128, acc.data);
  for (int first = 0; first < x.rows; first += mostActivations) {
    const int some = x.rows - first < mostActivations ? x.rows - first : mostActivations;
    v128_t totals[mostActivations][2];
    const uint8_t* row = weights.data;
    for (int r = 0; r < weights.rows; r += 2, row += 2 * weights.stride) {
      const bool hasSecond = r + 1 < weights.rows;
      twoRows(row, hasSecond ? row + weights.stride : row, x.row(first), x.stride, some, x.cols / 128, totals);
      for (int i = 0; i < some; i++) {
        const v128_t sums = sumLanes(totals[i][0], totals[i][1], totals[i][0], totals[i][1]);
        int32_t* const out = acc.row(first + i) + r;
        out[0] = wasm_i32x4_extract_lane(sums, 0) - xSums[first + i];
        if (hasSecond) out[1] = wasm_i32x4_extract_lane(sums, 1) - xSums[first + i];
      }
    }
  }
}

}  // namespace
}  // namespace bitnet
