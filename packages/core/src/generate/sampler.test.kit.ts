/** Asking a sampler as the scheduler does. */
import { expect } from "vitest";
import type { HeadRequest, HeadResult } from "../backend/step.ts";
import type { GenerateOptions, SamplingSettings } from "./options.ts";
import { parseGenerateOptions } from "./parse-options.ts";
import type { Sampler } from "./sampler.ts";

export function settingsOf(options: GenerateOptions, vocabSize: number): SamplingSettings {
  return parseGenerateOptions(options, vocabSize).sampling;
}

/** What became of requests for a share of the mass. */
export const massAnswers = { decided: 0, open: 0 };

/** Asks, and asks once more for everything when the answer leaves the choice open. */
export function chooseFrom(
  sampler: Sampler,
  index: number,
  answer: (request: HeadRequest) => HeadResult,
): number {
  const request = sampler.request(0, index);
  const id = sampler.choose(answer(request), index);
  if (request.want.kind === "mass") massAnswers[id === null ? "open" : "decided"]++;
  if (id !== null) return id;
  const again = sampler.request(0, index);
  expect(again.want.kind).toMatch(/^(all|draw)$/);
  return sampler.choose(answer(again), index) ?? Number.NaN;
}
