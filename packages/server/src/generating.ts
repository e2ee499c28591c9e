/**
 * Runs the answers of one request side by side and hands on their pieces as they come. Whatever ends one ends all.
 */
import type { Grammar } from "@bitnet.ts/grammar";
import type { GenerateOptions, Generation, GenerationResult, TokenPiece } from "bitnet.ts";
import type { Exchange } from "./exchange.ts";
import type { Lease } from "./models.ts";
import { prefixKey } from "./prefix-key.ts";

export interface AnswerPlan {
  readonly ids: Int32Array;
  readonly options: GenerateOptions;
  /** What the answer must look like. */
  readonly grammar?: Grammar;
}

/** Reserves what the answers may take at most. */
export async function reserveFor(exchange: Exchange, plans: readonly AnswerPlan[]): Promise<void> {
  let nTokens = 0;
  for (const { ids, options } of plans) nTokens += ids.length + (options.maxTokens ?? 0);
  const [first] = plans;
  const model = exchange.serving.models.resolve(exchange.modelName);
  if (first !== undefined)
    exchange.reply.header("x-prefix-key", prefixKey(exchange.client.tenant, model, first.ids));
  await exchange.reserveTokens(nTokens);
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
  const counts: Promise<void>[] = [];
  try {
    const generations = plans.map(({ ids, options, grammar }) =>
      lease.model.generate(ids, {
        ...options,
        cacheSalt,
        signal,
        ...(grammar === undefined ? {} : { mask: grammar.createMask() }),
      }),
    );
    counts.push(...generations.map((generation) => count(exchange, generation)));
    const results = await Promise.all(
      generations.map(async (generation, index) => {
        const isBackground = exchange.client.background !== undefined;
        const followed = exchange.serving.watching.activity.follow(lease.name, isBackground);
        try {
          for await (const piece of generation) {
            followed.token();
            await onPiece(index, piece);
          }
        } finally {
          const result = await generation.result.catch(() => null);
          if (result !== null) followed.end(result, exchange.queuedMs);
        }
        return generation.result;
      }),
    );
    exchange.throwIfAborted();
    return results;
  } finally {
    controller.abort();
    exchange.signal.removeEventListener("abort", stop);
    // Those that had to end because another one failed have taken tokens as well.
    await Promise.all(counts);
  }
}

async function count(exchange: Exchange, generation: Generation): Promise<void> {
  const result = await generation.result.catch(() => null);
  if (result !== null) exchange.countTokens(result.promptTokens, result.ids.length);
}
