/** The oldest glibc that a binary of this package runs on, read from its symbol versions, for x64 and Arm. */
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { addonPath, buildPackage, crossCompiler } from "./build-package.ts";
import { compilerNamed } from "./compiler.ts";

/** A missing tool skips a test, unless everything is asked for. */
const isLinux = process.platform === "linux";
const all = process.env.BITNET_REQUIRE_ALL === "1";
const objdump = compilerNamed("objdump");
const arm = crossCompiler("arm64");
const floor = [2, 28];

/** Versioned symbols that the binary needs and that came after the floor. */
function newerSymbols(path: string, tool: string): string[] {
  const { stdout, status, stderr } = spawnSync(tool, ["-T", path], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  const needed = [...stdout.matchAll(/\*UND\*.*?\(?GLIBC_(\d+)\.(\d+)[\d.]*\)?\s+(\S+)/g)];
  expect(needed.length).toBeGreaterThan(10);
  return needed
    .filter(
      ([, major, minor]) => Number(major) * 1000 + Number(minor) > (floor[0] ?? 0) * 1000 + (floor[1] ?? 0),
    )
    .map(([, major, minor, name]) => `${name}@GLIBC_${major}.${minor}`);
}

/** The C++ runtime is inside: its versions would bind the binary to a distribution as glibc's do. */
function neededLibraries(path: string, tool: string): string[] {
  const { stdout } = spawnSync(tool, ["-p", path], { encoding: "utf8" });
  return [...stdout.matchAll(/NEEDED\s+(\S+)/g)].map(([, name = ""]) => name).sort();
}

test.skipIf(!isLinux || (objdump === undefined && !all))(
  "this machine's binary runs from glibc 2.28 on",
  async () => {
    expect(await buildPackage(() => {})).toBe("built");
    expect(newerSymbols(addonPath(), "objdump")).toEqual([]);
    expect(neededLibraries(addonPath(), "objdump").join(" ")).not.toMatch(/stdc\+\+|gcc_s/);
  },
  240_000,
);

test.skipIf(!isLinux || process.arch === "arm64" || (arm === undefined && !all))(
  "the binary for Arm runs from glibc 2.28 on",
  async () => {
    if (arm === undefined) throw new Error("aarch64-linux-gnu-g++ is needed: install g++-aarch64-linux-gnu");
    let said = "";
    const say = (text: string) => {
      said += text;
    };
    expect(await buildPackage(say, { arch: "arm64", compiler: arm }), said).toBe("built");
    expect(newerSymbols(addonPath("arm64"), "aarch64-linux-gnu-objdump")).toEqual([]);
    expect(neededLibraries(addonPath("arm64"), "aarch64-linux-gnu-objdump").join(" ")).not.toMatch(
      /stdc\+\+|gcc_s/,
    );
  },
  600_000,
);
