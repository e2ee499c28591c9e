/** Runs `bitnet serve` in a process of its own, and asks it things over a socket. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { tinyModel } from "./cli-process.ts";

const entry = fileURLToPath(new URL("../packages/cli/bin/bitnet.js", import.meta.url));

export interface ServerProcess {
  readonly url: string;
  readonly port: number;
  readonly child: ChildProcess;
  /** What it has written to standard error so far. */
  log(): string;
  /** The same of standard output. */
  stdout(): string;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
  /** Sends a signal and waits for the end; the exit status or the signal's name. */
  end(signal?: NodeJS.Signals): Promise<number | string | null>;
}

/** Starts a server on the embedded model and a free port, and waits until it is ready. */
export async function startServerProcess(
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<ServerProcess> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("BITNET_") || name === "BITNET_BACKEND" || name === "BITNET_ISA",
  );
  const model = args.includes("--model") ? [] : ["--model", tinyModel];
  const child = spawn(process.execPath, [entry, "serve", "--port", "0", ...model, ...args], {
    env: { ...Object.fromEntries(kept), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  const ended = once(child, "exit") as Promise<[number | null, string | null]>;
  let output = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      const found = /listening on (\S+)\n[\s\S]*ready\n/.exec(output);
      if (found?.[1] !== undefined) resolve(found[1]);
    });
    void ended.then(() => reject(new Error(`the server ended before it was ready: ${log}`)));
  });
  return {
    url,
    port: Number(new URL(url).port),
    child,
    log: () => log,
    stdout: () => output,
    post: (path, body, headers = {}) =>
      fetch(url + path, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    get: (path, headers = {}) => fetch(url + path, { headers }),
    async end(signal = "SIGKILL") {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const [status, name] = await ended;
      return status ?? name;
    },
  };
}

/** The JSON values of a stream of `data:` lines, without the closing [DONE]; comments are skipped. */
export async function readEvents(response: Response): Promise<Record<string, unknown>[]> {
  const text = await response.text();
  return text
    .split("\n\n")
    .flatMap((frame) => frame.split("\n").filter((line) => line.startsWith("data: ")))
    .map((line) => line.slice("data: ".length))
    .filter((data) => data !== "[DONE]")
    .map((data) => JSON.parse(data) as Record<string, unknown>);
}
