import fc from "fast-check";
import { expect, test } from "vitest";
import { parseFilterRules } from "./filter-rules.ts";
import { longestMatch } from "./pattern-length.ts";
import { parseSanitizePatterns, sanitizeText } from "./sanitize.ts";
import { screenText, TextScreen } from "./text-screen.ts";

const rules = (...list: object[]) =>
  parseFilterRules({ rules: list.map((rule, i) => ({ name: `r${i}`, ...rule })) }, "rules.json");

test.each([
  ["abc", 6],
  ["a|bcd", 6],
  ["a{2,5}", 10],
  ["(?:ab){3}", 12],
  ["a*", Number.POSITIVE_INFINITY],
  ["a+?b", Number.POSITIVE_INFINITY],
  ["a{2,}", Number.POSITIVE_INFINITY],
  ["\\b[a-z\\]]\\b", 2],
  ["[]a]b", 4],
  ["[[:alpha:]x]", 2],
  ["(?i)a(?P<n>b?)$", 4],
  ["(?i:ab)", 4],
  ["\\Qa+b\\E", 6],
  ["\\x{1F600}\\pL\\p{Greek}\\x41", 8],
  ["(\\b)*a", 2],
])("the longest match of %s has at most %d units", (pattern, longest) => {
  expect(longestMatch(pattern)).toBe(longest);
});

test("whatever the pieces, the outcome is that of the whole text", () => {
  const given = rules(
    // As long as its bound says, so that a window narrower by one unit takes the end of a piece for the end of the text.
    { pattern: "[😀]{2}$", severity: "redact", replacement: "!" },
    { pattern: "\\bbad\\b", severity: "redact" },
    { pattern: "a{2,4}b?", severity: "redact", replacement: "" },
    { pattern: "d.*d", severity: "flag" },
    { pattern: "^b|b$", severity: "redact", replacement: "<>" },
    // Without a bound, it holds everything back until the end: rules after it would see no pieces.
    { pattern: "c+", severity: "redact", replacement: "é" },
  );
  const piece = fc.array(fc.constantFrom("a", "b", "d", " ", "bad", "c", "😀"), { maxLength: 6 });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const texts = pieces.map((each) => each.join(""));
      const seen: [string[], string[]] = [[], []];
      const whole = screenText(given, texts.join(""), ({ name }) => seen[0].push(name));
      const screen = new TextScreen(given, ({ name }) => seen[1].push(name));
      // Cut between the halves of characters as well.
      const units = texts.flatMap((text) => text.split(""));
      const out = units.map((unit) => screen.push(unit)).join("") + screen.end();
      expect(out).toBe(whole);
      expect(seen[1].sort()).toEqual(seen[0].sort());
    }),
    { numRuns: 500 },
  );
});

test("the whole text is what replacing all matches gives", () => {
  const given = rules({ pattern: "\\bbad\\b", severity: "redact" });
  expect(screenText(given, "bad, badly Bad bad", () => {})).toBe("[redacted], badly [redacted] [redacted]");
});

test("nothing of a forbidden text gets out, however it is cut", () => {
  const given = rules({ pattern: "secret [a-z]{1,5}", severity: "block" });
  const text = "this is a secret plan of ours";
  for (let cut = 0; cut < text.length; cut++) {
    let out = "";
    const screen = new TextScreen(given, () => {
      throw new Error("blocked");
    });
    expect(() => {
      out += screen.push(text.slice(0, cut));
      out += screen.push(text.slice(cut));
      out += screen.end();
    }).toThrow("blocked");
    expect("this is a ".startsWith(out)).toBe(true);
  }
});

test("a forbidden text that is as long as its pattern allows does not get out by a unit", () => {
  const given = rules({ pattern: "[😀]{3}", severity: "block" });
  const units = "ab😀😀😀".split("");
  let out = "";
  const screen = new TextScreen(given, () => {
    throw new Error("blocked");
  });
  expect(() => {
    for (const unit of units) out += screen.push(unit);
    out += screen.end();
  }).toThrow("blocked");
  expect(out).toBe("ab");
});

test("what is surely no match is let out at once, and without an upper bound nothing is", () => {
  const bounded = new TextScreen(rules({ pattern: "secret" }), () => {});
  expect(bounded.push("x".repeat(100)).length).toBe(88);
  const unbounded = new TextScreen(rules({ pattern: "a.*b" }), () => {});
  expect([unbounded.push("xxx"), unbounded.end()]).toEqual(["", "xxx"]);
});

test.each<[object, string]>([
  [{ pattern: "(?=a)" }, "rules[0].pattern"],
  [{ pattern: "a*" }, "matches the empty text"],
  [{ pattern: "a", severity: "drop" }, "rules[0].severity"],
  [{ pattern: "a", on: "both ways" }, "rules[0].on"],
  [{ pattern: "a", name: "a b" }, "rules[0].name"],
  [{ pattern: "a", flags: "i" }, '"flags" is not known'],
])("%o is refused with its place", (rule, problem) => {
  expect(() => rules(rule)).toThrow(problem);
});

test("what is taken out can be chosen", () => {
  const chosen = parseSanitizePatterns({ patterns: ["(?i)onload\\s*=", "<[^>]*>"] }, "patterns.json");
  expect(sanitizeText('<b onload="x">hi</b> ONLOAD = 1 javascript:x', chosen)).toBe("hi  1 javascript:x");
  for (const [value, problem] of [
    [{ patterns: "x" }, "patterns: expected a list"],
    [{ patterns: [] }, "patterns: expected a list"],
    [{ patterns: [1] }, "patterns[0]: expected a pattern"],
    [{ patterns: ["a", "(?=b)"] }, "patterns[1]: "],
    [{ patterns: ["a*"] }, "patterns[0]: it matches the empty text"],
    [[], "patterns: expected a list"],
  ] as const)
    expect(() => parseSanitizePatterns(value, "patterns.json")).toThrow(problem);
});

test.each([
  ["a <script>alert(1)</script> b", "a  b"],
  ['x<IFRAME src="y"></iframe>z', "xz"],
  ["<scr<script></script>ipt>alert(1)</script>", "alert(1)"],
  ["[x](javascript:alert(1)) data: text/html,y", "[x](alert(1)) ,y"],
  ["a < b and c > d", "a < b and c > d"],
])("%s is made harmless", (text, clean) => {
  expect(sanitizeText(text)).toBe(clean);
});

test("there is an end to taking things out", () => {
  const nested = "<scr".repeat(20) + "<script>".repeat(1) + "ipt>".repeat(20);
  expect(sanitizeText(nested)).toBe(null);
});
