/** The Node side of platform.ts. */
import { Worker } from "node:worker_threads";
import type { Places, ThreadHandle } from "./platform.ts";

export type { Places, ThreadHandle };

export function startThread(_places: Places): ThreadHandle {
  // Beside this file once it is built; sources run by a test use the built one as well.
  const worker = new Worker(new URL("../dist/worker.node.js", import.meta.url));
  worker.unref();
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (listener) => worker.on("message", listener),
    onEnd: (listener) => {
      worker.on("error", (error: Error) => listener(error.message));
      worker.on("exit", () => listener("it has ended"));
    },
    terminate: async () => {
      await worker.terminate();
    },
    hold: (holds) => (holds ? worker.ref() : worker.unref()),
  };
}

export const sharesMasks = true;
