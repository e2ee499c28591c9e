/** Takes out of texts what would run if somebody put them into a page: scripts, frames, and addresses that are programs. */
import { RE2JS } from "re2js";

const patterns = [
  "(?is)<script\\b[^>]*>.*?</script\\s*>",
  "(?is)<iframe\\b[^>]*>.*?</iframe\\s*>",
  "(?i)</?(?:script|iframe)\\b[^>]*>?",
  "(?i)javascript\\s*:",
  "(?i)data\\s*:\\s*text/html",
].map((pattern) => RE2JS.compile(pattern));

/** What is left after one pass may be a tag again; whoever nests deeper than this means no good. */
const maxPasses = 8;

/** @returns The text without them, or null when there is no end to it. */
export function sanitizeText(text: string): string | null {
  let current = text;
  for (let pass = 0; pass < maxPasses; pass++) {
    let next = current;
    for (const pattern of patterns) next = pattern.matcher(next).replaceAll("");
    if (next === current) return current;
    current = next;
  }
  return null;
}
