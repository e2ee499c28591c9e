// A decoded Step (packages/core/src/backend/step.ts), checked against its program so that the executor may trust every row, page and
// request in it. Its encoding is that of src/encode-step.ts.
#pragma once
#include <cstddef>
#include <cstdint>

#include "allocations.h"
#include "failure.h"
#include "program.h"

namespace bitnet::engine {

struct PageTable {
  const int32_t* pages;
  int32_t nPages;
  int32_t nNeeded;  // pages that the step's rows write or read
};

enum class Want : int32_t { Top = 0, Above = 1, Winner = 2, All = 3, Mass = 4, Draw = 5, State = 6 };
constexpr size_t wantKinds = 7;

// How a token is drawn (numerics: samplers).
struct DrawSettings {
  int32_t topK, nBest;  // topK 0: all
  double typicalP, topP, minP;
  float repeat, frequency, presence;
  const int32_t* counts;  // [nApart]
  const float* biases;    // [nApart]
};

struct HeadRequest {
  int32_t row;
  Want want;
  int32_t k;          // top
  float real;         // above: margin; winner, mass, draw: temperature
  float share;        // mass
  NoiseKey noise;     // winner, draw
  DrawSettings draw;
  bool logSumExp;
  const int32_t* apart;
  int32_t nApart;
  const uint32_t* ranked;  // bit set of the ids that may be ranked, or drawn; null: all
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

struct StepLimits {
  int32_t maxRows;
  int32_t nPages;
};

// Copies the words first: the caller's may change as soon as this returns.
bool decodeStep(const int32_t* words, size_t nWords, const Program& program, StepLimits limits, Step& step, Failure& failure);

}  // namespace bitnet::engine
