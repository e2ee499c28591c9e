/**
 * Lets timers and input have their turn. A machine that answers without ever leaving the JavaScript thread would otherwise
 * keep everything else waiting for as long as there is work.
 */

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
