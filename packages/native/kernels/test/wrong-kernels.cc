#include "wrong-kernels.h"

#include <cstring>
#include <vector>

namespace bitnet::test {
namespace {

// The table that the wrong functions spoil.
Kernels right;

float nextUp(float x) { return x + (x < 0 ? -x : x) * 0x1p-23f + 0x1p-140f; }

// Tiles that are right but for one sum. Where a table has none they multiply as the table does: then a strip holds the rows as they are.
void arrange(const int8_t* x, size_t xStride, int nX, int cols, int8_t* strips) {
  if (right.tiles) return right.tiles->arrange(x, xStride, nX, cols, strips);
  for (int i = 0; i < nX; i++) std::memcpy(strips + static_cast<size_t>(i) * cols, x + i * xStride, cols);
}

void ternaryTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                  int cols, int32_t* acc, size_t accStride) {
  if (right.tiles) {
    right.tiles->ternary(weights, rowBytes, nRows, strips, stripBytes, xSums, nX, cols, acc, accStride);
  } else {
    right.ternaryMatmul(weights, rowBytes, nRows, strips, cols, xSums, nX, cols, acc, accStride);
  }
}

void scaledTiles(const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX,
                 int cols, const float* t, float* out, size_t outStride) {
  std::vector<int32_t> acc(static_cast<size_t>(nX) * nRows);
  ternaryTiles(weights, rowBytes, nRows, strips, stripBytes, xSums, nX, cols, acc.data(), nRows);
  for (int i = 0; i < nX; i++) {
    for (int r = 0; r < nRows; r++) out[i * outStride + r] = static_cast<float>(acc[static_cast<size_t>(i) * nRows + r]) * t[i];
  }
}

void screenTiles(const int8_t* rows, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, int32_t* acc,
                 size_t accStride) {
  if (right.tiles) return right.tiles->screen(rows, rowBytes, nRows, strips, stripBytes, nX, cols, acc, accStride);
  int32_t sums[64] = {};
  for (int i = 0; i < nX; i++) {
    for (int k = 0; k < cols; k++) sums[i] += strips[static_cast<size_t>(i) * cols + k];
  }
  right.screenDots(rows, rowBytes, nRows, strips, cols, sums, nX, cols, acc, accStride);
}

// One wrong sum in the last row of the second strip.
constexpr TileKernels wrongTernaryTiles = {
    .ternaryFrom = 1,
    .screenFrom = 1,
    .arrange = arrange,
    .ternary =
        [](const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX, int cols,
           int32_t* acc, size_t accStride) {
          ternaryTiles(weights, rowBytes, nRows, strips, stripBytes, xSums, nX, cols, acc, accStride);
          if (nX > stripRows) acc[(nX - 1) * accStride + nRows - 1] += 1;
        },
    .ternaryScaled = scaledTiles,
    .screen = screenTiles,
};

// The factor of the first row for all.
constexpr TileKernels wrongScaledTiles = {
    .ternaryFrom = 1,
    .screenFrom = 1,
    .arrange = arrange,
    .ternary = ternaryTiles,
    .ternaryScaled =
        [](const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, const int32_t* xSums, int nX, int cols,
           const float* t, float* out, size_t outStride) {
          const std::vector<float> first(static_cast<size_t>(nX), t[0]);
          scaledTiles(weights, rowBytes, nRows, strips, stripBytes, xSums, nX, cols, first.data(), out, outStride);
        },
    .screen = screenTiles,
};

// The sum of the first row of activations again, for the second.
constexpr TileKernels wrongScreenTiles = {
    .ternaryFrom = 1,
    .screenFrom = 1,
    .arrange = arrange,
    .ternary = ternaryTiles,
    .ternaryScaled = scaledTiles,
    .screen =
        [](const int8_t* rows, size_t rowBytes, int nRows, const int8_t* strips, size_t stripBytes, int nX, int cols, int32_t* acc,
           size_t accStride) {
          screenTiles(rows, rowBytes, nRows, strips, stripBytes, nX, cols, acc, accStride);
          if (nX > 1) acc[accStride] = acc[0];
        },
};

// Each is right but for what the comment beside it says.
void spoil(Kernels& k, int index) {
  switch (index) {
    case 0:  // one wrong sum in the last row of several
      k.ternaryMatmul = [](const uint8_t* weights, size_t rowBytes, int nRows, const int8_t* x, size_t xStride,
                           const int32_t* xSums, int nX, int cols, int32_t* acc, size_t accStride) {
        right.ternaryMatmul(weights, rowBytes, nRows, x, xStride, xSums, nX, cols, acc, accStride);
        if (nRows > 16) acc[(nX - 1) * accStride + nRows - 1] += 1;
      };
      return;
    case 1:  // one place in the last element
      k.scaleTensor = [](const int32_t* acc, int n, float t, float* out) {
        right.scaleTensor(acc, n, t, out);
        out[n - 1] = nextUp(out[n - 1]);
      };
      return;
    case 2:  // multiplies by the inverse instead of dividing
      k.scaleRow = [](const int32_t* acc, int n, const float* scale, float s, float* out) {
        const float inverse = 1 / s;
        for (int i = 0; i < n; i++) out[i] = static_cast<float>(acc[i]) * (scale[i] * inverse);
      };
      return;
    case 3:  // ignores the stride
      k.foldGroup = [](const int32_t* acc, int n, const float* scale, size_t, float* sum) {
        right.foldGroup(acc, n, scale, 1, sum);
      };
      return;
    case 4:  // leaves the tail
      k.multiply = [](float* x, int n, float t) { right.multiply(x, n & ~7, t); };
      return;
    case 5:  // another order of summation
      k.sumSquares = [](const float* x, int n) {
        float sum = 0;
        for (int i = 0; i < n; i++) sum += x[i] * x[i];
        return sum;
      };
      return;
    case 6:  // the last bit of the maximum is missing
      k.normalise = [](const float* x, float r, const float* w, int n, float* out) {
        return right.normalise(x, r, w, n, out) & ~1u;
      };
      return;
    case 7:  // one place in the first value
      k.quantise = [](const float* y, float s, int n, int nPadded, int8_t* q) {
        int32_t sum = right.quantise(y, s, n, nPadded, q);
        if (q[0] != 0) q[0] = static_cast<int8_t>(q[0] ^ 1), sum ^= 1;
        return sum;
      };
      return;
    case 8:  // the second half is missing
      k.absMaxBits = [](const float* x, int n) { return right.absMaxBits(x, n > 1 ? n / 2 : n) + (n == 1); };
      return;
    case 9:  // writes past the end
      k.add = [](float* x, const float* y, int n) {
        right.add(x, y, n);
        x[n] = 0;
      };
      return;
    case 10:  // one function for another
      k.gate = [](GateFn fn, const float* gate, const float* up, int n, float* out) {
        right.gate(fn == GateFn::Gelu ? GateFn::Silu : fn, gate, up, n, out);
      };
      return;
    case 11:  // one pairing only
      k.rope = [](float* x, const float* table, int headDim, Pairing) { right.rope(x, table, headDim, Pairing::Half); };
      return;
    case 12:  // infinity instead of the largest value
      k.narrow = [](const float* x, int n, uint16_t* out) {
        right.narrow(x, n, out);
        for (int i = 0; i < n; i++) out[i] += (out[i] & 0x7fff) == 0x7bff;
      };
      return;
    case 13:  // one type for another
      k.widen = [](DenseType type, const void* row, int n, float* out) {
        right.widen(type == DenseType::BF16 ? DenseType::F16 : type, row, n, out);
      };
      return;
    case 14:  // the last row of four again
      k.denseDots = [](DenseType type, const void* rows, size_t rowBytes, int nRows, const float* x, int n, float* out) {
        right.denseDots(type, rows, rowBytes, nRows, x, n, out);
        if (nRows >= 4) out[3] = out[2];
      };
      return;
    case 15:  // one wrong sum in the last row of several
      k.screenDots = [](const int8_t* rows, size_t rowBytes, int nRows, const int8_t* x, size_t xStride, const int32_t* xSums, int nX,
                        int cols, int32_t* acc, size_t accStride) {
        right.screenDots(rows, rowBytes, nRows, x, xStride, xSums, nX, cols, acc, accStride);
        if (nX > 1) acc[(nX - 1) * accStride + nRows - 1] -= 1;
      };
      return;
    case 16:  // without the low digits of the last row
      k.screenBounds = [](const ScreenFactors& x, const float* scales, const float* losses, const float* norms, const int32_t* high,
                          const int32_t* low, int n, float* upper) {
        right.screenBounds(x, scales, losses, norms, high, low, n, upper);
        const int32_t none = 0;
        const int last = n - 1;
        right.screenBounds(x, scales + last, losses + last, norms + last, high + last, &none, 1, upper + last);
      };
      return;
    case 17:  // one place more
      k.residualSquares = [](const float* w, const int8_t* q, float s, int n) { return nextUp(right.residualSquares(w, q, s, n)); };
      return;
    case 18:  // the last key again, for the last of several queries
      k.scores = [](KvType type, const float* q, size_t qStride, int nQ, const void* keys, int nKeys, int headDim, float* scores,
                    size_t scoreStride) {
        right.scores(type, q, qStride, nQ, keys, nKeys, headDim, scores, scoreStride);
        float* last = scores + (nQ - 1) * scoreStride;
        if (nQ > 4 && nKeys > 1) last[nKeys - 1] = last[nKeys - 2];
      };
      return;
    case 19:  // never below zero
      k.maximum = [](const float* x, int n) {
        const float most = right.maximum(x, n);
        return most > 0 ? most : 0;
      };
      return;
    case 20:  // the tail is missing in the sums
      k.expStripes = [](float* x, int n, float scale, float m, float stripes[16]) {
        const float last = stripes[(n - 1) % 16];
        right.expStripes(x, n, scale, m, stripes);
        if (n % 16 != 0) stripes[(n - 1) % 16] = last;
      };
      return;
    case 21:  // the last key is missing for the last of several queries
      k.accumulateValues = [](KvType type, const float* p, size_t pStride, size_t pStep, int nQ, const void* values, int nKeys, int headDim,
                              float* acc, size_t accStride) {
        if (nQ == 1) return right.accumulateValues(type, p, pStride, pStep, 1, values, nKeys, headDim, acc, accStride);
        const int last = nQ - 1;
        right.accumulateValues(type, p, pStride, pStep, last, values, nKeys, headDim, acc, accStride);
        right.accumulateValues(type, p + last * pStride, pStride, pStep, 1, values, nKeys - 1, headDim, acc + last * accStride, accStride);
      };
      return;
    case 22:  // the last element of every query is missing
      k.arrangeQueries = [](const float* q, size_t qStride, int nQ, int headDim, float* arranged, size_t stride) {
        right.arrangeQueries(q, qStride, nQ, headDim - 1, arranged, stride);
      };
      return;
    case 23:  // one wrong lane in the last key of several
      k.laneScores = [](const float* arranged, size_t stride, const float* keys, int nKeys, int headDim, float* scores) {
        right.laneScores(arranged, stride, keys, nKeys, headDim, scores);
        float* last = scores + (nKeys - 1) * stride;
        if (nKeys > 1) last[stride - 1] = last[stride - 2];
      };
      return;
    case 24:  // the denominators of the first half again
      k.laneSoftmax = [](float* scores, size_t stride, int nKeys, float scale, float* denominators) {
        right.laneSoftmax(scores, stride, nKeys, scale, denominators);
        for (size_t i = stride / 2; i < stride; i++) denominators[i] = denominators[i - stride / 2];
      };
      return;
    case 25:  // multiplies by the inverse
      k.divide = [](const float* total, int n, float denominator, float* out) {
        const float inverse = 1 / denominator;
        for (int i = 0; i < n; i++) out[i] = total[i] * inverse;
      };
      return;
    case 26:  // another counter
      k.perturb = [](const float* logits, int n, uint32_t firstId, float temperature, NoiseKey key, float* out) {
        key.index ^= 1;
        right.perturb(logits, n, firstId, temperature, key, out);
      };
      return;
    case 27:
      k.tiles = &wrongTernaryTiles;
      return;
    case 28:
      k.tiles = &wrongScaledTiles;
      return;
    case 29:
      k.tiles = &wrongScreenTiles;
      return;
  }
}

constexpr const char* names[] = {
    "ternaryMatmul", "scaleTensor", "scaleRow", "foldGroup", "multiply", "sumSquares", "normalise",
    "quantise",      "absMaxBits",  "add",      "gate",      "rope",     "narrow",     "widen",
    "denseDots",     "screenDots",  "screenBounds", "residualSquares", "scores", "maximum", "expStripes", "accumulateValues",
    "arrangeQueries", "laneScores", "laneSoftmax", "divide", "perturb",  "ternaryTiles", "scaledTiles", "screenTiles",
};
constexpr int nNames = sizeof names / sizeof names[0];

}  // namespace

const WrongTable* wrongTables(const Kernels& from, int* count) {
  static WrongTable tables[nNames];
  right = from;
  for (int i = 0; i < nNames; i++) {
    tables[i] = {names[i], from};
    spoil(tables[i].kernels, i);
  }
  *count = nNames;
  return tables;
}

}  // namespace bitnet::test
