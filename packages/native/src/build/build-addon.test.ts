/** The build of the addon, on a package of three small units, with the machine's compiler or without one. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type BuildOutcome, buildAddon } from "./build-addon.ts";
import { findCompiler } from "./compiler.ts";

const hasCompiler = findCompiler() !== undefined;
const target = `${process.platform}-${process.arch}`;

describe("building the addon", () => {
  let folder: string;
  let said: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bitnet-build-"));
    said = "";
    mkdirSync(join(folder, "engine", "kernels"), { recursive: true });
    mkdirSync(join(folder, "node"));
    write("engine/kernels/value.h", "#pragma once\nint value();\n");
    write("engine/kernels/value.cc", '#include "value.h"\nint value() { return 7; }\n');
    write("engine/twice.h", "#pragma once\nint twice();\n");
    write(
      "engine/twice.cc",
      '#include "twice.h"\n#include "kernels/value.h"\nint twice() { return 2 * value(); }\n',
    );
    write("node/main.cc", '#include "../engine/twice.h"\nextern "C" int answer() { return twice(); }\n');
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });

  function write(file: string, text: string): void {
    writeFileSync(join(folder, file), text);
  }

  function build(flags: readonly string[] = []): Promise<BuildOutcome> {
    said = "";
    return buildAddon({
      packageFolder: folder,
      headerFolder: join(folder, "engine"),
      kernels: () => [{ file: "value.cc", flags }],
      say: (text) => {
        said += text;
      },
    });
  }

  const binary = () => join(folder, "build", target, "bitnet.node");

  it("succeeds with one line when there is no compiler", async () => {
    vi.stubEnv("CXX", join(folder, "no-compiler"));
    expect(await build()).toBe("no-compiler");
    expect(said).toMatch(/^native: no C\+\+ compiler found[^\n]*\n$/);
    expect(existsSync(binary())).toBe(false);
  });

  it.runIf(hasCompiler)("compiles only what changed, and nothing the second time", async () => {
    expect(await build()).toBe("built");
    expect(said).toMatch(/3 of 3 units compiled/);
    const { mtimeMs } = statSync(binary());
    expect(await build()).toBe("built");
    expect(said).toMatch(/up to date/);
    expect(statSync(binary()).mtimeMs).toBe(mtimeMs);

    write("engine/kernels/value.cc", '#include "value.h"\nint value() { return 8; }\n');
    expect(await build()).toBe("built");
    expect(said).toMatch(/1 of 3 units compiled/);
    write("engine/kernels/value.h", "#pragma once\nint value();\nint more();\n");
    expect(await build()).toBe("built");
    expect(said).toMatch(/2 of 3 units compiled/);
    expect(await build(["-DVALUE=1"])).toBe("built");
    expect(said).toMatch(/1 of 3 units compiled/);
    const objects = readdirSync(join(folder, "build", target, "objects"));
    expect(objects).toHaveLength(3);
  });

  it.runIf(hasCompiler)("leaves out flags that the compiler does not know", async () => {
    expect(await build(["-mno-such-instruction-set"])).toBe("built");
    expect(existsSync(binary())).toBe(true);
  });

  it.runIf(hasCompiler)("needs no home folder", async () => {
    vi.stubEnv("HOME", "/nonexistent");
    vi.stubEnv("CXX", "");
    expect(await build()).toBe("built");
  });

  it.runIf(hasCompiler)("fails with the compiler's message and keeps the old binary", async () => {
    expect(await build()).toBe("built");
    const { mtimeMs } = statSync(binary());
    write("node/main.cc", 'extern "C" int answer() { return missing; }\n');
    expect(await build()).toBe("failed");
    expect(said).toMatch(/missing/);
    expect(said).toMatch(/main\.cc/);
    expect(statSync(binary()).mtimeMs).toBe(mtimeMs);
  });

  it.runIf(hasCompiler && process.platform === "linux")("exports the module's symbols only", async () => {
    expect(await build()).toBe("built");
    const symbols = execFileSync("nm", ["-D", "--defined-only", binary()], { encoding: "utf8" });
    expect(symbols).not.toMatch(/value|twice|_ZNSt|_ZSt/);
  });
});
