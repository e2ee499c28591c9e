/**
 * A server that can be weighed: on a signal it collects its garbage and tells what is left. Told so by code that is loaded before it, so
 * that the server itself knows nothing of it.
 */
import { type ServerProcess, startServerProcess } from "../server-process.ts";
import type { Weight } from "./growth.ts";

const mark = "@weight ";

function preload(): void {
  // Turned into text below: what is named here is looked up there.
  const load = process.getBuiltinModule as (name: string) => never;
  const { readdirSync } = load("fs") as typeof import("node:fs");
  const { isMainThread } = load("worker_threads") as typeof import("node:worker_threads");
  const { setFlagsFromString } = load("v8") as typeof import("node:v8");
  const { runInNewContext } = load("vm") as typeof import("node:vm");
  if (!isMainThread) return;
  setFlagsFromString("--expose-gc");
  // Compiled code lies on the heap and grows for thousands of requests, which would hide what requests leave there.
  for (const flag of ["--no-opt", "--no-maglev", "--no-sparkplug", "--no-flush-bytecode"])
    setFlagsFromString(flag);
  setFlagsFromString("--no-lazy-feedback-allocation");
  const collect = runInNewContext("gc") as () => void;
  process.on("SIGUSR2", async () => {
    // What finalizers set free is garbage of the next round.
    for (let round = 0; round < 3; round++) {
      collect();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { heapUsed, external, rss } = process.memoryUsage();
    const weight = {
      heapBytes: heapUsed + external,
      residentBytes: rss,
      descriptors: readdirSync("/proc/self/fd").length,
      resources: process.getActiveResourcesInfo().length,
    };
    process.stderr.write(`@weight ${JSON.stringify(weight)}\n`);
  });
}

/** A bug, planted: every request leaves something on the heap, every tenth an open file. */
function leak(): void {
  const load = process.getBuiltinModule as (name: string) => never;
  const { Server } = load("http") as typeof import("node:http");
  const { openSync } = load("fs") as typeof import("node:fs");
  const kept: unknown[] = [];
  const emit = Server.prototype.emit as (name: string, ...args: unknown[]) => boolean;
  Server.prototype.emit = function (this: import("node:http").Server, name: string, ...args: unknown[]) {
    if (name === "request") {
      kept.push(Array.from({ length: 64 }, (_, i) => i + Math.random()));
      if (kept.length % 10 === 0) openSync("/dev/null", "r");
    }
    return emit.call(this, name, ...args);
  } as typeof emit;
}

export interface WeighedServer extends ServerProcess {
  weigh(): Promise<Weight>;
}

export async function startWeighed(
  args: readonly string[],
  { leaks }: { leaks: boolean },
): Promise<WeighedServer> {
  const code = [preload, ...(leaks ? [leak] : [])].map((each) => `(${String(each)})();`).join("\n");
  const url = `data:text/javascript,${encodeURIComponent(code)}`;
  const server = await startServerProcess(args, { NODE_OPTIONS: `--import ${url}` });
  return {
    ...server,
    async weigh() {
      const from = server.log().length;
      server.child.kill("SIGUSR2");
      for (;;) {
        const found = new RegExp(`${mark}(.*)\\n`).exec(server.log().slice(from));
        if (found?.[1] !== undefined) return JSON.parse(found[1]) as Weight;
        if (server.child.exitCode !== null) throw new Error(`the server has ended: ${server.log()}`);
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}
