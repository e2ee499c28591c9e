/**
 * Finds the machine's C++ compiler and runs it. Knows nothing of what is compiled.
 */
import { spawn, spawnSync } from "node:child_process";

export interface Compiler {
  /** Program and leading arguments. */
  command: readonly string[];
  /** First line of what it says of its version, with the command: what a cached object depends on. */
  identity: string;
}

export interface Outcome {
  ok: boolean;
  /** What it wrote to its standard error, and to its standard output. */
  messages: string;
}

/** The compiler named by CXX, else the first of the usual ones; undefined when none runs. */
export function findCompiler(): Compiler | undefined {
  const { CXX } = process.env;
  const candidates = CXX ? [CXX] : ["c++", "g++", "clang++"];
  for (const candidate of candidates) {
    const command = candidate.split(/\s+/).filter((part) => part !== "");
    const [program, ...args] = command;
    if (program === undefined) continue;
    const { status, stdout } = spawnSync(program, [...args, "--version"], { encoding: "utf8" });
    if (status === 0) return { command, identity: `${candidate} ${stdout.split("\n")[0] ?? ""}` };
  }
  return undefined;
}

/** A compiler, or another tool, by name, when it runs. */
export function compilerNamed(command: string): Compiler | undefined {
  const { status, stdout } = spawnSync(command, ["--version"], { encoding: "utf8" });
  return status === 0 ? { command: [command], identity: stdout.split("\n")[0] ?? "" } : undefined;
}

export function runCompiler(compiler: Compiler, args: readonly string[], input = ""): Promise<Outcome> {
  const [program = "", ...leading] = compiler.command;
  return new Promise((resolve) => {
    const child = spawn(program, [...leading, ...args]);
    let messages = "";
    const collect = (text: string) => {
      messages += text;
    };
    child.stdout.setEncoding("utf8").on("data", collect);
    child.stderr.setEncoding("utf8").on("data", collect);
    child.on("error", (error) => resolve({ ok: false, messages: error.message }));
    child.on("close", (code) => resolve({ ok: code === 0, messages }));
    // A compiler that ends before it has read everything is judged by its status.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

/** Whether the compiler knows all of these flags. */
export async function acceptsFlags(compiler: Compiler, flags: readonly string[]): Promise<boolean> {
  if (flags.length === 0) return true;
  const { ok } = await runCompiler(compiler, [...flags, "-x", "c++", "-c", "-o", "/dev/null", "-"]);
  return ok;
}
