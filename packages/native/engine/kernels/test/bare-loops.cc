// Prints the multiply-adds per second of the bare loops, of int8 and of f32, of every instruction set that this machine has. Usage: bare-loops [isa].
#include <cstdio>

#include "../isa.h"
#include "bare-loops.h"

int main(int argc, char** argv) {
  int count = 0;
  const bitnet::Variant* variants = bitnet::kernelVariants(&count);
  for (int i = 0; i < count; i++) {
    const auto& [isa, kernels, supported] = variants[i];
    if ((argc > 1 && std::strcmp(argv[1], isa) != 0) || !supported()) continue;
    const double speed = bitnet::bench::bareMultiply(isa);
    if (speed > 0) std::printf("%-11s bare multiply loop: %6.1f GMAC/s\n", isa, speed * 1e-9);
    const double fma = bitnet::bench::bareFma(isa);
    if (fma > 0) std::printf("%-11s bare f32 fma loop: %6.1f GFMA/s\n", isa, fma * 1e-9);
  }
}
