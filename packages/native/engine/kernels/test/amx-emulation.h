// The tile instructions in plain C++ after the Intel architecture manual, for testing amx/ on machines without them: takes the place of
// the intrinsics. Stops the program where the processor would raise an exception.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "../avx512/intrinsics.h"

namespace bitnet::test {
namespace {

struct Tile {
  int rows, rowBytes;
  uint8_t bytes[16][64];
};

// As after a reset: no tile is configured.
thread_local Tile tiles[8];

void require(bool holds) {
  if (!holds) std::abort();
}

void emulateLoadConfig(const void* config) {
  uint8_t bytes[64];
  std::memcpy(bytes, config, sizeof bytes);
  require(bytes[0] == 1 && bytes[1] == 0);
  for (int i = 2; i < 16; i++) require(bytes[i] == 0);
  for (int t = 0; t < 16; t++) {
    const int rowBytes = bytes[16 + 2 * t] | bytes[17 + 2 * t] << 8, rows = bytes[48 + t];
    require(rows <= 16 && rowBytes <= 64 && (rows == 0) == (rowBytes == 0) && (t < 8 || rows == 0));
    if (t < 8) tiles[t] = {rows, rowBytes, {}};
  }
}

void emulateRelease() { std::memset(tiles, 0, sizeof tiles); }

void emulateLoad(Tile& tile, const void* base, size_t stride) {
  require(tile.rows > 0);
  std::memset(tile.bytes, 0, sizeof tile.bytes);
  for (int r = 0; r < tile.rows; r++) std::memcpy(tile.bytes[r], static_cast<const uint8_t*>(base) + r * stride, tile.rowBytes);
}

void emulateStore(const Tile& tile, void* base, size_t stride) {
  require(tile.rows > 0);
  for (int r = 0; r < tile.rows; r++) std::memcpy(static_cast<uint8_t*>(base) + r * stride, tile.bytes[r], tile.rowBytes);
}

void emulateZero(Tile& tile) {
  require(tile.rows > 0);
  std::memset(tile.bytes, 0, sizeof tile.bytes);
}

// TDPBUSD, TDPBSSD: groups of four bytes of a, of type A, times signed bytes of b.
template <class A>
void emulateMultiply(Tile& sums, const Tile& a, const Tile& b) {
  require(sums.rows > 0 && a.rows > 0 && b.rows > 0);
  require(sums.rows == a.rows && sums.rowBytes == b.rowBytes && a.rowBytes / 4 == b.rows);
  for (int m = 0; m < sums.rows; m++) {
    for (int n = 0; n < sums.rowBytes / 4; n++) {
      int32_t sum;
      std::memcpy(&sum, &sums.bytes[m][4 * n], sizeof sum);
      for (int k = 0; k < a.rowBytes; k++) sum += static_cast<A>(a.bytes[m][k]) * static_cast<int8_t>(b.bytes[k / 4][4 * n + k % 4]);
      std::memcpy(&sums.bytes[m][4 * n], &sum, sizeof sum);
    }
  }
}

}  // namespace
}  // namespace bitnet::test

// What a compiler says of itself that may use the instructions.
#define __AMX_TILE__ 1
#define __AMX_INT8__ 1

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbusd
#undef _tile_dpbssd
#define _tile_loadconfig(config) bitnet::test::emulateLoadConfig(config)
#define _tile_release() bitnet::test::emulateRelease()
#define _tile_loadd(tile, base, stride) bitnet::test::emulateLoad(bitnet::test::tiles[tile], base, stride)
#define _tile_stream_loadd(tile, base, stride) _tile_loadd(tile, base, stride)
#define _tile_stored(tile, base, stride) bitnet::test::emulateStore(bitnet::test::tiles[tile], base, stride)
#define _tile_zero(tile) bitnet::test::emulateZero(bitnet::test::tiles[tile])
#define _tile_dpbusd(sums, a, b) \
  bitnet::test::emulateMultiply<uint8_t>(bitnet::test::tiles[sums], bitnet::test::tiles[a], bitnet::test::tiles[b])
#define _tile_dpbssd(sums, a, b) \
  bitnet::test::emulateMultiply<int8_t>(bitnet::test::tiles[sums], bitnet::test::tiles[a], bitnet::test::tiles[b])
