/** The samplers that are measured, as tables name them: what choosing a token costs depends on them. */
import type { SamplingOptions } from "bitnet.ts";

export interface NamedSampler {
  name: string;
  sampling: SamplingOptions;
}

export const greedy: NamedSampler = { name: "greedy", sampling: { temperature: 0 } };

/** That of generations that do not say. */
export function defaultSampler(seed: number): NamedSampler {
  return { name: "temperature 0.7, top-p 0.9", sampling: { temperature: 0.7, topP: 0.9, seed } };
}
