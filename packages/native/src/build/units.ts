/**
 * The translation units of the kernels and the compiler flags of each. A unit whose instruction-set flags the compiler
 * rejects is compiled without them; its table then comes out as null.
 */

export interface KernelUnit {
  /** Relative to `packages/native/engine/kernels`. */
  file: string;
  /** Instruction-set flags, to be added to `commonFlags`; may be rejected by an old compiler. */
  flags: readonly string[];
}

export type KernelArch = "x64" | "arm64";

/** Flags of every unit. No contraction and no fast-math: the order of roundings is part of the contract. */
export const commonFlags: readonly string[] = [
  "-std=c++20",
  "-O3",
  "-ffp-contract=off",
  "-fno-exceptions",
  "-fno-rtti",
  "-fPIC",
  "-Wall",
  "-Wextra",
];

const shared: readonly KernelUnit[] = [
  { file: "isa.cc", flags: [] },
  { file: "known-answer.cc", flags: [] },
  { file: "lane-probes.cc", flags: [] },
  { file: "probes.cc", flags: [] },
  { file: "samples.cc", flags: [] },
  { file: "scalar/kernels.cc", flags: [] },
];

const avx2 = ["-mavx2", "-mfma", "-mf16c"];
const avx512 = [...avx2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"];

const byArch: Record<KernelArch, readonly KernelUnit[]> = {
  x64: [
    { file: "avx2/kernels.cc", flags: avx2 },
    { file: "avxvnni/kernels.cc", flags: [...avx2, "-mavxvnni"] },
    { file: "avx512/kernels.cc", flags: avx512 },
    { file: "amx/kernels.cc", flags: [...avx512, "-mamx-tile", "-mamx-int8"] },
  ],
  arm64: [
    { file: "neon/kernels.cc", flags: ["-march=armv8.2-a+dotprod"] },
    { file: "neon/i8mm.cc", flags: ["-march=armv8.2-a+dotprod+i8mm"] },
  ],
};

export function kernelUnits(arch: KernelArch): readonly KernelUnit[] {
  return [...shared, ...byArch[arch]];
}
