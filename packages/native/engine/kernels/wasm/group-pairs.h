// Blocks of weights in pairs, for activations in groups: everything that group-dots.inl.h asks for. Include after lanes.h and a header that defines
// wordDots(16 bytes of weights, x), Σ code · x of each of their words of 4 bytes, 64 activations between those of a plane and the next.
#pragma once

namespace bitnet {
namespace {

inline constexpr int groupRowsAtOnce = 2;
inline constexpr int groupActivations = 1;

struct PairCodes {
  v128_t packed[4];  // [half block]
};

inline PairCodes unpackPair(const uint8_t* codes) {
  return {{wasm_v128_load(codes), wasm_v128_load(codes + 16), wasm_v128_load(codes + 32), wasm_v128_load(codes + 48)}};
}

inline I32x16 pairDots(const PairCodes& codes, const int8_t* x) {
  return eachQuad<I32x16>([&](int half) { return wordDots(codes.packed[half], x + 16 * half); });
}

}  // namespace
}  // namespace bitnet
