#include "screen.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bitnet::engine {
namespace {

constexpr double roundoff = 0x1p-24;   // of f32
constexpr double slack = 1 + 0x1p-20;  // covers every rounding of the bound itself
constexpr float leastMaximum = 0x1p-100f;  // below it, the inverse of a scale might overflow
// The products of a row may lose (cols + 1) · 2⁻¹⁴⁸ to underflow, of which the kernel allows 2⁻¹²⁶.
static_assert((Screen::mostCols + 1) * 0x1p-148 < 0x1p-126);
constexpr double mostDigits = 127 * 256 + 127;

float roundUp(double x) {
  const float nearest = static_cast<float>(x);
  return static_cast<double>(nearest) < x ? std::nextafter(nearest, std::numeric_limits<float>::infinity()) : nearest;
}

float floatOfBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace

void Screen::plan(int32_t rows, int32_t cols) {
  if (cols < 1 || cols > mostCols) return;
  rows_ = rows;
  cols_ = cols;
  stride_ = (static_cast<size_t>(cols) + 63) / 64 * 64;
  const double steps = (cols + 15) / 16 + 4;
  gamma_ = steps * roundoff / (1 - steps * roundoff);
}

bool Screen::allocate() {
  if (values_.size() > 0) return true;
  const size_t n = static_cast<size_t>(rows_);
  const bool done = values_.allocate(n * stride_) && scales_.allocate(n) && losses_.allocate(n) && norms_.allocate(n);
  if (!done) {
    drop();
    return false;
  }
  preferLargePages(values_.data(), values_.bytes());
  bytes_.store(values_.bytes() + 3 * n * sizeof(float), std::memory_order_relaxed);
  return true;
}

void Screen::drop() {
  values_.free();
  scales_.free();
  losses_.free();
  norms_.free();
  bytes_.store(0, std::memory_order_relaxed);
  stride_ = 0;
}

// Of a sum of squares in stripes of f32, each term and the sum itself rounded.
float Screen::upperNorm(float squares) const {
  const double underflow = cols_ * 0x1p-149;
  return roundUp(std::sqrt((squares + underflow) * (1 + 2 * gamma_)) * slack + std::sqrt(static_cast<double>(cols_)) * 0x1p-149);
}

void Screen::fillRow(const Kernels& kernels, int32_t row, const float* weights) {
  const size_t i = static_cast<size_t>(row);
  int8_t* values = values_.data() + i * stride_;
  const float most = floatOfBits(kernels.absMaxBits(weights, cols_));
  if (most >= leastMaximum) {
    scales_[i] = most / 127;
    kernels.quantise(weights, 127 / most, cols_, static_cast<int32_t>(stride_), values);
  } else {
    // Zeros, with a scale that half of still bounds what each of them hides.
    scales_[i] = 2 * most;
    std::memset(values, 0, stride_);
  }
  losses_[i] = upperNorm(kernels.residualSquares(weights, values, scales_[i], cols_));
  norms_[i] = upperNorm(kernels.sumSquares(weights, cols_));
}

int32_t Screen::pieceEnd() const {
  const size_t rows = std::max<size_t>(1, pieceBytes / stride_ / 64) * 64;
  return static_cast<int32_t>(std::min(static_cast<size_t>(rows_), static_cast<size_t>(filled_) + rows));
}

void Screen::advance() {
  filled_ = pieceEnd();
  if (filled_ < rows_) return;
  largestNorm_ = 0;
  for (const float norm : norms_) largestNorm_ = std::max(largestNorm_, static_cast<double>(norm));
  // Not where a weight is not finite: no product with such a table succeeds.
  isReady_ = largestNorm_ < 0x1p120;
  if (!isReady_) drop();
}

bool Screen::split(const float* x, int8_t* high, int8_t* low, int32_t sums[2], ScreenFactors& factors) const {
  double most = 0, squares = 0, lost = 0;
  for (int32_t i = 0; i < cols_; i++) most = std::max(most, std::fabs(static_cast<double>(x[i])));
  const double step = most > 0 ? most / mostDigits : 1;
  const double inverse = 1 / step;
  sums[0] = sums[1] = 0;
  for (int32_t i = 0; i < cols_; i++) {
    const double value = x[i];
    const int32_t digits = static_cast<int32_t>(std::lrint(std::clamp(value * inverse, -mostDigits, mostDigits)));
    const int32_t upper = (digits + 128) >> 8;
    high[i] = static_cast<int8_t>(upper);
    low[i] = static_cast<int8_t>(digits - 256 * upper);
    sums[0] += high[i];
    sums[1] += low[i];
    const double rest = value - step * digits;
    squares += value * value;
    lost += rest * rest;
  }
  std::memset(high + cols_, 0, stride_ - static_cast<size_t>(cols_));
  std::memset(low + cols_, 0, stride_ - static_cast<size_t>(cols_));
  const double norm = std::sqrt(squares) * slack;
  const double loss = std::sqrt(lost) * slack + norm * 0x1p-50;
  double ordinary = norm, byScale = 0;
  // Columns far above the others are cheaper to bound one by one: what the copy hides of a weight is at most half a scale, and its loss
  // is about so many scales.
  const double usualLoss = std::sqrt(cols_ / 12.0);
  double limit = norm / usualLoss;
  for (int round = 0; round < 3; round++) {
    double below = 0, sum = 0;
    for (int32_t i = 0; i < cols_; i++) {
      const double size = std::fabs(static_cast<double>(x[i]));
      if (size > limit) {
        sum += size;
      } else {
        below += size * size;
      }
    }
    const double rest = std::sqrt(below) * slack;
    limit = rest / usualLoss;
    if (usualLoss * rest + sum / 2 >= usualLoss * ordinary + byScale / 2) break;
    ordinary = rest;
    byScale = sum;
  }
  int exponent = 0;
  if (most > 0) std::frexp(most, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - 1, -149)), inUnits = 1 / unit;
  // Half a scale, and a little for the roundings of the scale and its inverse.
  factors = {static_cast<float>(unit),
             static_cast<float>(step * inUnits),
             roundUp((ordinary + loss) * slack * inUnits),
             roundUp((gamma_ * norm + loss) * slack * inUnits),
             roundUp(byScale * 0.5001 * inUnits)};
  return largestNorm_ * norm < 0x1p120 && largestNorm_ * norm * inUnits < 0x1p120;
}

void Screen::upperBounds(const Kernels& kernels, const ScreenFactors& x, RowRange rows, const DigitSums& sums, float* upper) const {
  const CopiedRows copied = {scales_.data() + rows.first, losses_.data() + rows.first, norms_.data() + rows.first, rows.n};
  kernels.screenBounds(x, copied, sums, upper);
}

}  // namespace bitnet::engine
