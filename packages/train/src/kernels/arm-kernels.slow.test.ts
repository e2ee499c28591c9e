/**
 * The training kernels in C++ without Node: those of this machine, and in an emulator those of Arm, leave the same bits in their buffers.
 * That those are the reference's is what native-kernels.test.ts shows.
 */
import { spawnSync } from "node:child_process";
import { buildKernelProgram } from "@bitnet.ts/native/build/kernel-program";
import { expect, it } from "vitest";
import { trainUnits } from "../build/units.ts";

const isAll = process.env.BITNET_REQUIRE_ALL === "1";
const runs = (command: string) => spawnSync(command, ["--version"]).status === 0;
const canEmulate = process.platform === "linux" && runs("aarch64-linux-gnu-g++") && runs("qemu-aarch64");
const hasCompiler = process.platform === "linux" && process.arch === "x64" && runs("g++");

/** By table and threads, the hash of what it computes. */
async function hashesOf(arch: "x64" | "arm64"): Promise<Map<string, string>> {
  const command = arch === "arm64" ? "aarch64-linux-gnu-g++" : "g++";
  const version = spawnSync(command, ["--version"], { encoding: "utf8" }).stdout.split("\n")[0] ?? "";
  const engine = "../../../train/native/engine"; // from packages/native/engine/kernels
  const plain = ["operations.cc", "team.cc", "test/kernels-test.cc"].map((file) => ({
    file,
    flags: [] as string[],
  }));
  // Two tables are compared as they are built; the scalar one, which takes long, plainly; without flags the others come out empty.
  const flagsOf = ({ file, flags }: { file: string; flags: readonly string[] }) =>
    file === "avx2.cc" || file === "neon.cc" ? flags : file === "scalar.cc" ? [...flags, "-O1"] : [];
  const kernels = trainUnits(arch).map((unit) => ({ file: `kernels/${unit.file}`, flags: flagsOf(unit) }));
  const { path } = await buildKernelProgram({
    folder: `train-kernels-test/${arch}`,
    name: "kernels-test",
    compiler: { command: [command], identity: `${command} ${version}` },
    units: [...kernels, ...plain].map(({ file, flags }) => ({ file: `${engine}/${file}`, flags })),
    linkFlags: ["-static", "-pthread"],
  });
  const [program = path, ...args] = arch === "arm64" ? ["qemu-aarch64", path] : [path];
  const { stdout, stderr, status } = spawnSync(program, args, { encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return new Map(
    stdout
      .trim()
      .split("\n")
      .map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)]),
  );
}

it.skipIf(!isAll && !(canEmulate && hasCompiler))(
  "NEON, AVX2 and plain C++ compute the same bits, with one thread and with three",
  async () => {
    const [here, arm] = [await hashesOf("x64"), await hashesOf("arm64")];
    expect([...arm.keys()]).toEqual(["neon 1", "neon 3", "scalar 1", "scalar 3"]);
    expect(here.size).toBe(4);
    expect(new Set([...here.values(), ...arm.values()]).size).toBe(1);
  },
  240_000,
);
