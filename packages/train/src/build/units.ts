/** The translation units of the training kernels and the flags of each; one that the compiler rejects comes out as null. */

interface Unit {
  /** Relative to `packages/train/native/engine/kernels`. */
  file: string;
  flags: readonly string[];
}

/** Square roots and comparisons in vectors; neither changes a result. Not every file uses all of the lanes' functions. */
const shared = ["-fno-math-errno", "-fno-trapping-math", "-Wno-unused-function"];
const avx2 = [...shared, "-mavx2", "-mfma", "-mf16c"];
const avx512 = [...avx2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"];

export function trainUnits(arch: "x64" | "arm64"): readonly Unit[] {
  const scalar = { file: "scalar.cc", flags: shared };
  if (arch === "arm64") return [scalar, { file: "neon.cc", flags: shared }];
  return [
    scalar,
    { file: "avx2.cc", flags: avx2 },
    { file: "avx512.cc", flags: avx512 },
    { file: "avx512vnni.cc", flags: [...avx512, "-mavx512vnni"] },
    { file: "avx512bf16.cc", flags: [...avx512, "-mavx512vnni", "-mavx512bf16"] },
  ];
}
