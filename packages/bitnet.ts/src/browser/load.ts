/** `BitNet` in browsers: on a page the model runs in a worker, in a worker of somebody's own it runs there. */
import { throwIfAborted } from "@bitnet.ts/core/base";
import { checkSource } from "../check-source.ts";
import { checkCallbacks } from "../known-options.ts";
import type { BitNetLoadOptions } from "../types.ts";
import { type Model, PageModel } from "./page-model.ts";
import { askForPersistence } from "./persistence.ts";
import { startWorker } from "./start-worker.ts";

export class BitNet extends PageModel {
  /** The same as in Node; see the options `worker`, `wasmUrl`, `cache` and `hub`. */
  static async load(source: string | URL | Blob, options: BitNetLoadOptions = {}): Promise<Model> {
    checkSource(source); // before a worker is started for it
    checkCallbacks(options);
    throwIfAborted(options.signal);
    const isPage = "document" in globalThis;
    if (options.worker === false || (options.worker === undefined && !isPage)) {
      const { BitNet: Direct } = await import("../bitnet.ts");
      return Direct.load(source, options);
    }
    askForPersistence(source, options);
    return BitNet.connect(startWorker(options?.worker), absolute(source), options);
  }
}

/** Addresses relative to the page: the worker has another base. */
function absolute(source: string | URL | Blob): string | URL | Blob {
  const base = globalThis.location?.href;
  if (typeof source !== "string" || source === "" || /^[a-z][a-z0-9+.-]*:/i.test(source)) return source;
  return source !== "tiny" && URL.canParse(source, base) ? new URL(source, base) : source;
}
