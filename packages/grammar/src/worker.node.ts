/** The thread in Node. */
import { parentPort } from "node:worker_threads";
import { loadLibrary } from "./library.node.ts";
import { serveGrammars } from "./serve-grammars.ts";
import type { ToWorker } from "./worker-messages.ts";

const handle = serveGrammars(loadLibrary, (message, transfer = []) =>
  parentPort?.postMessage(message, transfer),
);
parentPort?.on("message", (message: ToWorker) => handle(message));
