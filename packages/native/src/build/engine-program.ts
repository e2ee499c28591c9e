/** The engine as a program of its own, without Node: its test (`engine/test`), plain or under a sanitizer. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Compiler } from "./compiler.ts";
import { type BuiltProgram, buildKernelProgram, plainObjects } from "./kernel-program.ts";
import { type KernelArch, type KernelUnit, kernelUnits } from "./units.ts";

const engineFolder = fileURLToPath(new URL("../../engine/", import.meta.url));

export type Sanitizer = "address" | "thread";

/** Flags of the compiler and of the linker. What a sanitizer finds ends the program. */
export function sanitizerFlags(sanitizer: Sanitizer): readonly string[] {
  const kinds = sanitizer === "address" ? "address,undefined" : "thread";
  return ["-O1", "-g1", `-fsanitize=${kinds}`, "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];
}

export interface EngineTest {
  /** Names the folder of the program and its objects. */
  name: string;
  compiler: Compiler;
  arch: KernelArch;
  flags: readonly string[];
}

/** Throws with the compiler's words when it fails or warns. */
export function buildEngineTest({ name, compiler, arch, flags }: EngineTest): Promise<BuiltProgram> {
  const units = [...kernelUnits(arch), ...unitsIn(""), ...unitsIn("test/")];
  return buildKernelProgram({
    folder: `engine-test/${name}`,
    ...(flags.length === 0 ? { objectFolder: plainObjects } : {}),
    name: "engine-test",
    compiler,
    units,
    flags: ["-pthread", ...flags],
    linkFlags: ["-pthread", ...flags],
  });
}

/** Every source that stands in this folder of the engine. */
function unitsIn(folder: string): KernelUnit[] {
  return readdirSync(`${engineFolder}${folder}`)
    .filter((file) => file.endsWith(".cc"))
    .sort()
    .map((file) => ({ file: `../${folder}${file}`, flags: [] }));
}
