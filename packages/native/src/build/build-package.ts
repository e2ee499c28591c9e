/**
 * Builds the addon of this package, in a checkout or where it has been installed, into its folder `build/`.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { targets } from "../../platform-package.cjs";
import { type BuildOutcome, buildAddon } from "./build-addon.ts";
import { type Compiler, compilerNamed } from "./compiler.ts";
import { type KernelArch, kernelUnits } from "./units.ts";

const packageFolder = fileURLToPath(new URL("../..", import.meta.url));

/** `<platform>-<arch>[-libc]` of the packages `@bitnet.ts/native-…` that exist. */
export const prebuiltTargets = targets;

/** The compiler for the other architecture of Linux, where one is installed. */
export function crossCompiler(arch: KernelArch): Compiler | undefined {
  if (process.platform !== "linux" || arch === process.arch) return undefined;
  return compilerNamed(arch === "arm64" ? "aarch64-linux-gnu-g++" : "x86_64-linux-gnu-g++");
}

/** Where the addon of an architecture lies once it is built. */
export function addonPath(arch: string = process.arch): string {
  return join(packageFolder, "build", `${process.platform}-${arch}`, "bitnet.node");
}

export function buildPackage(
  say: (text: string) => void,
  cross?: { arch: KernelArch; compiler: Compiler },
  onCompiled?: (done: number, total: number) => void,
): Promise<BuildOutcome> {
  // Found as any dependency is, wherever it was installed.
  const headers = createRequire(import.meta.url).resolve("node-api-headers/package.json");
  return buildAddon({
    packageFolder,
    headerFolder: join(dirname(headers), "include"),
    kernels: kernelUnits,
    ...(cross === undefined ? {} : { cross }),
    say,
    ...(onCompiled === undefined ? {} : { onCompiled }),
  });
}
