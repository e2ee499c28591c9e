// AMX int8 tiles for many rows (Intel servers since 2023), AVX-512 VNNI for everything else. A panel of ternary.inl.h already lies as a tile
// wants its second factor: 16 steps of 4 codes of each of 16 rows.
#include "../kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && \
    defined(__AVX512VNNI__) && defined(__AMX_TILE__) && defined(__AMX_INT8__)
#include "../avx512/lanes.h"

#include "../avx512/blocks.h"
#include "../avx512/screen.h"
#include "../f32-kernels.inl.h"

namespace bitnet {
namespace {

inline constexpr int panelBlocks = 8;  // 32 KiB

}  // namespace
}  // namespace bitnet

#include "../screen.inl.h"
#include "../ternary.inl.h"

namespace bitnet {
namespace {

// Rows of activations from which tiles pay for unpacking a panel.
inline constexpr int amxFrom = 8;

// Operand of ldtilecfg.
struct TileConfig {
  uint8_t palette, startRow, reserved[14];
  uint16_t rowBytes[16];
  uint8_t nRows[16];
};
static_assert(sizeof(TileConfig) == 64);

// Tiles 0 … 3: sums of activations 0 … 15 and 16 … 31 against vectors 0 and 1; 4, 5: the activations; 6, 7: the codes.
struct TileConfigs {
  TileConfig ofRows[33];  // by the number of rows of activations
};

constexpr TileConfigs makeConfigs() {
  TileConfigs configs = {};
  for (int n = 1; n <= 32; n++) {
    TileConfig& config = configs.ofRows[n];
    config.palette = 1;
    const int first = n < 16 ? n : 16, second = n - first;
    const int nRows[8] = {first, first, second, second, first, second, 16, 16};
    for (int t = 0; t < 8; t++) {
      config.nRows[t] = static_cast<uint8_t>(nRows[t]);
      config.rowBytes[t] = nRows[t] == 0 ? 0 : 64;
    }
  }
  return configs;
}

alignas(64) constexpr TileConfigs tileConfigs = makeConfigs();

// The intrinsics of some compilers do not say that tiles read memory: nothing may be moved across here.
inline void orderMemory() { __asm__ volatile("" ::: "memory"); }

// Up to 16 rows of activations.
void addOneTile(const uint8_t* panel, int nSteps, const int8_t* x, size_t xStride, int32_t* acc, size_t accStride) {
  const size_t accBytes = accStride * sizeof(int32_t);
  _tile_loadd(0, acc, accBytes);
  _tile_loadd(1, acc + tileRows, accBytes);
  for (int step = 0; step < nSteps; step++) {
    const uint8_t* codes = panel + step * 1024;
    _tile_loadd(4, x + 64 * step, xStride);
    _tile_loadd(6, codes, 64);
    _tile_loadd(7, codes + panelBlocks * blockBytes, 64);
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
  }
  _tile_stored(0, acc, accBytes);
  _tile_stored(1, acc + tileRows, accBytes);
}

// 17 to 32 rows.
void addTwoTiles(const uint8_t* panel, int nSteps, const int8_t* x, size_t xStride, int32_t* acc, size_t accStride) {
  const size_t accBytes = accStride * sizeof(int32_t);
  int32_t* lower = acc + 16 * accStride;
  _tile_loadd(0, acc, accBytes);
  _tile_loadd(1, acc + tileRows, accBytes);
  _tile_loadd(2, lower, accBytes);
  _tile_loadd(3, lower + tileRows, accBytes);
  for (int step = 0; step < nSteps; step++) {
    const uint8_t* codes = panel + step * 1024;
    _tile_loadd(4, x + 64 * step, xStride);
    _tile_loadd(6, codes, 64);
    _tile_loadd(7, codes + panelBlocks * blockBytes, 64);
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_loadd(5, x + 16 * xStride + 64 * step, xStride);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  _tile_stored(0, acc, accBytes);
  _tile_stored(1, acc + tileRows, accBytes);
  _tile_stored(2, lower, accBytes);
  _tile_stored(3, lower + tileRows, accBytes);
}

struct AmxTiles {
  static constexpr int step = 32;

  static void add(const uint8_t* panel, int nBlocks, const int8_t* x, size_t xStride, int nX, int32_t* acc, size_t accStride) {
    int configured = 0;
    orderMemory();
    for (int i = 0; i < nX; i += step) {
      const int count = nX - i < step ? nX - i : step;
      if (count != configured) _tile_loadconfig(&tileConfigs.ofRows[count]);
      configured = count;
      const auto addTiles = count <= 16 ? addOneTile : addTwoTiles;
      addTiles(panel, 2 * nBlocks, x + i * xStride, xStride, acc + i * accStride, accStride);
    }
    orderMemory();
  }
};

void tilesOrVectors(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums,
                    int nX, int cols, int32_t* acc, size_t accStride) {
  if (nX < amxFrom) return ternaryMatmul(weights, rowBytes, nRows, x, xStride, xSums, nX, cols, acc, accStride);
  tileMatmul<AmxTiles>(weights, rowBytes, nRows, x, xStride, xSums, nX, cols, acc, accStride);
  // Tiles in use make every switch of threads save 8 KiB.
  _tile_release();
}

constexpr Kernels table = kernelTable("amx", tilesOrVectors, screenDots);

}  // namespace

const Kernels* amxKernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const Kernels* amxKernels() { return nullptr; }

}  // namespace bitnet

#endif
