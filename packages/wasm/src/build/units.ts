/**
 * What the modules are compiled from: the engine of packages/native in a few units of many files each, since reading the C++ library's headers
 * takes most of the time. Two files whose private names clash stand in different units; the compiler says so.
 */

import { readdirSync } from "node:fs";
import { initialPages, pageBytes, stackBytes } from "../engine.ts";

export type ModuleKind = "relaxed" | "plain";

export interface WasmUnit {
  name: string;
  /** Relative to `packages/native/engine`. */
  files: readonly string[];
  flags: readonly string[];
}

/** Flags of every unit. No contraction: the order of roundings is part of the contract. */
export const commonFlags: readonly string[] = [
  "--target=wasm32-wasip1",
  "-std=c++20",
  "-O3",
  "-ffp-contract=off",
  "-fno-exceptions",
  "-fno-rtti",
  "-fno-threadsafe-statics",
  "-msimd128",
  "-mbulk-memory",
  "-matomics",
  "-Wall",
  "-Wextra",
  // Of a job, the owner and the next one in the queue, which the native pool has.
  "-Wno-unused-private-field",
];

const relaxed = ["-mrelaxed-simd"];

/** What wasm/ has in another form, or what only measures and tests the native engine. */
const nativeOnly = ["allocations.cc", "bandwidth.cc", "engine.cc", "kv-arena.cc", "mapping.cc", "pool.cc"];
/** Its names clash with those of other files of the engine. */
const apart = ["screened-head.cc", "step.cc"];

const engineFiles = readdirSync(new URL("../../../native/engine/", import.meta.url))
  .filter((file) => file.endsWith(".cc") && !nativeOnly.includes(file) && !apart.includes(file))
  .sort();

const machineFiles = ["allocations", "exports", "kv-arena", "mapping", "pool", "text", "traps"];

const shared: readonly WasmUnit[] = [
  { name: "engine", files: engineFiles, flags: [] },
  { name: "machine", files: [...apart, ...machineFiles.map((name) => `wasm/${name}.cc`)], flags: [] },
  {
    name: "proofs",
    files: ["isa.cc", "known-answer.cc", "lane-probes.cc", "probes.cc", "samples.cc", "wasm/tables.cc"].map(
      (file) => `kernels/${file}`,
    ),
    flags: ["-O1"],
  },
  // Only the judge of the others: small rather than fast.
  { name: "scalar", files: ["kernels/scalar/kernels.cc"], flags: ["-Os"] },
  { name: "f32-exact", files: ["kernels/wasm/f32-exact.cc"], flags: [] },
  { name: "dots-plain", files: ["kernels/wasm/dots-plain.cc"], flags: [] },
];

const relaxedFiles = ["dots-i32", "dots-i16", "f32-madd", "groups-i32", "groups-i16", "proof"];

const byKind: Readonly<Record<ModuleKind, readonly WasmUnit[]>> = {
  relaxed: relaxedFiles.map((name) => ({ name, files: [`kernels/wasm/${name}.cc`], flags: relaxed })),
  // What is left of them tells that there are no such tables.
  plain: [{ name: "no-relaxed", files: relaxedFiles.map((name) => `kernels/wasm/${name}.cc`), flags: [] }],
};

export function unitsOf(kind: ModuleKind): readonly WasmUnit[] {
  return [...shared, ...byKind[kind]];
}

export const linkFlags: readonly string[] = [
  "--target=wasm32-wasip1",
  "-nostartfiles",
  "-Wl,--no-entry",
  "-Wl,--import-memory",
  "-Wl,--shared-memory",
  `-Wl,--initial-memory=${initialPages * pageBytes}`,
  "-Wl,--max-memory=4294967296",
  // The C library was compiled without atomics; what is taken of it (exp, strlen) shares nothing.
  "-Wl,--no-check-features",
  `-Wl,-z,stack-size=${stackBytes}`,
  "-Wl,--export=__stack_pointer",
  "-Wl,--strip-all",
];
