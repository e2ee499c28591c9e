// A decoded Program (packages/core/src/backend/program.ts) whose indices, shapes and byte ranges have been checked, so that whatever
// runs it may trust them. Its encoding is that of src/encode-program.ts.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "allocations.h"
#include "failure.h"

namespace bitnet::engine {

enum class BufferKind : int32_t { Ternary = 0, Dense = 1, Kv = 2, F32 = 3, Q8 = 4 };
enum class ScaleKind : int32_t { Tensor = 0, Row = 1, Group = 2 };

struct Buffer {
  BufferKind kind;
  int32_t rows, cols;  // activations: cols only
  // weights
  int32_t source;
  uint64_t offset;
  DenseType type;
  ScaleKind scaleKind;
  int32_t groupSize;
  float scale;
  size_t firstScale;  // into Program::scales
  // kv
  int32_t nKvHeads, headDim;
};

enum class OpKind : int32_t {
  Embed = 0,
  RmsNormQuant = 1,
  BitLinear = 2,
  RopeKv = 3,
  Attention = 4,
  GatedActivation = 5,
  Residual = 6,
  Head = 7,
};

// One thread may do it for a row while others do it for other rows.
inline bool isRowWise(OpKind kind) { return kind != OpKind::BitLinear && kind != OpKind::Attention && kind != OpKind::Head; }

// Operands are buffer ids; the fields that an operation has are those of program.ts.
struct Op {
  OpKind kind;
  int32_t x, y, weight, table, out;
  int32_t q, k, v, kv, nHeads;
  int32_t gate, up;
  int32_t firstList, nWeights;  // bitLinear: Program::lists holds nWeights weights, then nWeights outs
  bool feedsNext;               // bitLinear: the operation that follows may be computed with it, chunk by chunk
  Pairing pairing;
  GateFn fn;
  float real;  // eps or scale
};

struct Program {
  int32_t contextLength = 0, vocabSize = 0;
  bool usesKv = false, embeds = false, hasHead = false;
  Array<Buffer> buffers;
  Array<Op> ops;
  Array<int32_t> lists;
  Array<float> scales;

  const Buffer& buffer(int32_t id) const { return buffers[static_cast<size_t>(id)]; }
};

struct ScaleValues {
  const float* values;
  size_t count;
};

struct EncodedProgram {
  const int32_t* words;
  size_t nWords;
  const double* reals;
  size_t nReals;
  const ScaleValues* scales;
  size_t nScales;
  const uint64_t* sourceSizes;
  size_t nSources;
};

// 0 where a row of `cols` elements does not fill whole blocks of the type.
size_t denseRowBytes(DenseType type, int32_t cols);
inline size_t ternaryRowBytes(int32_t cols) { return (static_cast<size_t>(cols) + 127) / 128 * 32; }
// Columns of a q8 activation with its zero padding.
inline int32_t paddedCols(int32_t cols) { return (cols + 127) / 128 * 128; }

bool decodeProgram(const EncodedProgram& encoded, Program& program, Failure& failure);

}  // namespace bitnet::engine
