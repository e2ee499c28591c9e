/** Judges the texts of a strategy by those of the reference. */
import { type Answer, mostCharacters } from "./measure.ts";
import { native, reference, wasm, webgpu } from "./own-engines.ts";
import type { Strategy, StrategyVerdict } from "./strategy.ts";

const verdicts = ["equal", "alike", "answers", "wrong"] as const;

/** The worst of what can be said of its texts. */
export function judge(
  strategy: Strategy,
  answers: readonly Answer[],
  again: string,
  expected: ReadonlyMap<string, string> | null,
): StrategyVerdict {
  const [first, second] = answers;
  const isDeaf = strategy.runs === "other" && first?.text === second?.text;
  if (isDeaf || first?.text !== again) return "wrong";
  const found = answers.map(({ prompt, text }) => judgeText(strategy, prompt, text, expected?.get(prompt)));
  return verdicts.findLast((verdict) => found.includes(verdict)) ?? "wrong";
}

function judgeText(
  strategy: Strategy,
  prompt: string,
  text: string,
  expected: string | undefined,
): (typeof verdicts)[number] {
  const isNothing = text.replaceAll(prompt, "").trim() === "";
  if (isNothing || text.length > mostCharacters) return "wrong";
  if (strategy.runs === "other") return "answers";
  // Where there is nothing to compare with, only our own engines are their own measure.
  if (expected === undefined) return isOwn(strategy) ? "equal" : "answers";
  if (text === expected) return "equal";
  return !isOwn(strategy) && isAlike(text, expected) ? "alike" : "wrong";
}

function isOwn(strategy: Strategy): boolean {
  return [reference, native, wasm, webgpu].includes(strategy);
}

function isAlike(text: string, expected: string): boolean {
  const [a, b] = [text.trim(), expected.trim()];
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length > 0 && length * 2 >= b.length && a.length <= 2 * b.length;
}
