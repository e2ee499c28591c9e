// Dense weights: widening and dot products. Block layouts from llama.cpp. Include after a lanes.h.
#pragma once
#include "f32-lanes.inl.h"

namespace bitnet {
namespace {

template <class Elements>
void widenElements(const void* row, int n, float* out) {
  const auto* p = static_cast<const typename Elements::Type*>(row);
  int i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int b = 0; b < 4; b++) store(out + i + lanes * b, Elements::get(p + i + lanes * b));
  }
  for (; i + lanes <= n; i += lanes) store(out + i, Elements::get(p + i));
  if (i < n) storeSome(out + i, n - i, Elements::getSome(p + i, n - i));
}

struct Q8Block {
  uint16_t d;
  int8_t q[32];
};
static_assert(sizeof(Q8Block) == 34);

struct Q4Block {
  uint16_t d;
  uint8_t q[16];  // element j < 16 in the low half of byte j, element 16 + j in the high half
};
static_assert(sizeof(Q4Block) == 18);

struct Q6Block {
  uint8_t low[128];
  uint8_t high[64];
  int8_t sub[16];
  uint16_t d;
};
static_assert(sizeof(Q6Block) == 210);

template <class Block>
Block blockAt(const void* row, int index) {
  Block block;
  std::memcpy(&block, static_cast<const uint8_t*>(row) + index * sizeof(Block), sizeof(Block));
  return block;
}

// 16 elements of one scale: scale · (q − zero).
F32x16 scaledInts(I32x16 q, int zero, float scale) {
  return multiply(splat(scale), toFloat(addInt(q, splatInt(-zero))));
}

void widenQ8(const void* row, int n, float* out) {
  for (int i = 0; i < n; i += 32) {
    const auto block = blockAt<Q8Block>(row, i / 32);
    const float d = halfToFloat(block.d);
    for (int j = 0; j < 32; j += lanes) store(out + i + j, scaledInts(loadSignedBytes(block.q + j), 0, d));
  }
}

void widenQ4(const void* row, int n, float* out) {
  for (int i = 0; i < n; i += 32) {
    const auto block = blockAt<Q4Block>(row, i / 32);
    const float d = halfToFloat(block.d);
    const I32x16 bytes = loadUnsignedBytes(block.q);
    store(out + i, scaledInts(andInt(bytes, splatInt(15)), 8, d));
    store(out + i + lanes, scaledInts(shiftRight<4>(bytes), 8, d));
  }
}

// Quarter k of half a block: 32 elements, low bits from byte 32 · (k mod 2) + j, nibble ⌊k / 2⌋, high bits 2k of byte j.
template <int k>
void widenQ6Quarter(const uint8_t* low, const uint8_t* high, const int8_t* sub, float d, float* out) {
  for (int j = 0; j < 32; j += lanes) {
    const I32x16 lowBits = andInt(shiftRight<4 * (k / 2)>(loadUnsignedBytes(low + 32 * (k % 2) + j)), splatInt(15));
    const I32x16 highBits = andInt(shiftRight<2 * k>(loadUnsignedBytes(high + j)), splatInt(3));
    const float scale = d * static_cast<float>(sub[2 * k + j / 16]);
    store(out + 32 * k + j, scaledInts(orInt(lowBits, shiftLeft<4>(highBits)), 32, scale));
  }
}

void widenQ6(const void* row, int n, float* out) {
  for (int i = 0; i < n; i += 128) {
    const auto block = blockAt<Q6Block>(row, i / 256);
    const int half = i / 128 % 2;
    const uint8_t *low = block.low + 64 * half, *high = block.high + 32 * half;
    const int8_t* sub = block.sub + 8 * half;
    const float d = halfToFloat(block.d);
    widenQ6Quarter<0>(low, high, sub, d, out + i);
    widenQ6Quarter<1>(low, high, sub, d, out + i);
    widenQ6Quarter<2>(low, high, sub, d, out + i);
    widenQ6Quarter<3>(low, high, sub, d, out + i);
  }
}

struct TritsBlock {
  uint16_t d;
  uint8_t q[32];  // element j at bits 2 · (j mod 4) of byte ⌊j / 4⌋; code − 1
};
static_assert(sizeof(TritsBlock) == 34);

#ifndef BITNET_LANES_CHOOSE
typedef float Quad __attribute__((vector_size(16)));

// The four weights of every byte.
struct TritTable {
  Quad quads[256];
  constexpr TritTable() : quads() {
    for (int byte = 0; byte < 256; byte++)
      quads[byte] = Quad{static_cast<float>((byte & 3) - 1), static_cast<float>((byte >> 2 & 3) - 1),
                         static_cast<float>((byte >> 4 & 3) - 1), static_cast<float>((byte >> 6) - 1)};
  }
};
constexpr TritTable tritTable;
#endif

