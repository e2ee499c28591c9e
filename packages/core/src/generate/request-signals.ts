/** The signals by which callers end their requests, and what is let go of when a request has ended. */
import { onAbort } from "../base/abort.ts";
import type { ScheduledRequest } from "./scheduled.ts";

export class RequestSignals {
  /** Ends the waiting for a request's signal. */
  readonly #stopsWaiting = new Map<ScheduledRequest, () => void>();

  /** Calls `end` once when the signal of the request says so, at once if it has. */
  obey(request: ScheduledRequest, end: () => void): void {
    const { signal } = request;
    if (signal === null) return;
    if (signal.aborted) end();
    else this.#stopsWaiting.set(request, onAbort(signal, end));
  }

  /** Lets go of what the caller gave; failures of it must not keep a request from ending. */
  leave(request: ScheduledRequest): void {
    const stopWaiting = this.#stopsWaiting.get(request);
    this.#stopsWaiting.delete(request);
    const tasks = [() => request.dispose(), () => stopWaiting?.()];
    for (const task of tasks) {
      try {
        task();
      } catch {
        // Whoever wrote it cannot be told: the request may have ended well.
      }
    }
  }
}
