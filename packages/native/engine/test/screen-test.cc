#include "screen-test.h"

#include <string>

#include "../screen.h"

namespace bitnet::test {
namespace {

using namespace engine;

constexpr int32_t cols = 2560, stripes = 16;
// Largest value that two digits hold: with it as the largest of x, a digit is worth exactly 1.
constexpr float mostDigits = 127 * 256 + 127;

struct Case {
  const char* name;
  std::vector<float> weights, x;
};

// Weights and x that the copies hold exactly, so that only the rounding of the product itself is left: big values first, then small ones that
// each round up beside them, then the big ones taken away again.
Case roundsUp() {
  Case made{"what rounding adds to a product", std::vector<float>(cols, 127.0f), std::vector<float>(cols, 0.0f)};
  constexpr int32_t steps = cols / stripes, nBig = 9;
  for (int32_t i = 0; i < cols; i++) {
    const int32_t step = i / stripes;
    const bool isBig = step < nBig || step >= steps - nBig;
    made.x[i] = isBig ? (step < nBig ? mostDigits : -mostDigits) : 1.0f;
    if (!isBig) made.weights[i] = 3.0f;
  }
  return made;
}

// Weights that the copy holds exactly, and an x whose digits lose almost half a step each, always the same way.
Case losesDigits() {
  Case made{"what the digits of x lose", std::vector<float>(cols, 127.0f), std::vector<float>(cols, 100.49f)};
  made.x[0] = mostDigits;
  made.weights[0] = 0.0f;
  return made;
}

// An x of digits, and weights of which the copy loses almost half a scale each, always the same way.
Case losesWeights() {
  Case made{"what the copy of the weights loses", std::vector<float>(cols, 10.49f), std::vector<float>(cols, 64.0f)};
  made.weights[0] = 127.0f;
  made.x[1] = mostDigits / 16;
  return made;
}

// The same with one column far above the others, which is bounded by the scale.
Case losesBySpike() {
  Case made{"what the copy loses in a column far above the others", std::vector<float>(cols, 0.0f), std::vector<float>(cols, 0.0f)};
  made.weights[0] = 127.0f;
  made.weights[1] = 10.4999f;
  made.x[1] = mostDigits;
  return made;
}

// Both at once: where the copy's values are larger than the weights, the digits of x lose more than the norm of the weights tells.
Case losesBoth() {
  Case made{"what the digits lose of what the copy adds", std::vector<float>(cols, -14.51f), std::vector<float>(cols, 10.51f)};
  made.weights[0] = 127.0f;
  made.x[0] = 0.0f;
  made.weights[1] = 0.4999f;
  made.x[1] = mostDigits;
  return made;
}

void testCase(const Kernels& kernels, const Case& made, Report& report) {
  Screen screen;
  screen.plan(1, cols);
  if (!screen.allocate()) return report.check(false, kernels.isa, "memory for a screen of one row");
  screen.fillRow(kernels, 0, made.weights.data());
  screen.advance();
  std::vector<int8_t> digits(2 * screen.stride());
  int8_t* high = digits.data();
  int8_t* low = high + screen.stride();
  int32_t sums[2], dots[2];
  ScreenFactors row;
  report.check(screen.split(made.x.data(), high, low, sums, row), kernels.isa, made.name);
  const int stride = static_cast<int>(screen.stride());
  kernels.screenDots({screen.row(0), screen.stride(), 1, stride}, {high, screen.stride(), 2, stride}, sums, {dots, 1, 2, 1});
  float bound, logit;
  screen.upperBounds(kernels, row, {0, 1}, {dots, dots + 1}, &bound);
  const auto* weights = reinterpret_cast<const uint8_t*>(made.weights.data());
  kernels.denseDots(DenseType::F32, {weights, cols * sizeof(float), 1, cols}, made.x.data(), &logit);
  report.check(logit <= bound, kernels.isa, made.name);
}

}  // namespace

void testScreen(const std::vector<const Kernels*>& tables, Report& report) {
  for (const Case& made : {roundsUp(), losesDigits(), losesWeights(), losesBySpike(), losesBoth()}) {
    testCase(*scalarKernels(), made, report);
    for (const Kernels* kernels : tables) testCase(*kernels, made, report);
  }
}

}  // namespace bitnet::test
