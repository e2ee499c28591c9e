#pragma once
#include "../kernels/test/report.h"

namespace bitnet::test {

// The pool's promises: every thread runs a job, barriers hold everybody, and cancelling drops what waits and waits for what runs.
void testPool(Report& report);

}  // namespace bitnet::test
