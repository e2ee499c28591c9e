/**
 * Builds programs of the kernels that stand alone: their test and their bench. Objects are kept under `build/` by a hash of what they
 * depend on, so that a build without changes only links.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { acceptsFlags, type Compiler, findCompiler, runCompiler } from "./compiler.ts";
import { type FileTexts, sourceHash } from "./source-hash.ts";
import { commonFlags, type KernelUnit, kernelUnits } from "./units.ts";

const kernelFolder = fileURLToPath(new URL("../../engine/kernels/", import.meta.url));
const buildFolder = fileURLToPath(new URL("../../build/", import.meta.url));

/** Objects of this machine's programs that are compiled with `-pthread` and nothing else. */
export const plainObjects = "objects";

export interface KernelProgram {
  /** Folder of the program, below `build/`. */
  folder: string;
  /** Folder of its objects, below `build/`, where other programs of the same flags find them. Default: its own. */
  objectFolder?: string;
  name: string;
  compiler: Compiler;
  /** Sources relative to `engine/kernels`. */
  units: readonly KernelUnit[];
  /** Of every unit, beyond `commonFlags`. */
  flags?: readonly string[];
  linkFlags: readonly string[];
}

export interface BuiltProgram {
  path: string;
  /** Absolute path of the object of every unit, by its source. */
  objects: ReadonlyMap<string, string>;
}

/** Compiles what has changed and links. Throws with the compiler's words when it fails or warns. */
export async function buildKernelProgram(program: KernelProgram): Promise<BuiltProgram> {
  const folder = join(buildFolder, program.folder);
  const objectFolder = join(buildFolder, program.objectFolder ?? program.folder);
  for (const each of [folder, objectFolder]) mkdirSync(each, { recursive: true });
  const texts: FileTexts = new Map();
  const shared = [...commonFlags, ...(program.flags ?? [])];
  const plans = program.units.map(({ file, flags }) => {
    const source = join(kernelFolder, file);
    const hash = sourceHash(source, [program.compiler.identity, ...shared, ...flags], texts);
    return { file, source, flags, object: join(objectFolder, `${file.replaceAll(/[/.]/g, "-")}-${hash}.o`) };
  });
  const missing = plans.filter(({ object }) => !existsSync(object)).values();
  const work = async () => {
    for (const { source, flags, object } of missing)
      await compile(program.compiler, { source, object, shared, optional: flags });
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  const objects = new Map(plans.map(({ file, object }) => [file, object]));
  removeStale(objectFolder, [...objects.values()]);
  const path = join(folder, program.name);
  await runOrThrow(program.compiler, [...objects.values(), ...program.linkFlags, "-o", path]);
  return { path, objects };
}

/** A program of `engine/kernels/test` for this machine; null where it has no compiler, or no kernels exist for it. */
export async function buildKernelTool(name: "kernel-bench" | "bare-loops"): Promise<string | null> {
  const { arch } = process;
  const compiler = findCompiler();
  if (compiler === undefined || (arch !== "x64" && arch !== "arm64")) return null;
  const { path } = await buildKernelProgram({
    folder: "kernel-bench",
    objectFolder: plainObjects,
    name,
    compiler,
    units: [...kernelUnits(arch), { file: `test/${name}.cc`, flags: [] }],
    flags: ["-pthread"],
    linkFlags: ["-pthread"],
  });
  return path;
}

/** Removes earlier objects of the same sources; programs may share a folder. */
function removeStale(folder: string, kept: readonly string[]): void {
  const withoutHash = (path: string) => path.replace(/-[0-9a-f]+\.o$/, "");
  const ours = new Set(kept.map(withoutHash));
  for (const path of readdirSync(folder).map((name) => join(folder, name)))
    if (ours.has(withoutHash(path)) && !kept.includes(path) && path.endsWith(".o"))
      rmSync(path, { force: true });
}

interface Compilation {
  source: string;
  object: string;
  shared: readonly string[];
  /** Left out where the compiler does not know them. */
  optional: readonly string[];
}

async function compile(compiler: Compiler, { source, object, shared, optional }: Compilation): Promise<void> {
  const known = (await acceptsFlags(compiler, optional)) ? optional : [];
  // Another program may be compiling the same one.
  const temporary = `${object}.${process.pid}.tmp`;
  await runOrThrow(compiler, [...shared, ...known, "-c", source, "-o", temporary]);
  renameSync(temporary, object);
}

async function runOrThrow(compiler: Compiler, args: readonly string[]): Promise<void> {
  const { ok, messages } = await runCompiler(compiler, args);
  if (!ok || messages !== "") throw new Error(`${compiler.command.join(" ")} ${args.join(" ")}\n${messages}`);
}
