/**
 * Takes out of texts what would run if somebody put them into a page: scripts, frames, and addresses that are programs; or what a file of
 * patterns (RE2) says instead.
 */
import { BitNetError } from "@bitnet.ts/core";
import { RE2JS } from "re2js";
import { isObject } from "../fields.ts";
import { compilePattern, readJsonFile } from "./filter-rules.ts";

const usualPatterns: readonly RE2JS[] = [
  "(?is)<script\\b[^>]*>.*?</script\\s*>",
  "(?is)<iframe\\b[^>]*>.*?</iframe\\s*>",
  "(?i)</?(?:script|iframe)\\b[^>]*>?",
  "(?i)javascript\\s*:",
  "(?i)data\\s*:\\s*text/html",
].map((pattern) => RE2JS.compile(pattern));

/** What is left after one pass may be a tag again; whoever nests deeper than this means no good. */
const maxPasses = 8;

/** @returns The text without them, or null when there is no end to it. */
export function sanitizeText(text: string, patterns: readonly RE2JS[] = usualPatterns): string | null {
  let current = text;
  for (let pass = 0; pass < maxPasses; pass++) {
    let next = current;
    for (const pattern of patterns) next = pattern.matcher(next).replaceAll("");
    if (next === current) return current;
    current = next;
  }
  return null;
}

const mostPatterns = 1000;

/** @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID with the pattern at fault. */
export async function readSanitizePatterns(file: string): Promise<readonly RE2JS[]> {
  return parseSanitizePatterns(await readJsonFile(file, "the patterns to take out"), file);
}

/** @param value `{ "patterns": ["<[^>]*>", …] }` */
export function parseSanitizePatterns(value: unknown, file: string): readonly RE2JS[] {
  const list = isObject(value) ? value.patterns : undefined;
  if (!Array.isArray(list) || list.length === 0 || list.length > mostPatterns)
    throw new BitNetError(
      "FORMAT_INVALID",
      `${file}: patterns: expected a list of 1 to ${mostPatterns} patterns`,
    );
  return list.map((each: unknown, index) => {
    const compiled =
      typeof each === "string" && each !== "" ? compilePattern(each, false) : "expected a pattern";
    if (typeof compiled !== "string") return compiled;
    throw new BitNetError("FORMAT_INVALID", `${file}: patterns[${index}]: ${compiled}`);
  });
}
