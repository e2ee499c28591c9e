/** What differs between a browser and Node: how the grammar thread starts, and whether a mask can be waited for. This file is the browser's side. */
import type { FromWorker, ToWorker } from "./worker-messages.ts";

/** A thread as whoever started it has it. */
export interface ThreadHandle {
  post(message: ToWorker): void;
  onMessage(listener: (message: FromWorker) => void): void;
  /** It failed to start, or ended by itself. */
  onEnd(listener: (reason: string) => void): void;
  terminate(): Promise<void>;
  /** Whether it keeps the process alive. */
  hold(holds: boolean): void;
}

/** What a bundler that does not follow `new URL(…, import.meta.url)` is to supply. */
export interface Places {
  worker?: (() => Worker) | undefined;
}

export function startThread({ worker: start }: Places): ThreadHandle {
  const worker = start?.() ?? new Worker(new URL("../dist/worker.js", import.meta.url), { type: "module" });
  return {
    post: (message) => worker.postMessage(message),
    onMessage: (listener) => {
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => listener(data);
    },
    onEnd: (listener) => {
      worker.onerror = (event) => {
        event.preventDefault();
        listener(event.message || "its script could not be loaded");
      };
      worker.onmessageerror = () => listener("a message could not be read");
    },
    terminate: async () => worker.terminate(),
    hold: () => {},
  };
}

/** A page must not wait, and memory is shared on isolated pages only: masks come by messages. */
export const sharesMasks: boolean = false;
