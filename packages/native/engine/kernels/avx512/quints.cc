// Five weights in a byte with AVX-512 VBMI (Intel since Ice Lake, AMD since Zen 4): `vpermb` looks up 64 digits at a time by the low six
// bits of each index, so that the bits above need no masking. The layout is described in quints.h.
#include "../quints.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && defined(__AVX512VNNI__) && \
    defined(__AVX512VBMI__)
#include "intrinsics.h"

#include <cstring>

namespace bitnet {
namespace {

// Bytes from here on hold b = 8, and a in what is above.
constexpr int escape = 216;
// How far ahead of the stream memory is asked for; measured on Zen 5.
constexpr size_t aheadBytes = 4096;

struct alignas(64) DigitTables {
  uint8_t ofA[3][64];        // digits of a, by a in the low five bits
  uint8_t ofEscaped[3][64];  // digits of a, by the low six bits of escape + a
  uint8_t ofB[2][64];        // digits of b < 8, by b in the low three bits
};

constexpr DigitTables makeTables() {
  DigitTables made = {};
  for (int i = 0; i < 64; i++) {
    int power = 1;
    for (int j = 0; j < 3; j++, power *= 3) {
      const int a = i % 32;
      if (a < 27) {
        made.ofA[j][i] = static_cast<uint8_t>(a / power % 3);
        made.ofEscaped[j][(escape + a) % 64] = static_cast<uint8_t>(a / power % 3);
      }
      if (j < 2) made.ofB[j][i] = static_cast<uint8_t>(i % 8 / power % 3);
    }
  }
  return made;
}

constexpr DigitTables tables = makeTables();

struct Digits {
  __m512i ofA[3], ofEscaped[3], ofB[2], two, escapes;
};

inline Digits loadDigits() {
  Digits d;
  for (int j = 0; j < 3; j++) d.ofA[j] = _mm512_load_si512(tables.ofA[j]);
  for (int j = 0; j < 3; j++) d.ofEscaped[j] = _mm512_load_si512(tables.ofEscaped[j]);
  for (int j = 0; j < 2; j++) d.ofB[j] = _mm512_load_si512(tables.ofB[j]);
  d.two = _mm512_set1_epi8(2);
  d.escapes = _mm512_set1_epi8(static_cast<char>(escape));
  return d;
}

// The five codes of 64 bytes each.
inline void unpack(const Digits& d, __m512i packed, __m512i codes[5]) {
  const __mmask64 escaped = _mm512_cmpge_epu8_mask(packed, d.escapes), plain = _knot_mask64(escaped);
  // The next byte's lowest bits come along, which the tables ignore.
  const __m512i a = _mm512_srli_epi16(packed, 3);
  for (int j = 0; j < 3; j++)
    codes[j] = _mm512_mask_permutexvar_epi8(_mm512_permutexvar_epi8(a, d.ofA[j]), escaped, packed, d.ofEscaped[j]);
  for (int j = 0; j < 2; j++) codes[3 + j] = _mm512_mask_permutexvar_epi8(d.two, plain, packed, d.ofB[j]);
}

// Sums of four vectors of int32.
inline __m128i reduce4(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// Independent sums of one row: a single row of activations gives too few to hide the latency of a multiply-add.
template <int nX>
inline constexpr int chains = nX == 1 ? 2 : 1;

// Adds a vector of four rows each. `x` are the activations of its 320 weights.
template <int nX>
inline void addVector(const Digits& d, const uint8_t* packed, const int8_t* x, size_t xStride, __m512i (&sums)[nX][quintRows][chains<nX>]) {
  for (int r = 0; r < quintRows; r++) {
    const uint8_t* at = packed + r * quintVectorBytes;
    __builtin_prefetch(at + aheadBytes);
    __m512i codes[5];
    unpack(d, _mm512_load_si512(at), codes);
    for (int i = 0; i < nX; i++) {
      for (int j = 0; j < 5; j++) {
        __m512i& sum = sums[i][r][j % chains<nX>];
        sum = _mm512_dpbusd_epi32(sum, codes[j], _mm512_loadu_si512(x + i * xStride + 64 * j));
      }
    }
  }
}

// `ends` are the activations of the last vector, filled up with zeros, quintVectorCodes apart.
template <int nX>
void rowsMatmul(const uint8_t* quints, int nRows, const int8_t* x, size_t xStride, const int8_t* ends, const int32_t* xSums, int cols,
                int32_t* acc, size_t accStride) {
  const Digits digits = loadDigits();
  const size_t whole = static_cast<size_t>(cols) / quintVectorCodes;
  for (int first = 0; first < nRows; first += quintRows) {
    __m512i sums[nX][quintRows][chains<nX>];
    for (auto& ofX : sums) {
      for (auto& ofRow : ofX) {
        for (auto& sum : ofRow) sum = _mm512_setzero_si512();
      }
    }
    for (size_t v = 0; v < whole; v++, quints += quintRows * quintVectorBytes)
      addVector<nX>(digits, quints, x + v * quintVectorCodes, xStride, sums);
    if (whole < quintVectors(cols)) {
      addVector<nX>(digits, quints, ends, quintVectorCodes, sums);
      quints += quintRows * quintVectorBytes;
    }
    const int count = nRows - first < quintRows ? nRows - first : quintRows;
    const auto inUse = static_cast<__mmask8>((1u << count) - 1);
    for (int i = 0; i < nX; i++) {
      __m512i totals[quintRows];
      for (int r = 0; r < quintRows; r++) {
        totals[r] = sums[i][r][0];
        for (int c = 1; c < chains<nX>; c++) totals[r] = _mm512_add_epi32(totals[r], sums[i][r][c]);
      }
      const __m128i four = _mm_sub_epi32(reduce4(totals[0], totals[1], totals[2], totals[3]), _mm_set1_epi32(xSums[i]));
      _mm_mask_storeu_epi32(acc + i * accStride + first, inUse, four);
    }
  }
}

void matmul(const uint8_t* quints, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums, int nX, int cols, int32_t* acc,
            size_t accStride) {
  alignas(64) int8_t ends[quintActivations * quintVectorCodes];
  const size_t from = static_cast<size_t>(cols) / quintVectorCodes * quintVectorCodes, rest = static_cast<size_t>(cols) - from;
  for (int i = 0; i < nX && rest > 0; i++) {
    std::memcpy(ends + i * quintVectorCodes, x + i * xStride + from, rest);
    std::memset(ends + i * quintVectorCodes + rest, 0, quintVectorCodes - rest);
  }
  if (nX == 1) rowsMatmul<1>(quints, nRows, x, xStride, ends, xSums, cols, acc, accStride);
  if (nX == 2) rowsMatmul<2>(quints, nRows, x, xStride, ends, xSums, cols, acc, accStride);
}

// ---- packing ----

// Codes of weights 64 u … 64 u + 63: two planes of the block that holds them.
inline __m512i unitCodes(const uint8_t* row, size_t u) {
  const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + u / 2 * 32));
  const __m256i upper = u % 2 == 0 ? _mm256_srli_epi16(block, 6) : _mm256_srli_epi16(block, 2);
  const __m256i lower = u % 2 == 0 ? _mm256_srli_epi16(block, 4) : block;
  return _mm512_and_si512(_mm512_inserti64x4(_mm512_castsi256_si512(upper), lower, 1), _mm512_set1_epi8(3));
}

inline __m512i sum8(__m512i a, __m512i b) { return _mm512_add_epi8(a, b); }
inline __m512i times3(__m512i a) { return sum8(a, sum8(a, a)); }

// Vector v of a row; gathers in `threes` bits that show a code of 3.
inline __m512i packVector(const uint8_t* row, size_t v, size_t nUnits, __m512i& threes) {
  __m512i t[5];
  for (size_t j = 0; j < 5; j++) {
    t[j] = 5 * v + j < nUnits ? unitCodes(row, 5 * v + j) : _mm512_setzero_si512();
    threes = _mm512_or_si512(threes, _mm512_and_si512(t[j], _mm512_srli_epi16(t[j], 1)));
  }
  const __m512i a = sum8(t[0], times3(sum8(t[1], times3(t[2])))), b = sum8(t[3], times3(t[4]));
  // 8 a stays below 256, so that no bit crosses into the next byte.
  const __m512i plain = sum8(_mm512_slli_epi16(a, 3), b), escaped = sum8(a, _mm512_set1_epi8(static_cast<char>(escape)));
  return _mm512_mask_blend_epi8(_mm512_cmpeq_epi8_mask(b, _mm512_set1_epi8(8)), plain, escaped);
}

bool pack(const uint8_t* weights, size_t rowBytes, int nRows, int cols, uint8_t* out) {
  __m512i threes = _mm512_setzero_si512();
  const size_t nVectors = quintVectors(cols), nUnits = static_cast<size_t>(cols) / 64;
  for (int first = 0; first < nRows; first += quintRows) {
    for (size_t v = 0; v < nVectors; v++) {
      for (int r = 0; r < quintRows; r++, out += quintVectorBytes) {
        const int row = first + r < nRows ? first + r : nRows - 1;
        _mm512_store_si512(out, packVector(weights + row * rowBytes, v, nUnits, threes));
      }
    }
  }
  return _mm512_test_epi8_mask(threes, _mm512_set1_epi8(1)) == 0;
}

constexpr QuintKernels table = {pack, matmul};

}  // namespace

const QuintKernels* avx512VbmiQuintKernels() { return &table; }

}  // namespace bitnet

#else

namespace bitnet {

const QuintKernels* avx512VbmiQuintKernels() { return nullptr; }

}  // namespace bitnet

#endif
