// The operations that take all rows at once and share their work out themselves. Those that meet barriers return true when the step is to stop.
#pragma once
#include "step-context.h"

namespace bitnet::engine {

// bit-linear.cc
void bitLinear(const StepContext& c, int32_t opIndex, WorkCounter* counters);
// The operation after a bitLinear, where it is computed from each chunk of results while they are in the cache: unless the step asks for
// what goes between the two. Null otherwise.
const Operation* joinedTo(const StepContext& c, int32_t opIndex);

// attention.cc
bool attention(const StepContext& c, const AttentionOp& op, WorkCounter* counters);

// head.cc
bool head(const StepContext& c, const HeadOp& op, int32_t opIndex, WorkCounter* counters);

}  // namespace bitnet::engine
