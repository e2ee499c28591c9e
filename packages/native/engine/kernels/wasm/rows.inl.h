// The ternary product in WebAssembly: one row of activations against four rows of weights at a time, which lie far apart, so that four
// long runs of memory are read beside each other (there is no prefetch); several rows of activations in tiles of two rows of weights, which are
// unpacked once for all of them.
//
// Include after a header that defines in an anonymous namespace: RowSums, what one row of weights has added up, with zero(), add(16 bytes of weights, the
// activations they meet) and spanBlocks, the blocks that it may take before `flush`, which returns the sums in int32 lanes and starts anew;
// RowX and loadRowX(x), the activations that 16 bytes meet (32 columns between those of a plane and the next); TileSums with zero(), add(codes, x) and
// flush() likewise, its spanBlocks; TileCodes and tileCodes(16 codes), TileX and loadTileX(x).
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
    const int span = left < RowSums::spanBlocks ? left : RowSums::spanBlocks;
    // One half of each block after the other: with both at once some engines run out of registers.
#pragma clang loop unroll(disable)
    for (int half = 0; half < 32; half += 16) {
      const uint8_t *pa = a + half, *pb = b + half, *pc = c + half, *pd = d + half;
      const int8_t* px = x + half;
#pragma clang loop unroll(disable)
      for (int n = span; n > 0; n--, pa += 32, pb += 32, pc += 32, pd += 32, px += 128) {
        const RowX part = loadRowX(px);
        sums[0].add(wasm_v128_load(pa), part);
        sums[1].add(wasm_v128_load(pb), part);
        sums[2].add(wasm_v128_load(pc), part);
        sums[3].add(wasm_v128_load(pd), part);
      }
    }
    a += 32 * span, b += 32 * span, c += 32 * span, d += 32 * span, x += 128 * span;
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

// Blocks that two rows of weights are unpacked for at a time, to meet all rows of activations.
constexpr int panelBlocks = TileSums::spanBlocks < 16 ? TileSums::spanBlocks : 16;
constexpr int mostActivations = 128;

// The codes of two rows, 16 of either in turn, in the order of the activations that they meet.
void unpackTwo(const uint8_t* a, const uint8_t* b, int nBlocks, TileCodes* panel) {
  const v128_t three = wasm_i8x16_const_splat(3);
  for (; nBlocks > 0; nBlocks--, a += 32, b += 32, panel += 16) {
#pragma clang loop unroll(full)
    for (int half = 0; half < 2; half++) {
      const v128_t packed[2] = {wasm_v128_load(a + 16 * half), wasm_v128_load(b + 16 * half)};
#pragma clang loop unroll(full)
      for (int plane = 0; plane < 4; plane++) {
        TileCodes* const to = panel + 4 * plane + 2 * half;
        to[0] = tileCodes(wasm_v128_and(wasm_u16x8_shr(packed[0], 6 - 2 * plane), three));
        to[1] = tileCodes(wasm_v128_and(wasm_u16x8_shr(packed[1], 6 - 2 * plane), three));
      }
    }
  }
}

// totals[i][r] += of two rows of weights with nX rows of activations. The loop is short on purpose: of a longer one the compiler makes a chain
// for each sum, one after another, and keeps what they share on the stack.
template <int nX>
void addTile(const TileCodes* panel, const int8_t* x, size_t xStride, int nBlocks, v128_t totals[][2]) {
  TileSums running[nX][2];
  const int8_t* rows[nX];
  for (int i = 0; i < nX; i++) {
    running[i][0] = running[i][1] = TileSums::zero();
    rows[i] = x + static_cast<size_t>(i) * xStride;
  }
#pragma clang loop unroll(disable)
  for (int n = 8 * nBlocks; n > 0; n--, panel += 2) {
    const TileCodes first = panel[0], second = panel[1];
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
  TileCodes panel[16 * panelBlocks];
  for (int i = 0; i < nX; i++) totals[i][0] = totals[i][1] = wasm_i32x4_const_splat(0);
  for (int first = 0; first < nBlocks; first += panelBlocks) {
    const int n = nBlocks - first < panelBlocks ? nBlocks - first : panelBlocks;
    unpackTwo(a + 32 * static_cast<size_t>(first), b + 32 * static_cast<size_t>(first), n, panel);
    const int8_t* part = x + 128 * static_cast<size_t>(first);
    for (int i = 0; i < nX; i += 4, part += 4 * xStride) addTileBySize[nX - i < 4 ? nX - i : 4](panel, part, xStride, n, totals + i);
  }
}

void ternaryMatmul(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums, int nX, int cols,
                   int32_t* acc, size_t accStride) {
  if (nX == 1) return oneActivation(weights, rowBytes, nRows, x, xSums[0], cols / 128, acc);
  for (; nX > 0; nX -= mostActivations, x += mostActivations * xStride, xSums += mostActivations, acc += mostActivations * accStride) {
    const int some = nX < mostActivations ? nX : mostActivations;
    v128_t totals[mostActivations][2];
    const uint8_t* row = weights;
    for (int r = 0; r < nRows; r += 2, row += 2 * rowBytes) {
      const bool hasSecond = r + 1 < nRows;
      twoRows(row, hasSecond ? row + rowBytes : row, x, xStride, some, cols / 128, totals);
      for (int i = 0; i < some; i++) {
        const v128_t sums = sumLanes(totals[i][0], totals[i][1], totals[i][0], totals[i][1]);
        int32_t* const out = acc + static_cast<size_t>(i) * accStride + r;
        out[0] = wasm_i32x4_extract_lane(sums, 0) - xSums[i];
        if (hasSecond) out[1] = wasm_i32x4_extract_lane(sums, 1) - xSums[i];
      }
    }
  }
}

}  // namespace
}  // namespace bitnet
