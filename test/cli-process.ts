/**
 * Runs the built `bitnet` command as users do: in a process of its own, with nothing of this process's BITNET_ variables but the choice of backend, on the
 * model of the golden answers. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const entry = fileURLToPath(new URL("../packages/cli/bin/bitnet.js", import.meta.url));

const root = fileURLToPath(new URL("..", import.meta.url));
export const tinyModel = `${root}test/golden/tiny.gguf`;
/** The model that users get when they name none. */
export const embeddedModel = `${root}models/tiny.gguf`;
export const goldenFolder = `${root}test/golden`;

export interface Finished {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  /** Standard input; closed when there is none. */
  input?: string | Uint8Array;
  /** What a file may grow to, in blocks of 512 bytes: as on a full disk, writing fails beyond it. */
  mostBlocks?: number;
  onStart?: (child: ChildProcessWithoutNullStreams) => void;
  /** Called once, when the first bytes of standard output have arrived. */
  onOutput?: (child: ChildProcessWithoutNullStreams) => void;
}

export async function bitnet(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const command = [process.execPath, entry, ...args];
  const limited = ["sh", "-c", 'ulimit -f "$0" && exec "$@"', String(options.mostBlocks), ...command];
  const [program = "", ...rest] = options.mostBlocks === undefined ? command : limited;
  const child = spawn(program, rest, { env: environment(options.env), cwd: root });
  options.onStart?.(child);
  const output = { stdout: "", stderr: "" };
  let isFirst = true;
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
      if (name === "stdout" && isFirst) {
        isFirst = false;
        options.onOutput?.(child);
      }
    });
  }
  child.stdin.on("error", () => {}); // it may end before it has read everything
  child.stdin.end(options.input ?? "");
  const [status] = (await once(child, "close")) as [number | null];
  return { status, ...output };
}

/** Runs with --json; the exit status must be 0. */
export async function bitnetJson<T>(args: readonly string[], options: RunOptions = {}): Promise<T> {
  const { status, stdout, stderr } = await bitnet([...args, "--json"], options);
  if (status !== 0) throw new Error(`bitnet ${args.join(" ")} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

function environment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("BITNET_") || name === "BITNET_BACKEND" || name === "BITNET_ISA",
  );
  // Answers are known of the fixture, not of the model that users meet.
  return { ...Object.fromEntries(kept), BITNET_MODEL: tinyModel, ...extra };
}
