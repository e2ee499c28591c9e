#pragma once
#include <vector>

#include "../kernels/kernels.h"
#include "../kernels/test/report.h"

namespace bitnet::test {

// No logit exceeds its bound, also where one term of the bound alone decides: each case is made so that without that term it does.
void testScreen(const std::vector<const Kernels*>& tables, Report& report);

}  // namespace bitnet::test
