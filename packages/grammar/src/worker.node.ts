/** The thread in Node. */
import { readFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { dirname } from "node:path";
import { parentPort } from "node:worker_threads";
import type * as XGrammar from "@mlc-ai/web-xgrammar";
import { serveGrammars } from "./serve-grammars.ts";
import type { ToWorker } from "./worker-messages.ts";

/** The package says that it is ECMAScript modules, but it is CommonJS. */
function loadLibrary(): typeof XGrammar {
  const file = createRequire(import.meta.url).resolve("@mlc-ai/web-xgrammar");
  const loaded = new Module(file) as Module & {
    _compile(source: string, file: string): void;
    paths: string[];
  };
  loaded.filename = file;
  loaded.paths = [dirname(file)];
  loaded._compile(readFileSync(file, "utf8"), file);
  return loaded.exports as typeof XGrammar;
}

const handle = serveGrammars(loadLibrary, (message, transfer = []) =>
  parentPort?.postMessage(message, transfer),
);
parentPort?.on("message", (message: ToWorker) => handle(message));
