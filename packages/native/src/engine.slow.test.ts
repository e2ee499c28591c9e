/**
 * The engine's own test program, built without Node: plain, and under the sanitizers. Short under these, unless BITNET_SANITIZE_ALL=1, which also
 * runs the test of the kernels so.
 */
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { findCompiler } from "./build/compiler.ts";
import { buildEngineTest, type Sanitizer, sanitizerFlags } from "./build/engine-program.ts";
import { type KernelArch, kernelUnits } from "./build/units.ts";
import { buildKernelTest, runKernelProgram } from "./kernel-program.test.kit.ts";

const timeoutMs = 900_000;
const compiler = findCompiler();
const arch: KernelArch = process.arch === "arm64" ? "arm64" : "x64";
const isEverything = process.env.BITNET_SANITIZE_ALL === "1";

/** Why nothing runs; null when it does. */
const missing = compiler === undefined ? "no C++ compiler: set CXX, or install c++, g++ or clang++" : null;

function run(path: string, args: readonly string[]): { ok: boolean; messages: string } {
  const { status, signal, stdout, stderr } = spawnSync(path, args, {
    encoding: "utf8",
    // A pool that loses a job waits for ever.
    timeout: timeoutMs / 3,
    env: { ...process.env, ASAN_OPTIONS: "detect_leaks=0", TSAN_OPTIONS: "halt_on_error=1" },
  });
  return { ok: status === 0, messages: `${stdout}${stderr}${signal ?? ""}` };
}

async function build(name: string, flags: readonly string[]): Promise<string> {
  if (compiler === undefined) throw new Error(missing ?? "");
  return (await buildEngineTest({ name, compiler, arch, flags })).path;
}

test.skipIf(missing)(
  `the engine without Node gives the bits of the scalar kernels on every instruction set${missing ? ` (${missing})` : ""}`,
  async () => {
    const { ok, messages } = run(await build("plain", []), []);
    expect(ok, messages).toBe(true);
    expect(messages).toMatch(/^with scalar$/m);
    expect(messages).toMatch(/\d+ checks, 0 failures/);
  },
  timeoutMs,
);

test.skipIf(missing).each<Sanitizer>(["address", "thread"])(
  "nothing is found by the %s sanitizer",
  async (sanitizer) => {
    const { ok, messages } = run(
      await build(sanitizer, sanitizerFlags(sanitizer)),
      isEverything ? [] : ["short"],
    );
    expect(ok, messages).toBe(true);
    expect(messages).toMatch(/\d+ checks, 0 failures/);
  },
  timeoutMs,
);

test.skipIf(missing || !isEverything)(
  "nothing is found by the address sanitizer in the test of the kernels",
  async () => {
    if (compiler === undefined) throw new Error(missing ?? "");
    const flags = ["-pthread", ...sanitizerFlags("address")];
    const { path } = await buildKernelTest({
      ...{ name: "address", folder: "engine-test/address" },
      ...{ compiler, units: kernelUnits(arch), flags, linkFlags: flags },
    });
    const { ok, messages } = await runKernelProgram(path);
    expect(ok, messages).toBe(true);
  },
  timeoutMs,
);
