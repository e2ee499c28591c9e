/**
 * A loaded model. What requests of one item have in common is computed once, through the KV cache; the engine gives the same bits
 * with it and without, batched or alone.
 */
import { BitNetError, encodeChat } from "@bitnet.ts/core";
import type { BitNet } from "bitnet.ts";
import { rollingWindows, windowsOf } from "../perplexity-windows.ts";
import type {
  AnswerRequest,
  EvalModel,
  Likelihood,
  LikelihoodRequest,
  PerplexityMode,
  WindowLikelihoods,
} from "./eval-model.ts";
import { type EncodedPair, encodePair, prefixId } from "./split.ts";

export interface LocalModelOptions {
  /** Whether contexts begin with the beginning-of-text token; default: what the tokenizer wants. */
  bos?: boolean;
  /** Share what requests have in common; for tests. Default true. */
  sharesContexts?: boolean;
  signal?: AbortSignal;
}

export function localModel(model: BitNet, options: LocalModelOptions = {}): EvalModel {
  const { tokenizer, info } = model;
  const { contextLength } = info;
  const { bos = tokenizer.addBos, sharesContexts = true, signal } = options;
  if (bos && tokenizer.bosId === null)
    throw new BitNetError("INVALID_ARGUMENT", "evaluation: the model has no beginning-of-text token");
  const abort = signal === undefined ? {} : { signal };

  const logprobs = async (ids: Int32Array, from: number): Promise<number[]> => {
    const result = await model.generate(ids, {
      maxTokens: 0,
      promptLogprobs: 0,
      promptLogprobsFrom: from,
      ...abort,
    }).result;
    return (result.promptLogprobs ?? []).slice(from).map((entry) => entry?.logprob ?? Number.NaN);
  };
  const score = async ({ ids, from }: EncodedPair): Promise<Likelihood> => {
    const values = await logprobs(ids, from);
    return { sum: values.reduce((sum, value) => sum + value, 0), nTokens: values.length };
  };

  return {
    name: info.name,
    settings: {
      backend: info.backend,
      isa: info.isa,
      contextLength,
      bos,
      kvType: info.kvType,
      source: info.source,
    },
    async likelihoods(requests: readonly LikelihoodRequest[]) {
      const pairs = requests.map(({ context, continuation }) =>
        encodePair(tokenizer, context, continuation, { bos, contextLength }),
      );
      if (!sharesContexts) return inTurn(pairs, score);
      // The first leaves the context in the cache, from where the others take it.
      const groups = new Map<string, number[]>();
      pairs.forEach(({ ids, from }, i) => {
        const key = ids.subarray(0, from).join();
        groups.set(key, [...(groups.get(key) ?? []), i]);
      });
      const results: Likelihood[] = new Array(pairs.length);
      const scoreAt = async (i: number) => {
        results[i] = await score(pairs[i] as EncodedPair);
      };
      await Promise.all(
        [...groups.values()].map(async ([first, ...others]) => {
          await scoreAt(first as number);
          await Promise.all(others.map(scoreAt));
        }),
      );
      return results;
    },
    async answer({ prompt, stop, maxTokens, sampling }: AnswerRequest) {
      const ids =
        typeof prompt === "string"
          ? tokenizer.encode(prompt, { bos })
          : encodeChat(tokenizer, model.template, prompt, { addGenerationPrompt: true }).ids;
      const room = contextLength - maxTokens;
      const kept =
        ids.length <= room ? ids : ids.subarray(Math.min(ids.length - 1, ids.length - Math.max(1, room)));
      const stops = stop.length === 0 ? {} : { stop };
      const { text } = await model.generate(kept, {
        ...(sampling ?? { temperature: 0 }),
        repeatPenalty: 1,
        maxTokens,
        ...stops,
        ...abort,
      }).result;
      return text;
    },
    async perplexity(text: string, mode: PerplexityMode): Promise<WindowLikelihoods> {
      const windows =
        mode === "rolling"
          ? rollingWindows(tokenizer.encode(text), {
              prefix: prefixId(tokenizer),
              contextLength,
              keepsPrefix: bos,
            })
          : windowsOf(tokenizer.encode(text, { bos: tokenizer.addBos }), {
              counting: "llama.cpp",
              contextLength,
              stride: contextLength,
              bosId: tokenizer.addBos ? tokenizer.bosId : null,
            });
      let [sum, nTokens] = [0, 0];
      for (const { ids, from } of windows) {
        const scored = await score({ ids, from });
        sum += scored.sum;
        nTokens += scored.nTokens;
      }
      return { sum, nTokens };
    },
  };
}

async function inTurn<T, R>(items: readonly T[], task: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await task(item));
  return results;
}
