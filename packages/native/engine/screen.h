// The head's table once more in int8, one scale a row, and what it takes to bound how far a logit can lie from what the copy says
// (docs/kernels.md, "The screened head"). Knows nothing of requests or threads.
#pragma once
#include <atomic>

#include "kernels/kernels.h"
#include "allocations.h"

namespace bitnet::engine {

struct RowRange {
  int32_t first, n;
};

class Screen {
 public:
  // No copy of such a table is made: sums must fit int32.
  static constexpr int32_t mostCols = 1 << 16;

  // Before anything else; rows of 0 columns: there is nothing to screen.
  void plan(int32_t rows, int32_t cols);
  bool isPlanned() const { return stride_ > 0; }
  // Bytes of a row of the copy, and of a row of digits: a multiple of 64.
  size_t stride() const { return stride_; }

  // False when there is no memory; then no copy will be made.
  bool allocate();
  // The copy is made in pieces, so that no step has to wait for the whole of it: rows [filled(), pieceEnd()) are the next one.
  int32_t filled() const { return filled_; }
  int32_t pieceEnd() const;
  // Copies one row of the table; different rows by different threads.
  void fillRow(const Kernels& kernels, int32_t row, const float* weights);
  // The next piece has been filled. Gives the memory back when the copy turns out to be of no use. Not while anybody reads it.
  void advance();
  bool isReady() const { return isReady_; }
  bool isMissing() const { return isPlanned() && !isReady_; }
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  // Splits a finite x [cols], a normalised row, into rows of digits with their sums, and bounds the error of its products with the copy. False when a logit might overflow: then only the product itself tells.
  bool split(const float* x, int8_t* high, int8_t* low, int32_t sums[2], ScreenFactors& factors) const;

  const int8_t* row(int32_t row) const { return values_.data() + static_cast<size_t>(row) * stride_; }
  // upper[i] = an f32 that the logit of row rows.first + i does not exceed, given the digits' sums.
  void upperBounds(const Kernels& kernels, const ScreenFactors& x, RowRange rows, const DigitSums& sums, float* upper) const;

 private:
  static constexpr size_t pieceBytes = size_t{32} << 20;

  float upperNorm(float squares) const;
  void drop();

  int32_t rows_ = 0, cols_ = 0, filled_ = 0;
  size_t stride_ = 0;
  double gamma_ = 0;  // relative error of a dot product as it is computed
  bool isReady_ = false;
  std::atomic<uint64_t> bytes_{0};
  Array<int8_t> values_;  // [rows, stride]
  Array<float> scales_, losses_, norms_;  // [rows] of the copy; ‖w − copy‖ and ‖w‖, rounded up
  double largestNorm_ = 0;
};

}  // namespace bitnet::engine
