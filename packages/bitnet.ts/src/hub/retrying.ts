/** Attempts with growing pauses between them. */
import { pause, throwIfAborted } from "@bitnet.ts/core";
import { PassingFailure } from "./requests.ts";

export interface RetryOptions {
  /** Attempts in a row without progress; default 6. */
  attempts?: number;
  /** First pause; each next one is twice as long, up to 30 s. Default 500. */
  backoffMs?: number;
  signal?: AbortSignal | undefined;
  /** Told before each pause. */
  onRetry?: (failure: PassingFailure, waitMs: number) => void;
}

const longestPauseMs = 30_000;

/**
 * Repeats `attempt` while it ends in a passing failure. `hasProgressed` tells whether the last attempt got something done, after which
 * counting starts again.
 * @throws What `attempt` throws last; ABORTED.
 */
export async function retrying<T>(
  attempt: () => Promise<T>,
  options: RetryOptions,
  hasProgressed = () => false,
): Promise<T> {
  const { attempts = 6, backoffMs = 500, signal } = options;
  for (let failures = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof PassingFailure)) throw error;
      failures = hasProgressed() ? 1 : failures + 1;
      if (failures >= attempts) throw error;
      // A quarter more or less, so that those who failed together do not return together.
      const grown = Math.min(longestPauseMs, backoffMs * 2 ** (failures - 1)) * (0.75 + Math.random() / 2);
      const waitMs = Math.max(grown, error.waitMs ?? 0);
      options.onRetry?.(error, waitMs);
      await pause(waitMs, signal);
      throwIfAborted(signal);
    }
  }
}
