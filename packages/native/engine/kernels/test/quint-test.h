// Tests of the denser copy of ternary weights.
#pragma once
#include "report.h"

namespace bitnet::test {

// Prints whether there is something to test on this machine.
void testQuints(Report& report);

}  // namespace bitnet::test
