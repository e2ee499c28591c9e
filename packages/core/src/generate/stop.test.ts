import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StopMatcher } from "./stop.ts";

/** Pushes pieces; returns what came out after each, and at the end. */
function feed(stops: string[], pieces: string[]): { out: string[]; end: string; hasStopped: boolean } {
  const matcher = new StopMatcher(stops);
  const out = pieces.map((piece) => matcher.push(piece));
  return { out, end: matcher.end(), hasStopped: matcher.hasStopped };
}

describe("stop texts", () => {
  test("a stop text across three tokens never shows", () => {
    expect(feed(["END"], ["abE", "N", "Dxyz", "more"])).toEqual({
      out: ["ab", "", "", ""],
      end: "",
      hasStopped: true,
    });
  });

  test("what only looked like a stop text comes out as soon as that is known", () => {
    expect(feed(["END"], ["abE", "N", "!c"])).toEqual({
      out: ["ab", "", "EN!c"],
      end: "",
      hasStopped: false,
    });
  });

  test("what still looks like one comes out at the end", () => {
    expect(feed(["\n\n"], ["a\n"])).toEqual({ out: ["a"], end: "\n", hasStopped: false });
  });

  test("a beginning inside a beginning is kept", () => {
    expect(feed(["aab"], ["aa", "a", "b!"])).toEqual({ out: ["", "a", ""], end: "", hasStopped: true });
    expect(feed(["abab!"], ["ababab", "!"])).toEqual({ out: ["ab", ""], end: "", hasStopped: true });
  });

  test("the text that completes first counts, at the same character the longest", () => {
    expect(feed(["bc", "abcd"], ["xabcd"]).out).toEqual(["xa"]);
    expect(feed(["c", "abc", "bc"], ["xabcd"]).out).toEqual(["x"]);
  });

  test("without stop texts nothing is held", () => {
    expect(feed([], ["a", "", "b"])).toEqual({ out: ["a", "", "b"], end: "", hasStopped: false });
  });

  test("characters beyond the BMP stay whole", () => {
    expect(feed(["😀"], ["a😁", "b😀c"])).toEqual({ out: ["a😁", "b"], end: "", hasStopped: true });
  });

  test("any split of any text gives the same", () => {
    const letters = (min: number, max: number) =>
      fc.string({ unit: fc.constantFrom("a", "b"), minLength: min, maxLength: max });
    fc.assert(
      fc.property(
        fc.array(letters(1, 6), { maxLength: 3 }),
        fc.array(letters(0, 5), { maxLength: 12 }),
        (stops, pieces) => {
          const { out, end, hasStopped } = feed(stops, pieces);
          // By definition: the earliest end of any stop text, the longest of those.
          const text = pieces.join("");
          let cut: string | null = null;
          for (let at = 1; cut === null && at <= text.length; at++) {
            const found = stops.filter((stop) => text.slice(0, at).endsWith(stop)).map((stop) => stop.length);
            if (found.length > 0) cut = text.slice(0, at - Math.max(...found));
          }
          expect(hasStopped).toBe(cut !== null);
          expect(out.join("") + end).toBe(cut ?? text);
        },
      ),
      { seed: 20260103, numRuns: 2000 },
    );
  });

  test("a long repetitive stop text costs no more than the text is long", () => {
    const matcher = new StopMatcher(Array.from({ length: 64 }, () => `${"a".repeat(1023)}b`));
    let out = 0;
    for (let i = 0; i < 20_000; i++) out += matcher.push("a").length;
    expect(out).toBe(20_000 - 1023);
  });
});
