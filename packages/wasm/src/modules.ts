/**
 * The two modules: one with relaxed SIMD, and one for engines that reject a whole module for an instruction that they do not know. Each is compiled
 * once, and every worker gets the compiled one.
 */
import { BitNetError } from "@bitnet.ts/core";
import { allowRelaxed, type Places, readModule } from "#host";

export type ModuleKind = "relaxed" | "plain";

/** (i32.const 0) × 3, splat, f32x4.relaxed_madd, drop: valid where relaxed SIMD is. */
const relaxedProbe = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 20, 1, 18, 0],
  ...[65, 0, 253, 17, 65, 0, 253, 17, 65, 0, 253, 17, 253, 133, 2, 26, 11],
);

/** Whether the engine knows relaxed SIMD, once it was asked for it. */
export function offersRelaxed(): boolean {
  if (WebAssembly.validate(relaxedProbe)) return true;
  allowRelaxed();
  return WebAssembly.validate(relaxedProbe);
}

/** @throws BitNetError BACKEND_UNAVAILABLE. */
export async function compileModule(kind: ModuleKind, places: Places): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile((await readModule(kind, places)) as BufferSource);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BitNetError("BACKEND_UNAVAILABLE", `wasm: the ${kind} module cannot be loaded (${reason})`, {
      cause,
    });
  }
}
