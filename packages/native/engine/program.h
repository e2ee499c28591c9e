// A decoded Program (packages/core/src/backend/program.ts) whose indices, shapes and byte ranges have been checked, so that whatever
// runs it may trust them. Its encoding is that of core/backend/encode-program.ts.
#pragma once
#include <cstddef>
#include <cstdint>

#include "allocations.h"
#include "failure.h"
#if defined(BITNET_OPERATIONS)
#include BITNET_OPERATIONS  // a test's table
#else
#include "operations.generated.h"
#endif

namespace bitnet::engine {

struct Buffer : ProgramBuffer {
  size_t firstScale;  // into Program::scales

  bool isWeight() const { return kind == BufferKind::Ternary || kind == BufferKind::Dense; }
  // A q8 activation with a scale for each 128 columns.
  bool isGrouped() const { return kind == BufferKind::Q8 && groupSize != 0; }
};

inline bool isRowWise(OpKind kind) { return operationSpecs[static_cast<size_t>(kind)].rowWise; }

// Operations [first, end): any number that run row by row, or one that needs all rows (core/backend/plan.ts).
struct PhaseRange {
  int32_t first, end;
};

struct Program {
  int32_t contextLength = 0, vocabSize = 0;
  int32_t headCols = 0;  // of the table that logits are made with
  bool usesKv = false, embeds = false, hasHead = false;
  Array<uint64_t> sourceSizes;
  Array<Buffer> buffers;
  Array<Operation> operations;
  Array<bool> feedsNext;  // of each operation: the one that follows may be computed with it, piece by piece
  Array<PhaseRange> phases;
  Array<int32_t> lists;  // what every IdList points into
  Array<float> scales;

  const Buffer& buffer(int32_t id) const { return buffers[static_cast<size_t>(id)]; }
  const Operation& operation(int32_t i) const { return operations[static_cast<size_t>(i)]; }
};

struct ScaleValues {
  const float* values;
  size_t count;
};

struct EncodedProgram {
  const int32_t* words;
  size_t nWords;
  const ScaleValues* scales;
  size_t nScales;
  // Of each source, null for one in memory; or none at all, where all are.
  const char* const* paths;
  size_t nPaths;
};

// 0 where a row of `cols` elements does not fill whole blocks of the type.
size_t denseRowBytes(DenseType type, int32_t cols);
inline size_t ternaryRowBytes(int32_t cols) { return (static_cast<size_t>(cols) + 127) / 128 * 32; }
// Columns of a q8 activation with its zero padding.
inline int32_t paddedCols(int32_t cols) { return (cols + 127) / 128 * 128; }

bool decodeProgram(const EncodedProgram& encoded, Program& program, Failure& failure);

}  // namespace bitnet::engine
