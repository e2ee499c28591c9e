/** What differs between a browser and Node: how workers start and where the modules lie. This file is the browser's side. */
import type { FromWorker, ToWorker } from "./messages.ts";
import type { ModuleKind } from "./modules.ts";

/** A worker as both sides have it. */
export interface WorkerHandle {
  post(message: ToWorker, transfer: (ArrayBuffer | MessagePort)[]): void;
  onMessage(listener: (message: FromWorker) => void): void;
  /** It failed to start, or ended by itself. */
  onEnd(listener: (reason: string) => void): void;
  terminate(): void;
  /** Whether it keeps the process alive. */
  hold(holds: boolean): void;
}

/** What a bundler that does not follow `new URL(…, import.meta.url)` is to supply. */
export interface Places {
  worker?: () => Worker;
  wasmUrl?: Partial<Record<ModuleKind, string | URL>>;
}

export function startWorker({ worker: start }: Places): WorkerHandle {
  const worker = start?.() ?? new Worker(new URL("../dist/worker.js", import.meta.url), { type: "module" });
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    onMessage: (listener) => {
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => listener(data);
    },
    onEnd: (listener) => {
      worker.onerror = (event) => {
        event.preventDefault();
        listener(event.message || "the worker could not be loaded");
      };
      worker.onmessageerror = () => listener("a message could not be read");
    },
    terminate: () => worker.terminate(),
    hold: () => {},
  };
}

export async function readModule(kind: ModuleKind, { wasmUrl }: Places): Promise<Uint8Array> {
  const url = wasmUrl?.[kind] ?? ownUrl(kind);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Written out, for bundlers to see. */
function ownUrl(kind: ModuleKind): URL {
  return kind === "relaxed"
    ? new URL("../dist/bitnet-relaxed.wasm", import.meta.url)
    : new URL("../dist/bitnet-plain.wasm", import.meta.url);
}

/** Turns on what the engine has behind a switch. */
export function allowRelaxed(): void {}

/** Threads that are worth having; 1 where memory cannot be shared with other workers. */
export function availableThreads(): number {
  return canShare() ? Math.max(1, navigator.hardwareConcurrency ?? 1) : 1;
}

/** Whether memory can be sent to another worker: the page is cross-origin isolated. */
export function canShare(): boolean {
  return globalThis.crossOriginIsolated === true;
}

export const hasFiles: boolean = false;

/** The variant that the environment asks for. */
export function forcedIsa(): string | undefined {
  return undefined;
}
