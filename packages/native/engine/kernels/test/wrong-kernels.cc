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

void laneMagnitudes(const LaneNorm& y, uint32_t* most) {
  for (int i = 0; i < stripRows; i++) {
    std::vector<float> row = rowOf(y.x, i, y.n);
    most[i] = right.normalise(row.data(), y.factors[i], y.weight, y.n, row.data());
  }
}

void laneQuantise(const LaneNorm& y, const float* s, const QuantisedLanes& to) {
  std::vector<int8_t> q(to.nPadded);
  for (int i = 0; i < stripRows; i++) {
    std::vector<float> row = rowOf(y.x, i, y.n);
    right.normalise(row.data(), y.factors[i], y.weight, y.n, row.data());
    to.sums[i] = right.quantise(row.data(), s[i], y.n, to.nPadded, q.data());
    for (int j = 0; j < to.nPadded; j++) to.strip[j / 4 * 64 + 4 * i + j % 4] = q[j];
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
         unshifted.offsets = none.data();
         unshifted.offsetStride = 0;
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
        const int32_t sum = right.quantise(y, s, n, nPadded, q);
        if (q[0] == 0) return sum;
        q[0] = static_cast<int8_t>(q[0] ^ 1);
        return sum ^ 1;
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
      k.screenBounds = [](const ScreenFactors& x, const CopiedRows& rows, const DigitSums& sums, float* upper) {
        right.screenBounds(x, rows, sums, upper);
        const int32_t none = 0;
        const int last = rows.n - 1;
        right.screenBounds(x, {rows.scales + last, rows.losses + last, rows.norms + last, 1}, {sums.high + last, &none}, upper + last);
      };
     }},
    {"residualSquares",  // one place more
     [](Kernels& k) {
      k.residualSquares = [](const float* w, const int8_t* q, float s, int n) { return nextUp(right.residualSquares(w, q, s, n)); };
     }},
    {"scores",  // the last key again, for the last of several queries
     [](Kernels& k) {
      k.scores = [](const ConstF32Matrix& queries, const CachedHead& keys, const F32Matrix& scores) {
        right.scores(queries, keys, scores);
        float* last = scores.row(queries.rows - 1);
        if (queries.rows > 4 && keys.nKeys > 1) last[keys.nKeys - 1] = last[keys.nKeys - 2];
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
      k.accumulateValues = [](const KeyWeights& weights, const CachedHead& values, const ValueSums& sums) {
        if (weights.nQueries == 1) return right.accumulateValues(weights, values, sums);
        const int last = weights.nQueries - 1;
        const size_t at = last * sums.stride;
        KeyWeights others = weights, ofLast = weights;
        others.nQueries = last;
        ofLast.data += last * weights.queryStride;
        ofLast.nQueries = 1;
        right.accumulateValues(others, values, sums);
        right.accumulateValues(ofLast, {values.type, values.data, values.nKeys - 1, values.headDim},
                               {sums.acc + at, sums.stride, sums.isFirst, sums.total ? sums.total + at : nullptr});
      };
     }},
    {"arrangeQueries",  // the last element of every query is missing
     [](Kernels& k) {
      k.arrangeQueries = [](const ConstF32Matrix& queries, const F32Matrix& arranged) {
        right.arrangeQueries({queries.data, queries.stride, queries.rows, queries.cols - 1}, arranged);
      };
     }},
    {"laneScores",  // one wrong lane in the last key of several
     [](Kernels& k) {
      k.laneScores = [](const ConstF32Matrix& arranged, const ConstF32Matrix& keys, const F32Matrix& scores) {
        right.laneScores(arranged, keys, scores);
        float* last = scores.row(keys.rows - 1);
        if (keys.rows > 1) last[scores.cols - 1] = last[scores.cols - 2];
      };
     }},
    {"laneSoftmax",  // the denominators of the first half again
     [](Kernels& k) {
      k.laneSoftmax = [](const F32Matrix& scores, float scale, float* denominators) {
        right.laneSoftmax(scores, scale, denominators);
        for (int i = scores.cols / 2; i < scores.cols; i++) denominators[i] = denominators[i - scores.cols / 2];
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
      k.perturb = [](const float* logits, int n, const Perturbation& by, float* out) {
        Perturbation other = by;
        other.key.index ^= 1;
        right.perturb(logits, n, other, out);
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
      wrong.magnitudes = [](const LaneNorm& y, uint32_t* most) { laneMagnitudes({y.x, y.factors, y.weight, y.n - 1}, most); };
      static const TileKernels tiles = withLanes(wrong);
      k.tiles = &tiles;
     }},
    {"laneQuantise",  // two columns of the first lane exchanged
     [](Kernels& k) {
      static LaneKernels wrong = rightLanes;
      wrong.quantise = [](const LaneNorm& y, const float* s, const QuantisedLanes& to) {
        laneQuantise(y, s, to);
        const int8_t first = to.strip[0];
        to.strip[0] = to.strip[1];
        to.strip[1] = first;
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
