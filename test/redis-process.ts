/** Debian's redis-server in a process of its own, on a socket in a folder of its own. */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

export const hasRedis = spawnSync("redis-server", ["--version"]).error === undefined;
if (!hasRedis && process.env.BITNET_REQUIRE_ALL === "1") throw new Error("redis-server is missing");
if (!hasRedis) console.warn("redis-server is missing: what servers share through it is not tested");

export interface RedisProcess {
  /** Path of its socket. */
  readonly url: string;
  kill(): Promise<void>;
  /** What redis-cli answers, in lines. */
  command(...args: string[]): Promise<string[]>;
  /** Holds its connections, and answers nothing until it goes on. */
  stall(): void;
  goOn(): void;
  /** Again, on the same socket, with nothing remembered. */
  start(): Promise<void>;
}

export async function startRedis(folder: string, args: readonly string[] = []): Promise<RedisProcess> {
  const url = join(folder, "redis.sock");
  let child: ChildProcess | null = null;
  const started: RedisProcess = {
    url,
    async kill() {
      if (child === null) return;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
      child = null;
    },
    async command(...args) {
      const { stdout } = await promisify(execFile)("redis-cli", ["-s", url, "--raw", ...args]);
      return stdout.split("\n").slice(0, -1);
    },
    stall: () => void child?.kill("SIGSTOP"),
    goOn: () => void child?.kill("SIGCONT"),
    async start() {
      child = spawn(
        "redis-server",
        ["--port", "0", "--unixsocket", url, "--dir", folder, "--save", "", ...args],
        {
          stdio: "ignore",
        },
      );
      while (!(await answers(url))) await new Promise((resolve) => setImmediate(resolve));
    },
  };
  await started.start();
  return started;
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => socket.write("PING\r\n"));
    socket.once("data", (data) => {
      socket.destroy();
      resolve(String(data).startsWith("+PONG"));
    });
    socket.once("error", () => resolve(false));
  });
}
