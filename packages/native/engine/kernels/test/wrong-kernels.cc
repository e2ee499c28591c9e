// Every function of a table, wrong in one way: what the probes must find. Long, because there are so many ways.
#include "wrong-kernels.h"

#include <cstring>
#include <vector>

namespace bitnet::test {
namespace {

// The table that the wrong functions spoil.
Kernels right;

float nextUp(float x) { return x + (x < 0 ? -x : x) * 0x1p-23f + 0x1p-140f; }

// Tiles that are right. They multiply as the table does: a strip holds the rows as they are.
void arrange(const Int8Matrix& x, int8_t* strips) {
  for (int i = 0; i < x.rows; i++) std::memcpy(strips + static_cast<size_t>(i) * x.cols, x.row(i), x.cols);
}

Int8Matrix rowsOf(const StripMatrix& x) { return {x.data, static_cast<size_t>(x.cols), x.rows, x.cols}; }

void ternaryTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const SumMatrix& acc) {
  right.ternaryMatmul(weights, rowsOf(x), xSums, acc);
}

void scaledTiles(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
  std::vector<int32_t> memory(static_cast<size_t>(x.rows) * weights.rows);
  const SumMatrix acc = {memory.data(), static_cast<size_t>(weights.rows), x.rows, weights.rows};
  ternaryTiles(weights, x, xSums, acc);
  for (int i = 0; i < x.rows; i++) {
    for (int r = 0; r < weights.rows; r++) {
      float& out = to.out[i * to.stride + r];
      const float scaled = static_cast<float>(acc.row(i)[r]) * to.factors[i];
      out = to.adds ? out + scaled : scaled;
    }
  }
}

void screenTiles(const Int8Matrix& table, const StripMatrix& x, const SumMatrix& acc) {
  int32_t sums[64] = {};
  const Int8Matrix rows = rowsOf(x);
  for (int i = 0; i < rows.rows; i++) {
    for (int k = 0; k < rows.cols; k++) sums[i] += rows.row(i)[k];
  }
  right.screenDots(table, rows, sums, acc);
}

// Lanes that are right, likewise.
void ternaryLanes(const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
  std::vector<float> memory(static_cast<size_t>(x.rows) * weights.rows);
  const F32Matrix rows = {memory.data(), static_cast<size_t>(weights.rows), x.rows, weights.rows};
  const auto laneOf = [&](int i) { return to.out + static_cast<size_t>(i / stripRows * stripRows) * to.stride + i % stripRows; };
  scaledTiles(weights, x, xSums, {to.factors, rows.data, rows.stride, false, nullptr, 0});
  for (int i = 0; i < x.rows; i++) {
    for (int r = 0; r < weights.rows; r++) {
      float& out = laneOf(i)[r * stripRows];
      out = to.adds ? out + rows.row(i)[r] : rows.row(i)[r];
    }
  }
}

std::vector<float> rowOf(const float* lanes, int i, int n) {
  std::vector<float> row(n);
  for (int k = 0; k < n; k++) row[k] = lanes[stripRows * k + i];
  return row;
}

void laneSquares(const float* x, int n, float* sums) {
  for (int i = 0; i < stripRows; i++) sums[i] = right.sumSquares(rowOf(x, i, n).data(), n);
}

void laneMagnitudes(const float* x, const float* r, const float* w, int n, uint32_t* most) {
  for (int i = 0; i < stripRows; i++) {
    std::vector<float> row = rowOf(x, i, n);
    most[i] = right.normalise(row.data(), r[i], w, n, row.data());
  }
}

void laneQuantise(const float* x, const float* r, const float* w, const float* s, int n, int nPadded, int8_t* strip, int32_t* sums) {
  std::vector<int8_t> q(nPadded);
  for (int i = 0; i < stripRows; i++) {
    std::vector<float> row = rowOf(x, i, n);
    right.normalise(row.data(), r[i], w, n, row.data());
    sums[i] = right.quantise(row.data(), s[i], n, nPadded, q.data());
    for (int j = 0; j < nPadded; j++) strip[j / 4 * 64 + 4 * i + j % 4] = q[j];
  }
}

constexpr LaneKernels rightLanes = {
    .from = 1,
    .ternary = ternaryLanes,
    .squares = laneSquares,
    .magnitudes = laneMagnitudes,
    .quantise = laneQuantise,
};

constexpr TileKernels rightTiles = {
    .ternaryFrom = 1,
    .screenFrom = 1,
    .arrange = arrange,
    .ternary = ternaryTiles,
    .ternaryScaled = scaledTiles,
    .screen = screenTiles,
    .lanes = &rightLanes,
};

TileKernels withLanes(const LaneKernels& lanes) {
  TileKernels tiles = rightTiles;
  tiles.lanes = &lanes;
  return tiles;
}

struct Fault {
  const char* name;
  void (*spoil)(Kernels& k);
};

// Each leaves a table right but for what the comment beside it says.
constexpr Fault faults[] = {
    {"ternaryMatmul",  // one wrong sum in the last row of several
     [](Kernels& k) {
      k.ternaryMatmul = [](const PackedMatrix& weights, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
        right.ternaryMatmul(weights, x, xSums, acc);
        if (weights.rows > 16) acc.row(x.rows - 1)[weights.rows - 1] += 1;
      };
     }},
    {"scaleTensor",  // one place in the last element
     [](Kernels& k) {
      k.scaleTensor = [](const int32_t* acc, int n, float t, float* out) {
        right.scaleTensor(acc, n, t, out);
        out[n - 1] = nextUp(out[n - 1]);
      };
     }},
    {"scaleRow",  // multiplies by the inverse instead of dividing
     [](Kernels& k) {
      k.scaleRow = [](const int32_t* acc, int n, const float* scale, float s, float* out) {
        const float inverse = 1 / s;
        for (int i = 0; i < n; i++) out[i] = static_cast<float>(acc[i]) * (scale[i] * inverse);
      };
     }},
    {"groupDots",  // forgets what codes are shifted by
     [](Kernels& k) {
       k.groupDots = [](const PackedMatrix& weights, const GroupedRows& x, const GroupScales& scales, const F32Matrix& out) {
         const std::vector<int32_t> none(static_cast<size_t>(x.nGroups + 1) / 2 * 16);
         GroupedRows unshifted = x;
         unshifted.offsets = none.data(), unshifted.offsetStride = 0;
         right.groupDots(weights, unshifted, scales, out);
       };
     }},
    {"foldGroup",  // ignores the stride
     [](Kernels& k) {
      k.foldGroup = [](const int32_t* acc, int n, const float* scale, size_t, float* sum) {
        right.foldGroup(acc, n, scale, 1, sum);
      };
     }},
    {"groupOffsets",  // of the first group only
     [](Kernels& k) {
       k.groupOffsets = [](const int8_t* arranged, int nPairs, int32_t* offsets) {
         right.groupOffsets(arranged, nPairs, offsets);
         offsets[8] = 0;
       };
     }},
    {"multiply",  // leaves the tail
     [](Kernels& k) {
      k.multiply = [](float* x, int n, float t) { right.multiply(x, n & ~7, t); };
     }},
    {"sumSquares",  // another order of summation
     [](Kernels& k) {
      k.sumSquares = [](const float* x, int n) {
        float sum = 0;
        for (int i = 0; i < n; i++) sum += x[i] * x[i];
        return sum;
      };
     }},
    {"normalise",  // the last bit of the maximum is missing
     [](Kernels& k) {
      k.normalise = [](const float* x, float r, const float* w, int n, float* out) {
        return right.normalise(x, r, w, n, out) & ~1u;
      };
     }},
    {"quantise",  // one place in the first value
     [](Kernels& k) {
      k.quantise = [](const float* y, float s, int n, int nPadded, int8_t* q) {
        int32_t sum = right.quantise(y, s, n, nPadded, q);
        if (q[0] != 0) q[0] = static_cast<int8_t>(q[0] ^ 1), sum ^= 1;
        return sum;
      };
     }},
    {"absMaxBits",  // the second half is missing
     [](Kernels& k) {
      k.absMaxBits = [](const float* x, int n) { return right.absMaxBits(x, n > 1 ? n / 2 : n) + (n == 1); };
     }},
    {"add",  // writes past the end
     [](Kernels& k) {
      k.add = [](float* x, const float* y, int n) {
        right.add(x, y, n);
        x[n] = 0;
      };
     }},
    {"gate",  // one function for another
     [](Kernels& k) {
      k.gate = [](GateFn fn, const float* gate, const float* up, int n, float* out) {
        right.gate(fn == GateFn::Gelu ? GateFn::Silu : fn, gate, up, n, out);
      };
     }},
    {"rope",  // one pairing only
     [](Kernels& k) {
      k.rope = [](float* x, const float* table, int headDim, Pairing) { right.rope(x, table, headDim, Pairing::Half); };
     }},
    {"narrow",  // infinity instead of the largest value
     [](Kernels& k) {
      k.narrow = [](const float* x, int n, uint16_t* out) {
        right.narrow(x, n, out);
        for (int i = 0; i < n; i++) out[i] += (out[i] & 0x7fff) == 0x7bff;
      };
     }},
    {"widen",  // one type for another
     [](Kernels& k) {
      k.widen = [](DenseType type, const void* row, int n, float* out) {
        right.widen(type == DenseType::BF16 ? DenseType::F16 : type, row, n, out);
      };
     }},
    {"denseDots",  // the last row of four again
     [](Kernels& k) {
      k.denseDots = [](DenseType type, const DenseMatrix& weights, const float* x, float* out) {
        right.denseDots(type, weights, x, out);
        if (weights.rows >= 4) out[3] = out[2];
      };
     }},
    {"screenDots",  // one wrong sum in the last row of several
     [](Kernels& k) {
      k.screenDots = [](const Int8Matrix& table, const Int8Matrix& x, const int32_t* xSums, const SumMatrix& acc) {
        right.screenDots(table, x, xSums, acc);
        if (x.rows > 1) acc.row(x.rows - 1)[table.rows - 1] -= 1;
      };
     }},
    {"screenBounds",  // without the low digits of the last row
     [](Kernels& k) {
      k.screenBounds = [](const ScreenFactors& x, const float* scales, const float* losses, const float* norms, const int32_t* high,
                          const int32_t* low, int n, float* upper) {
        right.screenBounds(x, scales, losses, norms, high, low, n, upper);
        const int32_t none = 0;
        const int last = n - 1;
        right.screenBounds(x, scales + last, losses + last, norms + last, high + last, &none, 1, upper + last);
      };
     }},
    {"residualSquares",  // one place more
     [](Kernels& k) {
      k.residualSquares = [](const float* w, const int8_t* q, float s, int n) { return nextUp(right.residualSquares(w, q, s, n)); };
     }},
    {"scores",  // the last key again, for the last of several queries
     [](Kernels& k) {
      k.scores = [](KvType type, const float* q, size_t qStride, int nQ, const void* keys, int nKeys, int headDim, float* scores,
                    size_t scoreStride) {
        right.scores(type, q, qStride, nQ, keys, nKeys, headDim, scores, scoreStride);
        float* last = scores + (nQ - 1) * scoreStride;
        if (nQ > 4 && nKeys > 1) last[nKeys - 1] = last[nKeys - 2];
      };
     }},
    {"maximum",  // never below zero
     [](Kernels& k) {
      k.maximum = [](const float* x, int n) {
        const float most = right.maximum(x, n);
        return most > 0 ? most : 0;
      };
     }},
    {"expStripes",  // the tail is missing in the sums
     [](Kernels& k) {
      k.expStripes = [](float* x, int n, float scale, float m, float stripes[16]) {
        const float last = stripes[(n - 1) % 16];
        right.expStripes(x, n, scale, m, stripes);
        if (n % 16 != 0) stripes[(n - 1) % 16] = last;
      };
     }},
    {"accumulateValues",  // the last key is missing for the last of several queries
     [](Kernels& k) {
      k.accumulateValues = [](KvType type, const float* p, size_t pStride, size_t pStep, int nQ, const void* values, int nKeys, int headDim,
                              const ValueSums& sums) {
        if (nQ == 1) return right.accumulateValues(type, p, pStride, pStep, 1, values, nKeys, headDim, sums);
        const int last = nQ - 1;
        const size_t at = last * sums.stride;
        right.accumulateValues(type, p, pStride, pStep, last, values, nKeys, headDim, sums);
        right.accumulateValues(type, p + last * pStride, pStride, pStep, 1, values, nKeys - 1, headDim,
                               {sums.acc + at, sums.stride, sums.isFirst, sums.total ? sums.total + at : nullptr});
      };
     }},
    {"arrangeQueries",  // the last element of every query is missing
     [](Kernels& k) {
      k.arrangeQueries = [](const float* q, size_t qStride, int nQ, int headDim, float* arranged, size_t stride) {
        right.arrangeQueries(q, qStride, nQ, headDim - 1, arranged, stride);
      };
     }},
    {"laneScores",  // one wrong lane in the last key of several
     [](Kernels& k) {
      k.laneScores = [](const float* arranged, size_t stride, const float* keys, int nKeys, int headDim, float* scores) {
        right.laneScores(arranged, stride, keys, nKeys, headDim, scores);
        float* last = scores + (nKeys - 1) * stride;
        if (nKeys > 1) last[stride - 1] = last[stride - 2];
      };
     }},
    {"laneSoftmax",  // the denominators of the first half again
     [](Kernels& k) {
      k.laneSoftmax = [](float* scores, size_t stride, int nKeys, float scale, float* denominators) {
        right.laneSoftmax(scores, stride, nKeys, scale, denominators);
        for (size_t i = stride / 2; i < stride; i++) denominators[i] = denominators[i - stride / 2];
      };
     }},
    {"divide",  // multiplies by the inverse
     [](Kernels& k) {
      k.divide = [](const float* total, int n, float denominator, float* out) {
        const float inverse = 1 / denominator;
        for (int i = 0; i < n; i++) out[i] = total[i] * inverse;
      };
     }},
    {"perturb",  // another counter
     [](Kernels& k) {
      k.perturb = [](const float* logits, int n, uint32_t firstId, float temperature, NoiseKey key, float* out) {
        key.index ^= 1;
        right.perturb(logits, n, firstId, temperature, key, out);
      };
     }},
    {"ternaryTiles",  // one wrong sum in the last row of the second strip
     [](Kernels& k) {
      static TileKernels wrong = rightTiles;
      wrong.ternary = [](const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const SumMatrix& acc) {
        ternaryTiles(weights, x, xSums, acc);
        if (x.rows > stripRows) acc.row(x.rows - 1)[weights.rows - 1] += 1;
      };
      k.tiles = &wrong;
     }},
    {"scaledTiles",  // the factor of the first row for all
     [](Kernels& k) {
      static TileKernels wrong = rightTiles;
      wrong.ternaryScaled = [](const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
        const std::vector<float> first(static_cast<size_t>(x.rows), to.factors[0]);
        ScaledRows wrongRows = to;
        wrongRows.factors = first.data();
        scaledTiles(weights, x, xSums, wrongRows);
      };
      k.tiles = &wrong;
     }},
    {"screenTiles",  // the sum of the first row of activations again, for the second
     [](Kernels& k) {
      static TileKernels wrong = rightTiles;
      wrong.screen = [](const Int8Matrix& table, const StripMatrix& x, const SumMatrix& acc) {
        screenTiles(table, x, acc);
        if (x.rows > 1) acc.row(1)[0] = acc.row(0)[0];
      };
      k.tiles = &wrong;
     }},
    {"ternaryLanes",  // the last row of the second block is left out
     [](Kernels& k) {
      static LaneKernels wrong = rightLanes;
      wrong.ternary = [](const PackedMatrix& weights, const StripMatrix& x, const int32_t* xSums, const ScaledRows& to) {
        ternaryLanes(weights, x.part(0, x.rows > stripRows ? x.rows - 1 : x.rows), xSums, to);
      };
      static const TileKernels tiles = withLanes(wrong);
      k.tiles = &tiles;
     }},
    {"laneSquares",  // the stripes of a lane added up in their order
     [](Kernels& k) {
      static LaneKernels wrong = rightLanes;
      wrong.squares = [](const float* x, int n, float* sums) {
        for (int i = 0; i < stripRows; i++) {
          float stripes[16] = {};
          for (int j = 0; j < n; j++) stripes[j % 16] = __builtin_fmaf(x[stripRows * j + i], x[stripRows * j + i], stripes[j % 16]);
          sums[i] = 0;
          for (const float stripe : stripes) sums[i] += stripe;
        }
      };
      static const TileKernels tiles = withLanes(wrong);
      k.tiles = &tiles;
     }},
    {"laneMagnitudes",  // all but the last element
     [](Kernels& k) {
      static LaneKernels wrong = rightLanes;
      wrong.magnitudes = [](const float* x, const float* r, const float* w, int n, uint32_t* most) { laneMagnitudes(x, r, w, n - 1, most); };
      static const TileKernels tiles = withLanes(wrong);
      k.tiles = &tiles;
     }},
    {"laneQuantise",  // two columns of the first lane exchanged
     [](Kernels& k) {
      static LaneKernels wrong = rightLanes;
      wrong.quantise = [](const float* x, const float* r, const float* w, const float* s, int n, int nPadded, int8_t* strip, int32_t* sums) {
        laneQuantise(x, r, w, s, n, nPadded, strip, sums);
        const int8_t first = strip[0];
        strip[0] = strip[1];
        strip[1] = first;
      };
      static const TileKernels tiles = withLanes(wrong);
      k.tiles = &tiles;
     }},
};
constexpr int nFaults = sizeof faults / sizeof faults[0];

}  // namespace

const WrongTable* wrongTables(const Kernels& from, int* count) {
  static WrongTable tables[nFaults];
  right = from;
  for (int i = 0; i < nFaults; i++) {
    tables[i] = {faults[i].name, from};
    faults[i].spoil(tables[i].kernels);
  }
  *count = nFaults;
  return tables;
}

}  // namespace bitnet::test
