/** The oldest glibc that the compiled addons run on, read from their symbol versions: the backend's and the trainer's, for x64 and Arm. */
import { spawnSync } from "node:child_process";
import { addonPath, buildPackage, crossCompiler } from "@bitnet.ts/native/build/package";
import { buildTrainer, trainerPath } from "@bitnet.ts/train/build";
import { describe, expect, test } from "vitest";

/** A missing tool skips a test, unless everything is asked for. */
const isLinux = process.platform === "linux";
const all = process.env.BITNET_REQUIRE_ALL === "1";
const hasObjdump = spawnSync("objdump", ["--version"]).status === 0;
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

const addons = [
  { name: "backend", build: buildPackage, path: addonPath },
  { name: "trainer", build: buildTrainer, path: trainerPath },
] as const;

describe.each(addons)("the $name's addon", ({ build, path }) => {
  test.skipIf(!isLinux || (!hasObjdump && !all))(
    "of this machine runs from glibc 2.28 on",
    async () => {
      expect(await build(() => {})).toBe("built");
      expect(newerSymbols(path(), "objdump")).toEqual([]);
      expect(neededLibraries(path(), "objdump").join(" ")).not.toMatch(/stdc\+\+|gcc_s/);
    },
    240_000,
  );

  test.skipIf(!isLinux || process.arch === "arm64" || (arm === undefined && !all))(
    "for Arm runs from glibc 2.28 on",
    async () => {
      if (arm === undefined)
        throw new Error("aarch64-linux-gnu-g++ is needed: install g++-aarch64-linux-gnu");
      let said = "";
      const say = (text: string) => {
        said += text;
      };
      expect(await build(say, { arch: "arm64", compiler: arm }), said).toBe("built");
      expect(newerSymbols(path("arm64"), "aarch64-linux-gnu-objdump")).toEqual([]);
      expect(neededLibraries(path("arm64"), "aarch64-linux-gnu-objdump").join(" ")).not.toMatch(
        /stdc\+\+|gcc_s/,
      );
    },
    600_000,
  );
});
