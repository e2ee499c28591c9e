// A decoded Step (packages/core/src/backend/step.ts), checked against its program so that the executor may trust every row, page and
// request in it. Its encoding is that of core/backend/engine/encode-step.ts.
#pragma once
#include <cstddef>
#include <cstdint>

#include "allocations.h"
#include "failure.h"
#include "program.h"
#include "records.generated.h"

namespace bitnet::engine {

struct PageTable {
  const int32_t* pages;
  int32_t nPages;
  int32_t nNeeded;  // pages that the step's rows write or read
};

struct DrawSettings : DrawFilters {
  const int32_t* counts;  // [nApart]
  const float* biases;    // [nApart]
};

struct HeadRequest : AskedHead {
  DrawSettings draw;
  const int32_t* apart;  // [nApart]
  const uint32_t* ranked;  // bit set of the ids that may be ranked, or drawn; null: all

  // winner, draw: that of the ids from one on.
  Perturbation perturbation(int32_t firstId) const { return {real, {seed, choice, index}, static_cast<uint32_t>(firstId)}; }
};

struct StepInput {
  int32_t buffer;
  const float* values;  // [nRows, cols]
};

struct Step {
  int32_t nRows = 0;
  const int32_t* tokens = nullptr;
  const int32_t* positions = nullptr;
  const int32_t* sequences = nullptr;
  const int32_t* adapters = nullptr;  // null: no row has one
  Array<PageTable> tables;
  const int32_t* copies = nullptr;  // pairs
  int32_t nCopies = 0;
  Array<HeadRequest> heads;
  Array<StepInput> inputs;
  const int32_t* outputs = nullptr;
  int32_t nOutputs = 0;

  // What the pointers above point into.
  Array<int32_t> words;
  Array<uint32_t> masks;

  const PageTable& tableOfRow(int32_t row) const { return tables[static_cast<size_t>(sequences[row])]; }
};

// Copies the words first: the caller's may change as soon as this returns.
bool decodeStep(const int32_t* words, size_t nWords, const Program& program, const LoadLimits& limits, Step& step, Failure& failure);

}  // namespace bitnet::engine
