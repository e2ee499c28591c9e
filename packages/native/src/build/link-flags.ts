/**
 * The flags that link the addon: on Linux with the C++ runtime inside, and where the C library is glibc, so that the binary runs from
 * glibc 2.28 on whatever the linker's own version (node/glibc-floor.cc says how).
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { type Compiler, runCompiler } from "./compiler.ts";

/** First choice before what an unusual tool chain falls back to. */
export async function linkFlags(
  platform: NodeJS.Platform,
  compiler: Compiler,
  sources: readonly string[],
): Promise<readonly (readonly string[])[]> {
  if (platform === "darwin") return [["-bundle", "-undefined", "dynamic_lookup"]];
  const needed = ["-shared", "-pthread"];
  const inside = [...needed, "-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL"];
  const wrapped = (await usesGlibc(compiler)) ? wrappedNames(sources) : [];
  return [[...inside, ...wrapped.map((name) => `-Wl,--wrap=${name}`), "-ldl"], [...needed, "-ldl"], needed];
}

/** Functions that glibc-floor.cc stands before, where it is among the sources. */
function wrappedNames(sources: readonly string[]): string[] {
  const path = sources.find((source) => basename(source) === "glibc-floor.cc");
  if (path === undefined) return [];
  const names = [...readFileSync(path, "utf8").matchAll(/^\w.*?\b__wrap_(\w+)(?:\(| =)/gm)];
  return names.map(([, name = ""]) => name);
}

async function usesGlibc(compiler: Compiler): Promise<boolean> {
  const text = "#include <features.h>\n#ifndef __GLIBC__\n#error\n#endif\n";
  return (await runCompiler(compiler, ["-x", "c++", "-E", "-o", "/dev/null", "-"], text)).ok;
}