void widenTrits(const void* row, int n, float* out) {
  for (int i = 0; i < n; i += 128) {
    const auto block = blockAt<TritsBlock>(row, i / 128);
    const float d = halfToFloat(block.d);
#ifdef BITNET_LANES_CHOOSE
    const float four[4] = {d * -1.0f, d * 0.0f, d * 1.0f, d * 2.0f};
    for (int j = 0; j < 8; j++) {
      uint32_t codes;
      std::memcpy(&codes, block.q + 4 * j, sizeof codes);
      store(out + i + 16 * j, choose(four, codes));
    }
#else
    const Quad scale = {d, d, d, d};
    for (int j = 0; j < 32; j++) {
      const Quad values = scale * tritTable.quads[block.q[j]];
      std::memcpy(out + i + 4 * j, &values, sizeof values);
    }
#endif
  }
}

struct Q4KBlock {
  uint16_t d, dmin;
  uint8_t six[12];  // scales and minima of eight parts
  uint8_t q[128];
};
static_assert(sizeof(Q4KBlock) == 144);

// Two parts of 32 weights: the low and the high halves of 32 bytes.
void widenQ4K(const void* row, int n, float* out) {
  for (int i = 0; i < n; i += 256) {
    const auto block = blockAt<Q4KBlock>(row, i / 256);
    const float d = halfToFloat(block.d), dmin = halfToFloat(block.dmin);
    for (int part = 0; part < 8; part++) {
      const uint8_t* six = block.six;
      const int scale = part < 4 ? six[part] & 63 : (six[part + 4] & 15) | (six[part - 4] >> 6) << 4;
      const int least = part < 4 ? six[part + 4] & 63 : six[part + 4] >> 4 | (six[part] >> 6) << 4;
      const F32x16 minimum = splat(dmin * static_cast<float>(least));
      for (int j = 0; j < 32; j += lanes) {
        const I32x16 bytes = loadUnsignedBytes(block.q + 32 * (part / 2) + j);
        const I32x16 q = part % 2 == 0 ? andInt(bytes, splatInt(15)) : shiftRight<4>(bytes);
        store(out + i + 32 * part + j, subtract(scaledInts(q, 0, d * static_cast<float>(scale)), minimum));
      }
    }
  }
}

void widen(DenseType type, const void* row, int n, float* out) {
  switch (type) {
    case DenseType::F32:
      return widenElements<F32Elements>(row, n, out);
    case DenseType::F16:
      return widenElements<F16Elements>(row, n, out);
    case DenseType::BF16:
      return widenElements<Bf16Elements>(row, n, out);
    case DenseType::Q8_0:
      return widenQ8(row, n, out);
    case DenseType::Q6_K:
      return widenQ6(row, n, out);
    case DenseType::Q4_0:
      return widenQ4(row, n, out);
    case DenseType::Trits:
      return widenTrits(row, n, out);
    case DenseType::Q4_K:
      return widenQ4K(row, n, out);
  }
}

// out[r] = dot(row r, x) for 4 rows, or for 1. `nextBytes` further lie the rows that come next: asked for early, since four streams are
// more than a prefetcher follows.
template <class Elements, int nRows>
void dotRows(const typename Elements::Type* const rows[nRows], size_t nextBytes, const float* x, int n, float* out) {
  F32x16 chains[nRows];
  for (int r = 0; r < nRows; r++) chains[r] = splat(0.0f);
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    const F32x16 v = load(x + i);
    for (int r = 0; r < nRows; r++) {
      __builtin_prefetch(reinterpret_cast<const uint8_t*>(rows[r] + i) + nextBytes);
      chains[r] = mulAdd(Elements::get(rows[r] + i), v, chains[r]);
    }
  }
  if (i < n) {
    const F32x16 v = loadSome(x + i, n - i, 0.0f);
    for (int r = 0; r < nRows; r++) chains[r] = mulAdd(Elements::getSome(rows[r] + i, n - i), v, chains[r]);
  }
  if constexpr (nRows == 4) {
    fold4(chains[0], chains[1], chains[2], chains[3], out);
  } else {
    for (int r = 0; r < nRows; r++) out[r] = fold(chains[r]);
  }
}

template <class Elements>
void dotAllRows(const DenseMatrix& weights, const float* x, float* out) {
  using Type = typename Elements::Type;
  const int n = weights.cols;
  const auto row = [&](int r) { return reinterpret_cast<const Type*>(weights.row(r)); };
  int r = 0;
  for (; r + 4 <= weights.rows; r += 4) {
    const Type* const rows[4] = {row(r), row(r + 1), row(r + 2), row(r + 3)};
    dotRows<Elements, 4>(rows, 4 * weights.stride, x, n, out + r);
  }
  for (; r < weights.rows; r++) {
    const Type* const rows[1] = {row(r)};
    dotRows<Elements, 1>(rows, weights.stride, x, n, out + r);
  }
}

void denseDots(DenseType type, const DenseMatrix& weights, const float* x, float* out) {
  if (type == DenseType::F32) return dotAllRows<F32Elements>(weights, x, out);
  if (type == DenseType::F16) return dotAllRows<F16Elements>(weights, x, out);
  if (type == DenseType::BF16) return dotAllRows<Bf16Elements>(weights, x, out);
}

}  // namespace
}  // namespace bitnet
