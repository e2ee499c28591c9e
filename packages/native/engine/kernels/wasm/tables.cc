// The six tables that three kinds of dots and two of multiply-adds make together.
#include "dots.h"

namespace bitnet {
namespace {

const Kernels* combine(Kernels& made, const char* isa, const WasmDots* dots, const Kernels* f32, const WasmGroups* groups = nullptr) {
  if (!dots || !f32) return nullptr;
  made = *f32;
  made.isa = isa;
  made.ternaryMatmul = dots->ternaryMatmul;
  made.screenDots = dots->screenDots;
  if (groups) made.groupDots = groups->groupDots, made.groupOffsets = groups->groupOffsets;
  return &made;
}

Kernels made[6];

}  // namespace

const Kernels* wasmI32Madd() { return combine(made[0], "wasm-i32-madd", wasmDotsI32(), wasmF32Madd(), wasmGroupsI32()); }
const Kernels* wasmI16Madd() { return combine(made[1], "wasm-i16-madd", wasmDotsI16(), wasmF32Madd(), wasmGroupsI16()); }
const Kernels* wasmPlainMadd() { return combine(made[2], "wasm-plain-madd", wasmDotsPlain(), wasmF32Madd()); }
const Kernels* wasmI32Exact() { return combine(made[3], "wasm-i32-exact", wasmDotsI32(), wasmF32Exact()); }
const Kernels* wasmI16Exact() { return combine(made[4], "wasm-i16-exact", wasmDotsI16(), wasmF32Exact()); }
const Kernels* wasmPlainExact() { return combine(made[5], "wasm-plain-exact", wasmDotsPlain(), wasmF32Exact()); }

}  // namespace bitnet
