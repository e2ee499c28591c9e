/**
 * Builds and runs the C++ test program of the kernels.
 */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { kernelVectors } from "@bitnet.ts/core/conformance";
import type { Compiler, Outcome } from "./build/compiler.ts";
import { type BuiltProgram, buildKernelProgram } from "./build/kernel-program.ts";
import type { KernelUnit } from "./build/units.ts";

const testUnits: readonly KernelUnit[] = ["kernel-test.cc", "vectors.cc", "wrong-kernels.cc"].map((file) => ({
  file: `test/${file}`,
  flags: [],
}));

interface KernelTest {
  /** Names the folder of the program, unless that is given. */
  name: string;
  /** Below `build/`: another program's, whose objects of equal flags then serve this one, too. */
  folder?: string;
  objectFolder?: string;
  compiler: Compiler;
  /** Units of the kernels, without those of the test. */
  units: readonly KernelUnit[];
  /** Of every unit. */
  flags?: readonly string[];
  linkFlags: readonly string[];
}

/** Throws with the compiler's words when it fails or warns. */
export function buildKernelTest({
  name,
  folder = join("kernel-test", name),
  objectFolder = folder,
  compiler,
  units,
  flags = [],
  linkFlags,
}: KernelTest): Promise<BuiltProgram> {
  return buildKernelProgram({
    folder,
    objectFolder,
    name: "kernel-test",
    compiler,
    units: [...units, ...testUnits],
    flags,
    linkFlags,
  });
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
