/** The worker in Node, which reads weights from files straight into the engine's memory. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import type { EngineFailure } from "@bitnet.ts/core";
import { serve } from "./coordinator.ts";
import type { FilePart } from "./messages.ts";

function readFile({ path, offset, length, size }: FilePart, to: Uint8Array): EngineFailure | null {
  const failed = (code: string, what: string) => ({ code, message: `${path}: ${what}`, op: -1, row: -1 });
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return failed(code === "ENOENT" ? "FILE_NOT_FOUND" : "IO_FAILED", message);
  }
  try {
    const found = fstatSync(file).size;
    if (found !== size) return failed("IO_FAILED", `has ${found} bytes, but had ${size} before`);
    for (let done = 0; done < length; ) {
      const n = readSync(file, to, done, length - done, offset + done);
      if (n === 0) return failed("IO_FAILED", `ends ${length - done} bytes early`);
      done += n;
    }
    return null;
  } catch (error) {
    return failed("IO_FAILED", (error as Error).message);
  } finally {
    closeSync(file);
  }
}

if (parentPort === null) throw new Error("this file is run by a worker");
const port = parentPort;
const handle = serve({ post: (message, transfer) => port.postMessage(message, transfer), readFile });
port.on("message", handle);
