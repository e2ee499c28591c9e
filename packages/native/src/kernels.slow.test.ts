/**
 * The C++ kernels against the answers of the reference, against each other and against deliberately wrong ones, on this
 * machine and for Arm in an emulator.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { compilerNamed, findCompiler } from "./build/compiler.ts";
import { plainObjects } from "./build/kernel-program.ts";
import { type KernelArch, kernelUnits } from "./build/units.ts";
import { buildKernelTest, runKernelProgram } from "./kernel-program.test.kit.ts";

const buildTimeoutMs = 240_000;
const compiler = findCompiler();
const arch: KernelArch = process.arch === "arm64" ? "arm64" : "x64";
const crossCompiler = compilerNamed("aarch64-linux-gnu-g++");
const emulator = compilerNamed("qemu-aarch64");

/** A missing tool skips a test, unless everything is asked for. */
const skipWithout = (tool: unknown) => tool === undefined && process.env.BITNET_REQUIRE_ALL !== "1";

/** Tables that the operating system says this machine has; null where it does not say. */
function tablesOfThisMachine(): string[] | null {
  const path = "/proc/cpuinfo";
  if (arch !== "x64" || !existsSync(path)) return null;
  const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync(path, "utf8"))?.[1]?.split(" "));
  const tables = [
    ["amx", ["amx_tile", "amx_int8", "avx512_vnni", "avx512bw", "avx512dq", "avx512vl"]],
    ["avx512vnni", ["avx512_vnni", "avx512bw", "avx512dq", "avx512vl"]],
    ["avxvnni", ["avx_vnni", "avx2"]],
    ["avx2", ["avx2", "fma", "f16c"]],
    ["scalar", []],
  ] as const;
  return tables.filter(([, needed]) => needed.every((flag) => flags.has(flag))).map(([name]) => name);
}

function passedTables(messages: string): string[] {
  return [...messages.matchAll(/^passed (\S+)$/gm)].map(([, name = ""]) => name);
}

describe.skipIf(skipWithout(compiler))(`on this machine (${compiler?.identity ?? "no C++ compiler"})`, () => {
  const build = (name: string, units = kernelUnits(arch), objectFolder = plainObjects) => {
    if (compiler === undefined) throw new Error("no C++ compiler: set CXX, or install c++, g++ or clang++");
    const flags = ["-pthread"];
    return buildKernelTest({ name, objectFolder, compiler, units, flags, linkFlags: flags });
  };

  test(
    "every table gives the answers of the reference",
    async () => {
      const { path } = await build("this-machine");
      const { ok, messages } = await runKernelProgram(path);
      expect(ok, messages).toBe(true);
      const expected = tablesOfThisMachine();
      if (expected) expect(passedTables(messages)).toEqual(expect.arrayContaining(expected));
      else expect(passedTables(messages)).toContain("scalar");
    },
    buildTimeoutMs,
  );

  test(
    "an object for one instruction set shares no function with the others",
    async () => {
      const { objects } = await build("this-machine");
      for (const { file, flags } of kernelUnits(arch)) {
        if (flags.length === 0) continue;
        const { status, stdout } = spawnSync("nm", ["-g", "-C", objects.get(file) ?? ""], {
          encoding: "utf8",
        });
        if (status !== 0) throw new Error("nm is missing");
        // All but what is undefined (U): the linker could take such a function for another machine's caller.
        const shared = stdout.split("\n").filter((line) => line !== "" && !/ U /.test(line));
        expect(shared, file).toEqual([expect.stringMatching(/ T _?bitnet::\w+Kernels\(\)$/)]);
      }
    },
    buildTimeoutMs,
  );

  // The tiles themselves are emulated; the rest of that table is AVX-512.
  test.skipIf(!tablesOfThisMachine()?.includes("avx512vnni"))(
    "the AMX table gives the answers of the reference on emulated tiles",
    async () => {
      const units = kernelUnits("x64");
      const flags = units.find(({ file }) => file === "avx512/kernels.cc")?.flags ?? [];
      const emulated = units.map((unit) =>
        unit.file === "amx/kernels.cc" ? { file: "test/amx-emulated.cc", flags } : unit,
      );
      const { path } = await build("emulated-tiles", emulated);
      const { ok, messages } = await runKernelProgram(path, { isa: "amx" });
      expect(ok, messages).toBe(true);
      expect(passedTables(messages)).toContain("amx");
    },
    buildTimeoutMs,
  );

  test(
    "a compiler that knows none of the flags leaves the scalar table",
    async () => {
      const bare = kernelUnits(arch).map(({ file }) => ({ file, flags: [] }));
      const { path } = await build("no-flags", bare, "kernel-test/no-flags");
      const { ok, messages } = await runKernelProgram(path);
      expect(ok, messages).toBe(true);
      // Some Arm compilers use dot products unasked.
      if (arch === "x64") expect(passedTables(messages)).toEqual(["scalar"]);
      else expect(passedTables(messages)).toContain("scalar");
    },
    buildTimeoutMs,
  );
});

describe.skipIf(skipWithout(crossCompiler) || skipWithout(emulator))(
  `for Arm (${crossCompiler?.identity ?? "no aarch64-linux-gnu-g++"}, ${emulator?.identity ?? "no qemu-aarch64"})`,
  () => {
    test(
      "the NEON tables give the answers of the reference",
      async () => {
        if (crossCompiler === undefined || emulator === undefined) {
          throw new Error(
            "aarch64-linux-gnu-g++ and qemu-aarch64 are needed: install g++-aarch64-linux-gnu and qemu-user",
          );
        }
        const { path } = await buildKernelTest({
          name: "arm64",
          compiler: crossCompiler,
          units: kernelUnits("arm64"),
          linkFlags: ["-static"],
        });
        const { ok, messages } = await runKernelProgram(path, { runner: ["qemu-aarch64"] });
        expect(ok, messages).toBe(true);
        expect(passedTables(messages)).toEqual(["neon-i8mm", "neon-dotprod", "scalar"]);
      },
      buildTimeoutMs,
    );
  },
);
