/**
 * Lets timers and input have their turn. A machine that answers without ever leaving the JavaScript thread would otherwise
 * keep everything else waiting for as long as there is work.
 */

import { throwIfAborted } from "./errors.ts";

/** Where it is missing, as in browsers, a message to oneself does the same. */
const { setImmediate } = globalThis as { setImmediate?: (task: () => void) => unknown };

/** Resolves in a new task of the event loop. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    if (setImmediate !== undefined) {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** How long work may go on before the event loop gets a turn. */
export const maxUninterruptedMs = 20;

/**
 * For work in slices: awaiting the returned function between them gives the event loop its turn when it is due.
 * @throws BitNetError ABORTED from that function, once `signal` has fired.
 */
export function createPause(signal?: AbortSignal): () => Promise<void> {
  let since = performance.now();
  return async () => {
    throwIfAborted(signal);
    if (performance.now() - since < maxUninterruptedMs) return;
    await nextTask();
    since = performance.now();
    throwIfAborted(signal);
  };
}
