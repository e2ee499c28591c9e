/**
 * Runs the answers of one request side by side and hands on their pieces as they come. Whatever ends one ends all.
 */
import type { GenerateOptions, GenerationResult, TokenPiece } from "bitnet.ts";
import type { Exchange } from "./exchange.ts";
import type { Lease } from "./models.ts";

export interface AnswerPlan {
  readonly ids: Int32Array;
  readonly options: GenerateOptions;
}

/** @param onPiece Of the answer number `index`; what it returns is waited for before the next piece of that answer. */
export async function generateAnswers(
  exchange: Exchange,
  lease: Lease,
  plans: readonly AnswerPlan[],
  onPiece: (index: number, piece: TokenPiece) => Promise<void> | void,
): Promise<GenerationResult[]> {
  exchange.throwIfAborted();
  const controller = new AbortController();
  const stop = () => controller.abort();
  exchange.signal.addEventListener("abort", stop, { once: true });
  const { signal } = controller;
  const cacheSalt = exchange.client.tenant;
  try {
    const generations = plans.map(({ ids, options }) =>
      lease.model.generate(ids, { ...options, cacheSalt, signal }),
    );
    const results = await Promise.all(
      generations.map(async (generation, index) => {
        for await (const piece of generation) await onPiece(index, piece);
        return generation.result;
      }),
    );
    exchange.throwIfAborted();
    return results;
  } finally {
    controller.abort();
    exchange.signal.removeEventListener("abort", stop);
  }
}
