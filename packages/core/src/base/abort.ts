/**
 * Waits for abort signals with one listener a signal, however many wait: runtimes warn of a leak when hundreds of generations listen
 * to the signal that they share.
 */

interface Listener {
  readonly waiters: Set<() => void>;
  /** Lets go of the signal. */
  readonly end: () => void;
}

const listenerOf = new WeakMap<AbortSignal, Listener>();

/**
 * Calls `handler` once when `signal` fires, at once when it has fired.
 * @returns Ends the waiting; the signal is let go of when nobody waits any more.
 */
export function onAbort(signal: AbortSignal, handler: () => void): () => void {
  if (signal.aborted) {
    handler();
    return () => {};
  }
  const { waiters, end } = listenerOf.get(signal) ?? listen(signal);
  const waiter = () => handler(); // the same handler may wait twice
  waiters.add(waiter);
  return () => {
    if (waiters.delete(waiter) && waiters.size === 0) end();
  };
}

/** Resolves after `ms`, or as soon as `signal` fires, at once when it has fired. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    let stopWaiting = () => {};
    const end = () => {
      stopWaiting();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, ms);
    if (signal) stopWaiting = onAbort(signal, end);
  });
}

function listen(signal: AbortSignal): Listener {
  const waiters = new Set<() => void>();
  const fire = () => {
    const all = [...waiters];
    waiters.clear();
    for (const waiter of all) waiter();
  };
  const end = () => {
    listenerOf.delete(signal);
    signal.removeEventListener("abort", fire);
  };
  signal.addEventListener("abort", fire, { once: true });
  const listener = { waiters, end };
  listenerOf.set(signal, listener);
  return listener;
}
