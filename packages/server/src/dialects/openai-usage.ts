/** Small parts that OpenAI's answers share. */
import type { GenerationResult } from "bitnet.ts";
import type { Serving } from "../serving.ts";

/** Tokens of all answers, of which some were thoughts; answers to one prompt count it once. */
export function usageOf(results: readonly GenerationResult[], nPrompts = 1, nReasoning = 0): object {
  const perPrompt = results.length / nPrompts;
  const first = results.filter((_, i) => i % perPrompt === 0);
  const prompt = first.reduce((sum, result) => sum + result.promptTokens, 0);
  const cached = first.reduce((sum, result) => sum + result.cachedTokens, 0);
  const completion = results.reduce((sum, result) => sum + result.ids.length, 0);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: nReasoning,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

export function fingerprint({ version }: Serving): string {
  return `b-${version}`;
}
