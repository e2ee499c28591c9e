import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { knownPatterns, pieceScanner, type SplitRule } from "./split.ts";

// The published patterns in the syntax of JavaScript: (?i:…) written out, \s as \p{White_Space}.
const space = String.raw`\p{White_Space}`;
const spaces = `${space}*[\\r\\n]+|${space}+(?!\\P{White_Space})|${space}+`;
const anyCase = "'(?:[sSſ]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])";
const llamaLike = (digits: string) =>
  new RegExp(
    String.raw`${anyCase}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}${digits}| ?[^${space}\p{L}\p{N}]+[\r\n]*|${spaces}`,
    "gu",
  );
const references: Record<SplitRule, RegExp> = {
  "llama-3": llamaLike("{1,3}"),
  "qwen-2": llamaLike(""),
  "gpt-4o": new RegExp(
    [
      String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?:${anyCase})?`,
      String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?:${anyCase})?`,
      String.raw`\p{N}{1,3}`,
      String.raw` ?[^${space}\p{L}\p{N}]+[\r\n/]*`,
      spaces,
    ].join("|"),
    "gu",
  ),
  "gpt-2": new RegExp(
    String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^${space}\p{L}\p{N}]+|${space}+(?!\P{White_Space})|${space}+`,
    "gu",
  ),
};

function pieces(rule: SplitRule, text: string): string[] {
  const bytes = new TextEncoder().encode(text);
  const scan = pieceScanner(rule);
  const found: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = scan(bytes, at, bytes.length);
    found.push(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(at, end)));
    at = end;
  }
  return found;
}

const rules: SplitRule[] = ["llama-3", "gpt-2", "qwen-2", "gpt-4o"];
const alphabet = [
  ..." \t\n\r\v\u0085\u00a0\u2003\u3000\u200b\ufeff''''sStTrReEvVmMlLdDaAZǅ/ªʰ19٣²Ⅻ一é\u0301ſK!?-_(🙂𝟘𐐀",
];
const tricky = fc.oneof(
  fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 40 }),
  fc.string({ unit: fc.constantFrom(" ", "\n", "\r", "\t", "x", "'s", "1"), maxLength: 20 }),
  fc.string({ unit: "binary", maxLength: 40 }),
);

describe.each(rules)("split rule %s", (rule) => {
  it("cuts as its pattern does", () => {
    const property = fc.property(tricky, (text) => {
      expect(pieces(rule, text)).toEqual(text.match(references[rule]) ?? []);
    });
    fc.assert(property, { numRuns: 3000, seed: 1 });
  });

  it("cuts around every kind of character as its pattern does", () => {
    for (let codePoint = 0; codePoint < 0x30000; codePoint += codePoint < 0x3000 ? 1 : 37) {
      if (codePoint >= 0xd800 && codePoint < 0xe000) continue;
      const c = String.fromCodePoint(codePoint);
      const text = `'${c}x ${c}${c} a${c}1`;
      expect(pieces(rule, text), codePoint.toString(16)).toEqual(text.match(references[rule]));
    }
  });

  // A backtracking pattern takes minutes to hours on some of these.
  it.each([
    ["letters", "a".repeat(2 ** 20)],
    ["spaces", " ".repeat(2 ** 20)],
    ["spaces before a word", `${" ".repeat(2 ** 20)}x`],
    ["line ends before a word", `${"\n".repeat(2 ** 20)}x`],
    ["lines of spaces", `${"  \n".repeat(2 ** 18)}  x`],
    ["a line end, then spaces", `\n${" ".repeat(2 ** 20)}x`],
    ["wide spaces", `${"\u3000".repeat(2 ** 18)}x`],
    ["apostrophes", "'".repeat(2 ** 20)],
    ["symbols", "!".repeat(2 ** 20)],
    ["capitals", "A".repeat(2 ** 20)],
    ["capitals after letters without case", "ªAAAA".repeat(2 ** 18)],
    ["marks", "\u0301".repeat(2 ** 19)],
  ])("stays linear on %s", (_, text) => {
    const started = performance.now();
    expect(pieces(rule, text).join("")).toBe(text);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("known patterns", () => {
  it("are the published ones", () => {
    const llama3 =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    expect(knownPatterns.get(llama3)).toBe("llama-3");
    const gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    expect(knownPatterns.get(gpt2)).toBe("gpt-2");
  });
});
