/** The Node side of platform.ts. */
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { setFlagsFromString } from "node:v8";
import { type Transferable, Worker } from "node:worker_threads";
import type { FromWorker } from "./messages.ts";
import type { ModuleKind } from "./modules.ts";
import type { Places, WorkerHandle } from "./platform.ts";

export type { Places, WorkerHandle } from "./platform.ts";

export function startWorker(_places: Places): WorkerHandle {
  // Beside this file once it is built; sources run by a test use the built one as well.
  const worker = new Worker(new URL("../dist/worker.node.js", import.meta.url));
  worker.unref();
  return {
    // Ports are those of Node, whatever the types of browsers call them.
    post: (message, transfer) => worker.postMessage(message, transfer as Transferable[]),
    onMessage: (listener) => {
      worker.on("message", (message: FromWorker) => listener(message));
    },
    onEnd: (listener) => {
      worker.on("error", (error) => listener(error.message));
      worker.on("exit", () => listener("the worker has ended"));
    },
    terminate: () => void worker.terminate(),
    hold: (holds) => (holds ? worker.ref() : worker.unref()),
  };
}

export async function readModule(kind: ModuleKind, _places: Places): Promise<Uint8Array> {
  return readFile(new URL(`../dist/bitnet-${kind}.wasm`, import.meta.url));
}

/** Node 20 has relaxed SIMD behind a flag, which holds for modules that are compiled afterwards. */
export function allowRelaxed(): void {
  setFlagsFromString("--experimental-wasm-relaxed-simd");
}

export function availableThreads(): number {
  return availableParallelism();
}

export function canShare(): boolean {
  return true;
}

export const hasFiles: boolean = true;

export function forcedIsa(): string | undefined {
  const { BITNET_ISA: isa } = process.env;
  return isa?.startsWith("wasm-") ? isa : undefined;
}
