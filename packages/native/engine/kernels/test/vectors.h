// Answers computed by the TypeScript reference (packages/core/src/backend/conformance/kernel-vectors.ts).
#pragma once
#include <string>
#include <vector>

#include "../kernels.h"
#include "report.h"

namespace bitnet::test {

struct VectorCase {
  std::string kernel;
  std::vector<double> params;
  std::vector<std::vector<uint8_t>> arrays;  // inputs, then answers
};

// Every case of a file; empty when it cannot be read or is cut short.
std::vector<VectorCase> readVectors(const char* path);

// Runs every case on one table. False when a case names an unknown kernel or a kernel has no case.
bool checkVectors(const Kernels& kernels, const std::vector<VectorCase>& cases, Report& report);

}  // namespace bitnet::test
