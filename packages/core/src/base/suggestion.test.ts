import { expect, it } from "vitest";
import { nearestName } from "./suggestion.ts";

it.each([
  ["maxTokns", "maxTokens"],
  ["max_tokens", "maxTokens"],
  ["temprature", "temperature"],
  ["tpoK", "topK"],
  ["contextSize", null],
  ["x".repeat(100_000), null],
])("%s: %s", (name, nearest) => {
  expect(nearestName(name, ["maxTokens", "temperature", "topK", "seed"])).toBe(nearest);
});
