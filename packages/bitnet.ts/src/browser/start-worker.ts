/**
 * Starts the engine's worker, a script that the build bundles (bundle-worker.ts). The expression stands as every bundler wants it: written
 * out, without variables.
 */
import { BitNetError } from "@bitnet.ts/core/base";
import type { EngineWorker } from "../types.ts";
import type { EngineLink } from "./page-model.ts";

function startedBy(factory: () => EngineWorker): EngineLink {
  const started: unknown = typeof factory === "function" ? factory() : null;
  const isWorker = typeof (started as Partial<EngineLink> | null)?.addEventListener === "function";
  if (isWorker) return started as EngineLink;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    "worker: expected a function that starts a worker and returns it, or false",
  );
}

/** @throws BitNetError BACKEND_UNAVAILABLE where there are no workers, INVALID_ARGUMENT where the factory gives none. */
export function startWorker(factory: (() => EngineWorker) | undefined): EngineLink {
  if (factory !== undefined) return startedBy(factory);
  if (typeof Worker === "undefined")
    throw new BitNetError("BACKEND_UNAVAILABLE", "there are no workers here; load with { worker: false }");
  try {
    return new Worker(new URL("../../worker/worker.js", import.meta.url), {
      type: "module",
      name: "bitnet.ts",
    }) as EngineLink;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BitNetError(
      "BACKEND_UNAVAILABLE",
      `the worker could not be started (${reason}); scripts of workers must come from the page's own origin: give { worker }`,
      { cause },
    );
  }
}
