// One thread's way through a step.
#pragma once
#include "step-context.h"

namespace bitnet::engine {

// From the first page copy to the last operation, or to the barrier at which the step is to stop. Called by every thread of the team.
void runOperations(const StepContext& c);

}  // namespace bitnet::engine
