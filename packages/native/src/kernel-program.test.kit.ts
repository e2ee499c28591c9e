/**
 * Builds the C++ test program of the kernels. Objects are kept under `build/` by a hash of what they depend on, so that a
 * run without changes only links.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { kernelVectors } from "@bitnet.ts/core/conformance";
import { acceptsFlags, type Compiler, type Outcome, runCompiler } from "./build/compiler.ts";
import { type FileTexts, sourceHash } from "./build/source-hash.ts";
import { commonFlags, type KernelUnit } from "./build/units.ts";

const kernelFolder = fileURLToPath(new URL("../kernels/", import.meta.url));
const buildFolder = fileURLToPath(new URL("../build/kernel-test/", import.meta.url));
const testUnits: readonly KernelUnit[] = ["kernel-test.cc", "vectors.cc", "wrong-kernels.cc"].map((file) => ({
  file: `test/${file}`,
  flags: [],
}));

interface KernelProgram {
  /** Names the program and its objects. */
  name: string;
  compiler: Compiler;
  /** Units of the kernels, without those of the test. */
  units: readonly KernelUnit[];
  linkFlags: readonly string[];
}

interface BuiltProgram {
  path: string;
  /** Absolute path of the object of every unit, by its source. */
  objects: ReadonlyMap<string, string>;
}

/** Compiles what has changed and links. Throws with the compiler's words when it fails or warns. */
export async function buildKernelProgram(program: KernelProgram): Promise<BuiltProgram> {
  const folder = join(buildFolder, program.name);
  mkdirSync(folder, { recursive: true });
  const texts: FileTexts = new Map();
  const plans = [...program.units, ...testUnits].map(({ file, flags }) => {
    const source = join(kernelFolder, file);
    const hash = sourceHash(source, [program.compiler.identity, ...commonFlags, ...flags], texts);
    return { file, source, flags, object: join(folder, `${file.replaceAll(/[/.]/g, "-")}-${hash}.o`) };
  });
  const missing = plans.filter(({ object }) => !existsSync(object)).values();
  const work = async () => {
    for (const { source, flags, object } of missing) await compile(program.compiler, source, flags, object);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  const objects = new Map(plans.map(({ file, object }) => [file, object]));
  const kept = new Set(objects.values());
  for (const file of readdirSync(folder).map((name) => join(folder, name))) {
    if (file.endsWith(".o") && !kept.has(file)) rmSync(file);
  }
  const path = join(folder, "kernel-test");
  await runOrThrow(program.compiler, [...kept, ...program.linkFlags, "-o", path]);
  return { path, objects };
}

async function compile(
  compiler: Compiler,
  source: string,
  flags: readonly string[],
  object: string,
): Promise<void> {
  const known = (await acceptsFlags(compiler, flags)) ? flags : [];
  const temporary = `${object}.tmp`;
  await runOrThrow(compiler, [...commonFlags, ...known, "-c", source, "-o", temporary]);
  renameSync(temporary, object);
}

async function runOrThrow(compiler: Compiler, args: readonly string[]): Promise<void> {
  const { ok, messages } = await runCompiler(compiler, args);
  if (!ok || messages !== "") throw new Error(`${compiler.command.join(" ")} ${args.join(" ")}\n${messages}`);
}

/** A compiler by name, when it runs. */
export function compilerNamed(command: string): Compiler | undefined {
  const { status, stdout } = spawnSync(command, ["--version"], { encoding: "utf8" });
  return status === 0 ? { command: [command], identity: stdout.split("\n")[0] ?? "" } : undefined;
}

interface RunOptions {
  /** An emulator and its arguments. */
  runner?: readonly string[];
  /** A table to run although this machine does not announce it. */
  isa?: string;
}

/** Runs the program on the vectors of the reference. */
export function runKernelProgram(path: string, { runner = [], isa }: RunOptions = {}): Promise<Outcome> {
  const vectors = `${path}.vectors`;
  writeFileSync(vectors, kernelVectors());
  const [command = path, ...args] = [...runner, path, vectors, ...(isa === undefined ? [] : [isa])];
  return new Promise((resolve) => {
    const child = spawn(command, args);
    let messages = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        messages += text;
      });
    }
    child.on("error", (error) => resolve({ ok: false, messages: error.message }));
    child.on("close", (code, signal) => {
      if (signal !== null) messages += `ended by ${signal}\n`;
      resolve({ ok: code === 0, messages });
    });
  });
}
