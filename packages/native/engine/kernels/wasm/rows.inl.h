// The ternary product in WebAssembly: one row of activations against four rows of weights at a time, which lie far apart, so that four
// long runs of memory are read beside each other (there is no prefetch); several rows of activations in tiles of two rows of weights.
//
// Include after a header that defines in an anonymous namespace: RowSums, what one row of weights has added up, with zero(), add(16 bytes of weights, the
// activations they meet) and spanBlocks, the blocks that it may take before `flush`, which returns the sums in int32 lanes and starts anew;
// RowX and loadRowX(x), the activations that 16 bytes meet (32 columns between those of a plane and the next); TileSums with zero(), add(codes, x) and
// flush() likewise, its spanBlocks, TileX and loadTileX(x).
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

// Σ code · x of four rows.
inline v128_t fourRows(const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* d, const int8_t* x, int nBlocks) {
  const v128_t zero = wasm_i32x4_const_splat(0);
  v128_t totals[4] = {zero, zero, zero, zero};
  for (int left = nBlocks; left > 0; left -= RowSums::spanBlocks) {
    RowSums sums[4] = {RowSums::zero(), RowSums::zero(), RowSums::zero(), RowSums::zero()};
    for (int n = left < RowSums::spanBlocks ? left : RowSums::spanBlocks; n > 0; n--) {
#pragma clang loop unroll(full)
      for (int half = 0; half < 32; half += 16) {
        const RowX part = loadRowX(x + half);
        sums[0].add(wasm_v128_load(a + half), part);
        sums[1].add(wasm_v128_load(b + half), part);
        sums[2].add(wasm_v128_load(c + half), part);
        sums[3].add(wasm_v128_load(d + half), part);
      }
      a += 32, b += 32, c += 32, d += 32, x += 128;
    }
    for (int r = 0; r < 4; r++) totals[r] = wasm_i32x4_add(totals[r], sums[r].flush());
  }
  return sumLanes(totals[0], totals[1], totals[2], totals[3]);
}

void oneActivation(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* x, int32_t xSum, int nBlocks, int32_t* acc) {
  const v128_t bias = wasm_i32x4_splat(xSum);
  const int perRun = nRows / 4;
  const size_t runBytes = static_cast<size_t>(perRun) * rowBytes;
  for (int r = 0; r < perRun; r++, weights += rowBytes) {
    const v128_t sums =
        wasm_i32x4_sub(fourRows(weights, weights + runBytes, weights + 2 * runBytes, weights + 3 * runBytes, x, nBlocks), bias);
    acc[r] = wasm_i32x4_extract_lane(sums, 0);
    acc[perRun + r] = wasm_i32x4_extract_lane(sums, 1);
    acc[2 * perRun + r] = wasm_i32x4_extract_lane(sums, 2);
    acc[3 * perRun + r] = wasm_i32x4_extract_lane(sums, 3);
  }
  const uint8_t* row = weights + 3 * runBytes;
  for (int r = 4 * perRun; r < nRows; r++, row += rowBytes)
    acc[r] = wasm_i32x4_extract_lane(fourRows(row, row, row, row, x, nBlocks), 0) - xSum;
}

// sums[r][i] of two rows of weights with nX rows of activations.
template <int nX>
void addTile(const uint8_t* a, const uint8_t* b, const int8_t* x, size_t xStride, int nBlocks, v128_t sums[2][4]) {
  const v128_t zero = wasm_i32x4_const_splat(0), three = wasm_i8x16_const_splat(3);
  v128_t totals[2][nX];
  for (int i = 0; i < nX; i++) totals[0][i] = totals[1][i] = zero;
  for (int left = nBlocks; left > 0; left -= TileSums::spanBlocks) {
    TileSums running[2][nX];
    for (int i = 0; i < nX; i++) running[0][i] = running[1][i] = TileSums::zero();
    for (int n = left < TileSums::spanBlocks ? left : TileSums::spanBlocks; n > 0; n--) {
#pragma clang loop unroll(full)
      for (int half = 0; half < 32; half += 16) {
        const v128_t packed[2] = {wasm_v128_load(a + half), wasm_v128_load(b + half)};
#pragma clang loop unroll(full)
        for (int plane = 0; plane < 4; plane++) {
          const auto codes = [&](v128_t bits) { return wasm_v128_and(plane == 3 ? bits : wasm_u16x8_shr(bits, 6 - 2 * plane), three); };
          const v128_t first = codes(packed[0]), second = codes(packed[1]);
#pragma clang loop unroll(full)
          for (int i = 0; i < nX; i++) {
            const TileX part = loadTileX(x + static_cast<size_t>(i) * xStride + half + 32 * plane);
            running[0][i].add(first, part);
            running[1][i].add(second, part);
          }
        }
      }
      a += 32, b += 32, x += 128;
    }
    for (int i = 0; i < nX; i++) {
      totals[0][i] = wasm_i32x4_add(totals[0][i], running[0][i].flush());
      totals[1][i] = wasm_i32x4_add(totals[1][i], running[1][i].flush());
    }
  }
  for (int i = 0; i < 4; i++) {
    sums[0][i] = i < nX ? totals[0][i < nX ? i : 0] : zero;
    sums[1][i] = i < nX ? totals[1][i < nX ? i : 0] : zero;
  }
}

using AddTile = void (*)(const uint8_t*, const uint8_t*, const int8_t*, size_t, int, v128_t[2][4]);
constexpr AddTile addTileBySize[] = {nullptr, addTile<1>, addTile<2>, addTile<3>, addTile<4>};

void ternaryMatmul(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums, int nX, int cols,
                   int32_t* acc, size_t accStride) {
  if (nX == 1) return oneActivation(weights, rowBytes, nRows, x, xSums[0], cols / 128, acc);
  for (int r = 0; r < nRows; r += 2, weights += 2 * rowBytes) {
    const bool hasSecond = r + 1 < nRows;
    const uint8_t* second = hasSecond ? weights + rowBytes : weights;
    for (int i = 0; i < nX; i += 4) {
      const int some = nX - i < 4 ? nX - i : 4;
      v128_t sums[2][4];
      addTileBySize[some](weights, second, x + static_cast<size_t>(i) * xStride, xStride, cols / 128, sums);
      int32_t rows[2][4];
      for (int j = 0; j < 2; j++) wasm_v128_store(rows[j], sumLanes(sums[j][0], sums[j][1], sums[j][2], sums[j][3]));
      for (int k = 0; k < some; k++) {
        int32_t* const out = acc + static_cast<size_t>(i + k) * accStride + r;
        out[0] = rows[0][k] - xSums[i + k];
        if (hasSecond) out[1] = rows[1][k] - xSums[i + k];
      }
    }
  }
}

}  // namespace
}  // namespace bitnet
