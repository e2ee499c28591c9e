// The integer products of WebAssembly, apart from the f32 kernels, since engines get each kind right or wrong by itself.
#pragma once
#include "../kernels.h"

namespace bitnet {

struct WasmDots {
  decltype(Kernels::ternaryMatmul) ternaryMatmul;
  decltype(Kernels::screenDots) screenDots;
};

// Products of activations in groups, which end in multiply-adds.
struct WasmGroups {
  decltype(Kernels::groupDots) groupDots;
  decltype(Kernels::groupOffsets) groupOffsets;
};

// Null where the module was built without relaxed instructions.
const WasmDots* wasmDotsI32();
const WasmDots* wasmDotsI16();
const WasmDots* wasmDotsPlain();
// With relaxed_madd; the tables of f32 kernels have those with plain dots.
const WasmGroups* wasmGroupsI32();
const WasmGroups* wasmGroupsI16();

// Tables of f32 kernels, without dots, by how they multiply and add; null as above.
const Kernels* wasmF32Madd();
const Kernels* wasmF32Exact();

// The tables that the dots and the f32 kernels make together; null where either is missing.
const Kernels* wasmI32Madd();
const Kernels* wasmI16Madd();
const Kernels* wasmPlainMadd();
const Kernels* wasmI32Exact();
const Kernels* wasmI16Exact();
const Kernels* wasmPlainExact();

// What the engine computes as it should, as proved by whoever started it: relaxed instructions may be implemented in more than one way.
enum WasmProof : uint32_t { proofDotI32 = 1, proofDotI16 = 2, proofMadd = 4 };
// The relaxed instructions that gave a wrong result in one round over values of all sizes.
uint32_t findWrongInstructions();
void setProvedInstructions(uint32_t proofs);
bool isProved(uint32_t proofs);

}  // namespace bitnet
