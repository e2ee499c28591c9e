/** DRY against its definition on texts, and its breakers against tokenisations of the real thing. */
import { describe, expect, test } from "vitest";
import { Dry } from "./dry.ts";
import { type BreakerVocabulary, breakersOf, noBreakers, SequenceBreakers } from "./dry-breakers.ts";
import type { GenerateOptions } from "./options.ts";
import { settingsOf } from "./sampler.test.kit.ts";

const vocabSize = 40;

function penaltiesOf(context: readonly number[], options: GenerateOptions, breakers = noBreakers) {
  const dry = new Dry(settingsOf({ dryMultiplier: 0.5, dryBase: 2, ...options }, vocabSize), breakers);
  for (const token of context) dry.see(token);
  return Object.fromEntries(dry.penalties());
}

describe("what continues a repetition", () => {
  test.each<[string, number[], GenerateOptions, Record<number, number>]>([
    ["nothing is repeated", [1, 2, 3, 4], {}, {}],
    ["shorter than allowed", [1, 9, 2, 1], {}, {}],
    ["as long as allowed", [1, 2, 3, 1, 2], {}, { 3: 0.5 }],
    ["one longer: the base once", [5, 1, 2, 3, 5, 1, 2], {}, { 3: 1 }],
    ["the longest counts, here 1 2 3 5 1 2", [1, 2, 3, 5, 1, 2, 3, 5, 1, 2], {}, { 3: 0.5 * 2 ** 4 }],
    ["two continuations", [1, 2, 3, 1, 2, 4, 1, 2], {}, { 3: 0.5, 4: 0.5 }],
    ["a repetition that overlaps itself", [7, 7, 7, 7, 7], {}, { 7: 0.5 * 2 ** 2 }],
    ["outside of the window", [1, 2, 3, 1, 2], { dryPenaltyLastN: 4 }, {}],
    ["within the window", [1, 2, 3, 1, 2], { dryPenaltyLastN: 5 }, { 3: 0.5 }],
    ["nothing allowed: every token after the first", [1, 2, 3], { dryAllowedLength: 0 }, { 2: 0.5, 3: 0.5 }],
    ["beyond f32", [7, 7, 7, 7, 7, 7], { dryBase: 1e30 }, { 7: 3.4028234663852886e38 }],
  ])("%s", (_, context, options, expected) => {
    expect(penaltiesOf(context, options)).toEqual(expected);
  });

  test("not across a breaker, and never the breaker itself", () => {
    const nine = new SequenceBreakers(new Map([[9, [new Int32Array()]]]));
    expect(penaltiesOf([1, 2, 3, 1, 2], {}, nine)).toEqual({ 3: 0.5 });
    expect(penaltiesOf([1, 9, 3, 1, 9], { dryAllowedLength: 1 }, nine)).toEqual({});
    expect(penaltiesOf([1, 2, 9, 1, 2], {}, nine)).toEqual({});
    // Four tokens are repeated, of which two stand after the breaker.
    expect(penaltiesOf([9, 1, 2, 3, 9, 1, 2], {}, nine)).toEqual({ 3: 0.5 });
    const long = new SequenceBreakers(new Map([[4, [Int32Array.of(5, 6)]]]));
    expect(penaltiesOf([4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2], {}, long)).toEqual({ 3: 0.5 });
    expect(penaltiesOf([4, 5, 1, 2, 3, 4, 5, 1, 2], {}, long)).toEqual({ 3: 0.5 * 2 ** 2 });
  });
});

describe("breakers as tokens", () => {
  const encoder = new TextEncoder();
  const pieces = [
    "\n",
    "a",
    "b",
    "ab",
    "\n\n",
    "x\n",
    "stop",
    "st",
    "op",
    "o",
    "p",
    "s",
    "cs",
    "t",
    ".\nb",
    "。",
  ].map((text) => encoder.encode(text));
  pieces.push(encoder.encode("。").slice(0, 1), Uint8Array.of(0x80), Uint8Array.of(0x82));
  const vocabulary: BreakerVocabulary = {
    vocabSize: pieces.length,
    tokenBytes: (id) => pieces[id] ?? new Uint8Array(),
    // The longest piece at every place.
    encode(text) {
      const bytes = encoder.encode(text);
      const ids: number[] = [];
      for (let at = 0; at < bytes.length; ) {
        const fitting = pieces
          .map((piece, id) => ({ piece, id }))
          .filter(({ piece }) => piece.every((byte, i) => byte === bytes[at + i]));
        fitting.sort((a, b) => b.piece.length - a.piece.length);
        const [best] = fitting;
        if (best === undefined) throw new Error(`no token for ${text}`);
        ids.push(best.id);
        at += best.piece.length;
      }
      return Int32Array.from(ids);
    },
  };
  const idOf = (text: string) => pieces.findIndex((piece) => new TextDecoder().decode(piece) === text);

  test("a token that contains one", () => {
    const breakers = breakersOf(vocabulary, ["\n"]);
    expect(pieces.map((_, id) => id).filter((id) => breakers.isSingle(id))).toEqual(
      ["\n", "\n\n", "x\n", ".\nb"].map(idOf),
    );
  });

  test("a token that ends with its beginning, and the tokens after that", () => {
    const breakers = breakersOf(vocabulary, ["stop"]);
    const at = (...texts: string[]) => breakers.longestAt(texts.map(idOf).reverse(), texts.length - 1);
    expect(at("stop", "a")).toBe(0);
    expect(at("st", "op")).toBe(1);
    expect(at("st", "op", "b")).toBe(1);
    expect(at("st", "a")).toBe(-1);
    expect(at("st")).toBe(-1);
    expect(at("cs", "a")).toBe(-1);
    expect(breakers.isSingle(idOf("st"))).toBe(false);
  });

  test("a character in two tokens", () => {
    const breakers = breakersOf(vocabulary, ["。"]);
    const [first, second, third] = [16, 17, 18];
    expect(breakers.isSingle(idOf("。"))).toBe(true);
    expect(breakers.longestAt([third, second, first], 2)).toBe(2);
    expect(breakers.longestAt([second, first], 1)).toBe(-1);
  });

  test("are found once for a vocabulary", () => {
    expect(breakersOf(vocabulary, ["a", "b"])).toBe(breakersOf(vocabulary, ["a", "b"]));
    expect(breakersOf(vocabulary, [])).toBe(noBreakers);
  });
});
