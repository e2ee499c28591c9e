/**
 * Runs Python programs that nobody has read: a fresh process in namespaces of its own, without network, with a root that holds nothing but
 * Python, an empty folder, no inherited environment, limits on time, memory, files and processes, and an end for its whole group. Where
 * the kernel allows less, only on demand. Knows no task.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prelude } from "./prelude.ts";

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
  /** Whether it sees no file but those of Python. */
  readonly hasOwnRoot: boolean;
  /** Who it runs as; null: who runs this. */
  readonly user: number | null;
}

const outputBytes = 2 ** 16;
/** `nobody`, as far as there is such a thing. */
const nobody = 65534;

/** What this machine offers, the safest first; a text that says what is missing. */
export async function findSandbox({
  needsNamespaces,
}: {
  needsNamespaces: boolean;
}): Promise<Sandbox | string> {
  // Root's own Python may be out of the reach of others, who then take the system's.
  const pythons = [
    ...new Set(["python3", "python", "/usr/bin/python3"].flatMap((name) => pathOf(name) ?? [])),
  ];
  if (pythons.length === 0) return "no Python 3 was found";
  const spaces = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--ipc", "--uts"];
  const ending = ["--fork", "--kill-child"];
  const wrappers = [
    { wrapper: [...spaces, "--mount", ...ending], hasNamespaces: true, hasOwnRoot: true },
    { wrapper: [...spaces, ...ending], hasNamespaces: true, hasOwnRoot: false },
    ...(needsNamespaces ? [] : [{ wrapper: [], hasNamespaces: false, hasOwnRoot: false }]),
  ];
  // Limits on processes do not bind root, and files of root are not to be at stake.
  const users = process.getuid?.() === 0 ? [nobody, null] : [null];
  const choices = wrappers.flatMap((each) =>
    users.flatMap((user) => pythons.map((python): Sandbox => ({ ...each, python, user }))),
  );
  for (const sandbox of choices) {
    const limits = { seconds: 20, memoryBytes: 2 ** 30 };
    const { status, output } = await runPython(sandbox, "print(7)", "", limits).catch(() => failed);
    if (status === 0 && output === "7\n") return sandbox;
  }
  return "this kernel allows no namespaces to run programs of models in";
}

const failed: PythonRun = { status: null, output: "", timedOut: false };

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
  const { wrapper, python, hasOwnRoot, user } = sandbox;
  const numbers = [Math.ceil(seconds) + 1, memoryBytes, source.length].map(String);
  const root = hasOwnRoot ? "root" : "none";
  const [command = "", ...args] = [...wrapper, python, "-I", "-c", prelude, ...numbers, root];
  try {
    if (user !== null) await chown(folder, user, user);
    const child = spawn(command, args, {
      cwd: folder,
      env: { PATH: "/usr/bin:/bin", HOME: folder },
      detached: true,
      ...(user === null ? {} : { uid: user, gid: user }),
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
