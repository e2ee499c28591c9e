/** A generation that begins when another has ended, unless it is aborted or its reader leaves before. */
import { onAbort } from "@bitnet.ts/core";
import { type GenerationSource, neverBegun, type TokenPiece } from "./generation.ts";

/** @param start May throw, and `before` may fail; reading and the result then fail. */
export function queuedSource(
  before: Promise<void>,
  start: () => GenerationSource,
  { signal, seed }: { signal?: AbortSignal | undefined; seed?: number | undefined },
): GenerationSource {
  let hasEnded = false;
  const { promise: ended, resolve } = deferred();
  const end = () => {
    hasEnded = true;
    resolve();
  };
  const stopWaiting = signal === undefined ? () => {} : onAbort(signal, end);
  const begun = Promise.race([before, ended])
    .catch((error: unknown) => {
      if (!hasEnded) throw error; // else the work before it was ended by the same signal
    })
    .finally(stopWaiting)
    .then(() => (hasEnded ? null : start()));
  return {
    result: begun.then((source) => source?.result ?? neverBegun(seed ?? 0)),
    read() {
      const pieces: Promise<AsyncIterator<TokenPiece, undefined> | null> = begun.then(
        (source) => source?.read() ?? null,
      );
      pieces.catch(() => {});
      return {
        next: async () => (await pieces)?.next() ?? { done: true, value: undefined },
        async return() {
          end();
          await (await pieces.catch(() => null))?.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
