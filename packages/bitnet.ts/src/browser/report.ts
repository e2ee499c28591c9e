/** `backendReport` in browsers: a worker like the one that would run a model finds out what it could run on, so that the page never waits. */
import type { BackendReport, ReportOptions } from "../types.ts";
import type { ToPage } from "./messages.ts";
import { crashed } from "./page-model.ts";
import { startWorker } from "./start-worker.ts";

export async function backendReport({ worker, wasmUrl }: ReportOptions = {}): Promise<BackendReport[]> {
  const isPage = "document" in globalThis;
  if (worker === false || (worker === undefined && !isPage))
    return (await import("../platform.ts")).backendReport(wasmUrl === undefined ? {} : { wasmUrl });
  const link = startWorker(worker);
  try {
    return await new Promise((resolve, reject) => {
      link.addEventListener("message", ({ data }) => {
        const message = data as ToPage;
        if (message.kind === "report") resolve([...message.reports]);
      });
      link.addEventListener("error", ({ message }) => reject(crashed(message)));
      link.postMessage({ kind: "report", wasmUrl });
    });
  } finally {
    link.terminate();
  }
}
