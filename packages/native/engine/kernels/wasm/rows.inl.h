// The ternary product in WebAssembly: one row of activations against four rows of weights at a time, which lie far apart, so that four
// long streams are read beside each other (there is no prefetch); several rows of activations in tiles with four rows of weights, whose codes
// are unpacked once for all of them.
//
// Include after a header that defines in an anonymous namespace: RowSums, what one row of weights has added up, with zero(), add(16 bytes of weights, the
// activations they meet) and safeBlocks, the blocks that it may take before `flush`, which returns the sums in int32 lanes and starts anew;
// RowX and loadRowX(x), the activations that 16 bytes meet (32 columns between those of a plane and the next); TileSums with sums, zero(), add(codes, x)
// and flush() likewise, its safeBlocks; tileColumns, the columns of a vector of codes and of one of activations in tiles; putTileCodes(16 codes, to), those
// vectors, tileRows from one to the next; and loadTileX(x).
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

// A tile is the sums of four rows of weights with two rows of activations, 8 of 16 registers; the codes of a span, all that a row of
// activations meets before the next one comes, lie in the first-level cache (20 KiB).
constexpr int tileRows = 4, tileActivations = 2;
constexpr int spanRows = 16;
constexpr int spanBlocks = 10 * tileColumns / 16;
constexpr int blockSteps = 128 / tileColumns;

// The codes of four rows, a vector of each in turn, in the order of the activations that they meet.
void unpackFour(const uint8_t* const rows[tileRows], int nBlocks, v128_t* span) {
  const v128_t three = wasm_i8x16_const_splat(3);
  for (size_t at = 0; at < 32 * static_cast<size_t>(nBlocks); at += 32, span += tileRows * blockSteps) {
    for (int r = 0; r < tileRows; r++) {
#pragma clang loop unroll(full)
      for (int half = 0; half < 2; half++) {
        const v128_t packed = wasm_v128_load(rows[r] + at + 16 * half);
#pragma clang loop unroll(full)
        for (int plane = 0; plane < 4; plane++)
          putTileCodes(wasm_v128_and(wasm_u16x8_shr(packed, 6 - 2 * plane), three), span + tileRows * (2 * plane + half) * (16 / tileColumns) + r);
      }
    }
  }
}

// What lies before is computed before. Left to itself clang makes one chain after another of the sums of several steps, and what they share is kept on
// the stack.
inline void stayInOrder(v128_t& sums) { __asm__ volatile("" : "+r"(sums)); }

// Addresses are made of this pointer alone and constants, which instructions hold; clang would rather make one pointer from another, by additions.
template <class T>
inline void keepApart(T*& pointer) {
  __asm__ volatile("" : "+r"(pointer));
}

// Four rows of weights with nX of activations: sums[i] are those of row i.
template <int nX>
[[gnu::noinline]] void multiplyTile(const v128_t* span, const int8_t* x, size_t xStride, int nBlocks, v128_t sums[nX]) {
  // Steps a turn. Without a sign, so that the compiler knows that no address wraps around and puts it into the instruction.
  constexpr unsigned steps = 4;
  const int8_t* rows[nX];
  for (int i = 0; i < nX; i++) rows[i] = x + static_cast<size_t>(i) * xStride;
  // In memory: registers are for the running sums.
  v128_t room[nX * tileRows];
  v128_t* totals = room;
  keepApart(totals);
  for (int left = nBlocks; left > 0; left -= TileSums::safeBlocks) {
    TileSums running[nX][tileRows];
    for (auto& ofRow : running) {
      for (TileSums& each : ofRow) each = TileSums::zero();
    }
    const int some = left < TileSums::safeBlocks ? left : TileSums::safeBlocks;
#pragma clang loop unroll(disable)
    for (unsigned n = blockSteps / steps * static_cast<unsigned>(some); n > 0; n--, span += steps * tileRows) {
      keepApart(span);
      for (int i = 0; i < nX; i++) keepApart(rows[i]);
#pragma clang loop unroll(full)
      for (unsigned step = 0; step < steps; step++) {
        v128_t values[nX];
        for (int i = 0; i < nX; i++) values[i] = loadTileX(rows[i] + tileColumns * step);
#pragma clang loop unroll(full)
        for (unsigned r = 0; r < tileRows; r++) {
          const v128_t codes = span[tileRows * step + r];
          for (int i = 0; i < nX; i++) {
            running[i][r].add(codes, values[i]);
            stayInOrder(running[i][r].sums);
          }
        }
      }
      for (int i = 0; i < nX; i++) rows[i] += tileColumns * steps;
    }
    const bool isFirst = left == nBlocks;
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < nX * tileRows; i++) {
      const v128_t flushed = running[i / tileRows][i % tileRows].flush();
      totals[i] = isFirst ? flushed : wasm_i32x4_add(totals[i], flushed);
    }
  }
  for (int i = 0; i < nX; i++) {
    const v128_t* const of = totals + tileRows * i;
    sums[i] = sumLanes(of[0], of[1], of[2], of[3]);
  }
}

