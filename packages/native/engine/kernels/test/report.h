// Counts and prints what the tests find.
#pragma once
#include <cstdio>
#include <cstring>

namespace bitnet::test {

struct Report {
  int checks = 0;
  int failures = 0;

  void check(bool holds, const char* isa, const char* what) {
    checks++;
    if (holds) return;
    failures++;
    std::printf("FAIL %s %s\n", isa, what);
  }

  // Compares bits and prints the first element that differs.
  template <class T>
  void equal(const T* actual, const T* expected, size_t n, const char* isa, const char* what) {
    checks++;
    if (std::memcmp(actual, expected, n * sizeof(T)) == 0) return;
    failures++;
    for (size_t i = 0; i < n; i++) {
      if (std::memcmp(actual + i, expected + i, sizeof(T)) == 0) continue;
      std::printf("FAIL %s %s: [%zu of %zu] actual %.9g, expected %.9g\n", isa, what, i, n, static_cast<double>(actual[i]),
                  static_cast<double>(expected[i]));
      return;
    }
  }
};

}  // namespace bitnet::test
