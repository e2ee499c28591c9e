// Bare loops of the instructions that the kernel tables live on, without loads: what one core could multiply at most. Best of several
// repeats.
#pragma once
#include <chrono>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include "../avx512/intrinsics.h"
#endif

namespace bitnet::bench {

template <class Fn>
inline double bestSeconds(int repeats, Fn fn) {
  double best = 1e30;
  for (int i = 0; i < repeats; i++) {
    const auto start = std::chrono::steady_clock::now();
    fn();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seconds < best) best = seconds;
  }
  return best;
}

constexpr int spins = 2'000'000;

#if defined(__x86_64__)

// `instructions` adds products of %2 and %3 to the sum %0 and may use %1; ten sums hide the latency.
#define BITNET_SPIN(features, name, Vector, instructions)                                              \
  __attribute__((target(features), noinline)) inline void name(int rounds) {                           \
    Vector sums[10] = {}, a = {}, b = {}, rest = {};                                                   \
    for (int i = 0; i < rounds; i++) {                                                                 \
      for (auto& sum : sums) __asm__ volatile(instructions : "+v"(sum), "+&v"(rest) : "v"(a), "v"(b)); \
    }                                                                                                  \
  }

BITNET_SPIN("avx512f,avx512vl", spinAvx512, __m512i, "vpdpbusd %3, %2, %0")
BITNET_SPIN("avx2,avxvnni", spinAvxVnni, __m256i, "%{vex%} vpdpbusd %3, %2, %0")
BITNET_SPIN("avx2", spinAvx2, __m256i, "vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0")
BITNET_SPIN("avx512f,avx512vl", spinFma512, __m512, "vfmadd231ps %3, %2, %0")
BITNET_SPIN("avx2,fma", spinFma256, __m256, "vfmadd231ps %3, %2, %0")

inline double perSecond(void (*spin)(int), int macsPerRound, int rounds = spins) {
  return static_cast<double>(macsPerRound) * rounds / bestSeconds(5, [&] { spin(rounds); });
}

#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11

struct TileConfig {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t nRows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Four sums, as in the kernel: all that the tiles have room for beside two factors each. Loading the configuration clears them.
__attribute__((target("amx-tile,amx-int8"), noinline)) inline void spinAmx(int rounds) {
  alignas(64) const TileConfig config;
  __asm__ volatile("" ::"r"(&config) : "memory");  // some intrinsics do not say that they read all of it
  _tile_loadconfig(&config);
  for (int i = 0; i < rounds; i++) {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  _tile_release();
}

// To be asked only where the table is supported, which includes the permission to use tiles.
inline double bareTiles() { return perSecond(spinAmx, 4 * 16 * 16 * 64, 200'000); }

#else

inline double bareTiles() { return 0; }

#endif

// Multiply-adds per second, 0 where there is no such loop.
inline double bareMultiply(const char* isa) {
  if (std::strcmp(isa, "amx") == 0) return bareTiles();
  if (std::strcmp(isa, "avx512vnni") == 0) return perSecond(spinAvx512, 64 * 10);
  if (std::strcmp(isa, "avxvnni") == 0) return perSecond(spinAvxVnni, 32 * 10);
  if (std::strcmp(isa, "avx2") == 0) return perSecond(spinAvx2, 32 * 10);
  return 0;
}

// Of f32, as attention needs.
inline double bareFma(const char* isa) {
  const bool is512 = std::strcmp(isa, "avx512vnni") == 0 || std::strcmp(isa, "amx") == 0;
  return is512 ? perSecond(spinFma512, 16 * 10) : perSecond(spinFma256, 8 * 10);
}

#else

inline double bareMultiply(const char*) { return 0; }
inline double bareFma(const char*) { return 0; }

#endif

}  // namespace bitnet::bench