inline v128_t loadSums(const int32_t* sums, int n) {
  if (n == tileRows) return wasm_v128_load(sums);
  int32_t copy[tileRows] = {};
  for (int r = 0; r < n; r++) copy[r] = sums[r];
  return wasm_v128_load(copy);
}

inline void storeSums(int32_t* to, int n, v128_t sums) {
  if (n == tileRows) return wasm_v128_store(to, sums);
  int32_t copy[tileRows];
  wasm_v128_store(copy, sums);
  for (int r = 0; r < n; r++) to[r] = copy[r];
}

// Columns [first, first + nBlocks) · 128 of at most spanRows rows of weights, from the row `row` on. The sums begin with −xSums in the first columns.
void addSpan(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc, int row, int first, int nBlocks) {
  v128_t span[spanRows * blockSteps * spanBlocks];
  const int nRows = weights.rows - row < spanRows ? weights.rows - row : spanRows;
  const int quadSize = tileRows * blockSteps * nBlocks;
  for (int r = 0; r < nRows; r += tileRows) {
    const uint8_t* rows[tileRows];
    for (int j = 0; j < tileRows; j++) rows[j] = weights.row(row + (r + j < nRows ? r + j : nRows - 1)) + 32 * static_cast<size_t>(first);
    unpackFour(rows, nBlocks, span + r / tileRows * quadSize);
  }
  for (int i = 0; i < x.rows; i += tileActivations) {
    const int nX = x.rows - i < tileActivations ? 1 : tileActivations;
    for (int r = 0; r < nRows; r += tileRows) {
      v128_t sums[tileActivations];
      const v128_t* const codes = span + r / tileRows * quadSize;
      const int8_t* const values = x.row(i) + 128 * static_cast<size_t>(first);
      if (nX == 1) multiplyTile<1>(codes, values, x.stride, nBlocks, sums);
      else multiplyTile<2>(codes, values, x.stride, nBlocks, sums);
      const int n = nRows - r < tileRows ? nRows - r : tileRows;
      for (int k = 0; k < nX; k++) {
        int32_t* const out = acc.row(i + k) + row + r;
        const v128_t before = first == 0 ? wasm_i32x4_splat(-xSums[i + k]) : loadSums(out, n);
        storeSums(out, n, wasm_i32x4_add(before, sums[k]));
      }
    }
  }
}

void manyActivations(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
  const int nBlocks = x.cols / 128, nSpans = (nBlocks + spanBlocks - 1) / spanBlocks;
  const int most = (nBlocks + nSpans - 1) / nSpans;
  for (int row = 0; row < weights.rows; row += spanRows) {
    for (int first = 0; first < nBlocks; first += most) addSpan(weights, x, xSums, acc, row, first, nBlocks - first < most ? nBlocks - first : most);
  }
}

void ternaryMatmul(const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
  if (x.rows == 1) return oneActivation(weights, x.data, xSums[0], x.cols / 128, acc.data);
  manyActivations(weights, x, xSums, acc);
}

}  // namespace
}  // namespace bitnet
