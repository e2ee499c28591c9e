/** The script of the worker that `BitNet.load` starts on a page; bundled, it is `bitnet.ts/worker`. */
import { backendReport } from "#platform";
import { BitNet } from "../bitnet.ts";
import type { MessageLink, ToPage } from "./messages.ts";
import { serveEngine } from "./serve-engine.ts";

serveEngine(
  globalThis as unknown as MessageLink<ToPage>,
  (source, options) => BitNet.load(source, options),
  backendReport,
);
