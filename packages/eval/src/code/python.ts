/**
 * Runs Python programs that nobody has read: a fresh process in namespaces of its own without network, an empty folder, no inherited
 * environment, limits on time, memory, files and processes, and an end for its whole group. Where the kernel allows no namespaces,
 * only on demand. Knows no task.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface PythonRun {
  /** The status; null when it was killed. */
  readonly status: number | null;
  /** The last of what it wrote. */
  readonly output: string;
  readonly timedOut: boolean;
}

export interface PythonLimits {
  seconds: number;
  memoryBytes: number;
}

export interface Sandbox {
  /** Program and arguments before `python3`. */
  readonly wrapper: readonly string[];
  readonly python: string;
  readonly hasNamespaces: boolean;
}

const outputBytes = 2 ** 16;

/** What this machine offers; a text that says what is missing. */
export function findSandbox({ needsNamespaces }: { needsNamespaces: boolean }): Sandbox | string {
  const python = ["python3", "python"].map(pathOf).find((path) => path !== null);
  if (python === undefined || python === null) return "no Python 3 was found";
  const wrapper = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"];
  const works = spawnSync(wrapper[0] ?? "", [...wrapper.slice(1), python, "-I", "-c", "print(7)"], {
    encoding: "utf8",
    timeout: 20_000,
  });
  if (works.status === 0 && works.stdout === "7\n") return { wrapper, python, hasNamespaces: true };
  if (needsNamespaces) return "this kernel allows no namespaces to run programs of models in";
  return { wrapper: [], python, hasNamespaces: false };
}

export function hasModule({ python }: Sandbox, name: string): boolean {
  return spawnSync(python, ["-I", "-c", `import ${name}`], { timeout: 60_000 }).status === 0;
}

function pathOf(name: string): string | null {
  const { status, stdout } = spawnSync(
    name,
    ["-I", "-c", "import sys; assert sys.version_info >= (3, 8); print(sys.executable)"],
    {
      encoding: "utf8",
      timeout: 20_000,
    },
  );
  return status === 0 ? stdout.trim() : null;
}

/** Set before the program is read: seconds of processor, bytes of memory and of files, processes. */
const prelude = `import os, resource, sys
def limit(kind, value):
    resource.setrlimit(kind, (value, value))
limit(resource.RLIMIT_CPU, int(sys.argv[1]))
limit(resource.RLIMIT_AS, int(sys.argv[2]))
limit(resource.RLIMIT_FSIZE, 1 << 20)
limit(resource.RLIMIT_CORE, 0)
try:
    limit(resource.RLIMIT_NPROC, 64)
except (ValueError, OSError):
    pass
exec(compile(sys.stdin.buffer.read(int(sys.argv[3])), "program", "exec"), {"__name__": "__main__"})
`;

/**
 * @param program Python source.
 * @param input What it may read from its standard input.
 */
export async function runPython(
  sandbox: Sandbox,
  program: string,
  input: string,
  { seconds, memoryBytes }: PythonLimits,
): Promise<PythonRun> {
  const folder = await mkdtemp(join(tmpdir(), "bitnet-eval-"));
  const source = Buffer.from(program);
  const numbers = [Math.ceil(seconds) + 1, memoryBytes, source.length].map(String);
  const [command = "", ...args] = [...sandbox.wrapper, sandbox.python, "-I", "-c", prelude, ...numbers];
  try {
    const child = spawn(command, args, {
      cwd: folder,
      env: { PATH: "/usr/bin:/bin", HOME: folder },
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
    return await finish(child, Buffer.concat([source, Buffer.from(input)]), seconds);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function finish(child: ChildProcess, stdin: Buffer, seconds: number): Promise<PythonRun> {
  return new Promise((resolve, reject) => {
    let output = "";
    let timedOut = false;
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString("utf8")).slice(-outputBytes);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    child.stdin?.on("error", () => {}); // it may end before it has read everything
    child.stdin?.end(stdin);
    const kill = () => {
      try {
        process.kill(-(child.pid ?? 0), "SIGKILL");
      } catch {
        // it is gone
      }
    };
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, seconds * 1000);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("close", (status) => {
      clearTimeout(timer);
      kill();
      resolve({ status, output, timedOut });
    });
  });
}
