/**
 * Builds the native addon with the machine's own C++ compiler. Needs neither Python nor make nor a download. Objects are kept by a hash of
 * everything they depend on, so that a build without changes only compares. Without a compiler it says so and succeeds: a
 * slower backend serves.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { acceptsFlags, type Compiler, findCompiler, runCompiler } from "./compiler.ts";
import { linkFlags } from "./link-flags.ts";
import { type FileTexts, sourceHash } from "./source-hash.ts";
import { commonFlags, type KernelArch, type KernelUnit } from "./units.ts";

const binaryName = "bitnet.node";

/** What lets a binary run on older versions of glibc; see link-flags.ts. */
export const glibcFloor: string = fileURLToPath(new URL("../../node/glibc-floor.cc", import.meta.url));

interface AddonBuild {
  /** Holds the folders `engine` (with `kernels` in it) and `node`, and gets the folder `build`. */
  packageFolder: string;
  /** Include folder of the Node-API headers. */
  headerFolder: string;
  /** Sources from elsewhere that are compiled in: `glibcFloor`, where the package has none of its own. */
  moreSources?: readonly string[];
  kernels: (arch: KernelArch) => readonly KernelUnit[];
  /** A foreign architecture and the compiler for it. Default: this machine's. */
  cross?: { arch: KernelArch; compiler: Compiler };
  /** Receives what a person should read, in whole lines. */
  say: (text: string) => void;
  /** How many of the units that have to be compiled are. */
  onCompiled?: (done: number, total: number) => void;
}

interface Unit {
  /** Absolute. */
  source: string;
  /** Instruction-set flags, left out where the compiler does not know them. */
  optionalFlags: readonly string[];
  flags: readonly string[];
  object: string;
}

class CompileError extends Error {}

/** Paths of the `.cc` files that stand in the folder itself. */
function sourcesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".cc"))
    .sort()
    .map((file) => join(folder, file));
}

function planUnits(build: AddonBuild, arch: KernelArch, compiler: Compiler, objectFolder: string): Unit[] {
  const { packageFolder, headerFolder, moreSources = [] } = build;
  const texts: FileTexts = new Map();
  const kernels = build.kernels(arch).map(({ file, flags }) => ({
    source: join(packageFolder, "engine", "kernels", file),
    optionalFlags: flags,
    flags: [...commonFlags, "-fvisibility=hidden"],
  }));
  const unitsOf = (sources: readonly string[], flags: readonly string[]) =>
    sources.map((source) => ({
      source,
      optionalFlags: [],
      flags: [...commonFlags, "-fvisibility=hidden", ...flags],
    }));
  const engine = unitsOf(sourcesIn(join(packageFolder, "engine")), []);
  const addon = unitsOf(
    [...sourcesIn(join(packageFolder, "node")), ...moreSources],
    ["-DNAPI_VERSION=8", "-isystem", headerFolder],
  );
  return [...kernels, ...engine, ...addon].map((unit) => {
    const hash = sourceHash(unit.source, [compiler.identity, ...unit.flags, ...unit.optionalFlags], texts);
    const name = relative(packageFolder, unit.source)
      .replace(/\.cc$/, "")
      .replaceAll(/\.\.[/\\]/g, "")
      .replaceAll(/[/\\]/g, "-");
    return { ...unit, object: join(objectFolder, `${name}-${hash}.o`) };
  });
}

async function compile(compiler: Compiler, unit: Unit, say: AddonBuild["say"]): Promise<void> {
  const known = await acceptsFlags(compiler, unit.optionalFlags);
  const flags = known ? [...unit.flags, ...unit.optionalFlags] : unit.flags;
  const temporary = `${unit.object}.${process.pid}.tmp`;
  const { ok, messages } = await runCompiler(compiler, [...flags, "-c", unit.source, "-o", temporary]);
  if (!ok) throw new CompileError(messages);
  if (messages !== "") say(messages);
  renameSync(temporary, unit.object);
}

/** Runs `task` on every item, as many at a time as there are cores; the first failure stops the rest from starting. */
async function inParallel<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  let failed = false;
  const worker = async () => {
    for (const item of queue) {
      if (failed) return;
      try {
        await task(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

async function link(
  compiler: Compiler,
  objects: readonly string[],
  choices: readonly (readonly string[])[],
  binary: string,
): Promise<void> {
  const temporary = `${binary}.${process.pid}.tmp`;
  let last = "";
  for (const flags of choices) {
    const { ok, messages } = await runCompiler(compiler, [...objects, ...flags, "-o", temporary]);
    last = messages;
    if (!ok) continue;
    // Renamed, because a process may have the old binary mapped.
    renameSync(temporary, binary);
    return;
  }
  throw new CompileError(last);
}

/** Removes objects of earlier sources, but not what another build may just be writing. */
function removeStale(folder: string, keep: ReadonlySet<string>): void {
  for (const file of readdirSync(folder)) {
    if (file.endsWith(".o") && !keep.has(join(folder, file))) rmSync(join(folder, file), { force: true });
  }
}

async function buildWith(build: AddonBuild, compiler: Compiler, arch: KernelArch): Promise<void> {
  const { say, packageFolder } = build;
  const began = performance.now();
  const folder = join(packageFolder, "build", `${process.platform}-${arch}`);
  const objectFolder = join(folder, "objects");
  mkdirSync(objectFolder, { recursive: true });
  const units = planUnits(build, arch, compiler, objectFolder);
  const objects = units.map(({ object }) => object);
  const binary = join(folder, binaryName);
  const stamp = join(folder, `${binaryName}.stamp`);
  const linking = await linkFlags(
    process.platform,
    compiler,
    units.map(({ source }) => source),
  );
  const expected = createHash("sha256")
    .update([...objects, ...linking.flat()].join("\0"))
    .digest("hex");
  if (existsSync(binary) && existsSync(stamp) && readFileSync(stamp, "utf8") === expected) {
    say(`native: ${binary} is up to date\n`);
    return;
  }
  const missing = units.filter(({ object }) => !existsSync(object));
  let nDone = 0;
  if (missing.length > 0) build.onCompiled?.(nDone, missing.length);
  await inParallel(missing, async (unit) => {
    await compile(compiler, unit, say);
    build.onCompiled?.(++nDone, missing.length);
  });
  await link(compiler, objects, linking, binary);
  writeFileSync(stamp, expected);
  removeStale(objectFolder, new Set(objects));
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  say(`native: ${binary}: ${missing.length} of ${units.length} units compiled in ${seconds} s\n`);
}

/** `unsupported` and `no-compiler`: this machine cannot build it; `failed`: the compiler found an error. All but `built` have been said. */
export type BuildOutcome = "built" | "unsupported" | "no-compiler" | "failed";

export async function buildAddon(build: AddonBuild): Promise<BuildOutcome> {
  const { platform } = process;
  const arch = build.cross?.arch ?? process.arch;
  if ((platform !== "linux" && platform !== "darwin") || (arch !== "x64" && arch !== "arm64")) {
    build.say(`native: no build for ${platform}-${arch}; a slower backend serves\n`);
    return "unsupported";
  }
  const compiler = build.cross?.compiler ?? findCompiler();
  if (compiler === undefined) {
    build.say(
      "native: no C++ compiler found (set CXX, or install c++, g++ or clang++); a slower backend serves\n",
    );
    return "no-compiler";
  }
  try {
    await buildWith(build, compiler, arch);
    return "built";
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    build.say(`${error.message}native: the compiler failed\n`);
    return "failed";
  }
}
