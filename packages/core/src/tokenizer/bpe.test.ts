import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byteStringsFrom } from "../base/byte-strings.ts";
import { createIdList, createScratch, mergePiece } from "./bpe.ts";
import { createMergeTable } from "./merges.ts";
import { createVocabulary, findToken, hashBytes, tableSize } from "./vocabulary.ts";

/** Every byte as GPT-2 spells it. */
const byteTokens = Array.from({ length: 256 }, (_, byte) => {
  const visible = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  const hidden = Array.from({ length: byte }, (_, b) => b).filter((b) => !visible(b)).length;
  return String.fromCodePoint(visible(byte) ? byte : 256 + hidden);
});

/** A tokenizer core whose merges are `pairs`, in order. */
function build(pairs: readonly (readonly [string, string])[]) {
  const words = [...new Set(pairs.map(([left, right]) => left + right))];
  const tokens = [...byteTokens, ...words.filter((word) => word.length > 1)];
  const vocabulary = createVocabulary(byteStringsFrom(tokens), new Uint8Array(tokens.length), "test");
  const merges = createMergeTable(byteStringsFrom(pairs.map((pair) => pair.join(" "))), vocabulary, "test");
  const byteIds = Int32Array.from({ length: 256 }, (_, byte) =>
    findToken(vocabulary, Uint8Array.of(byte), 0, 1),
  );
  const bpe = { byteIds, merges, scratch: createScratch() };
  const encode = (text: string) => {
    const bytes = new TextEncoder().encode(text);
    const out = createIdList();
    mergePiece(bpe, bytes, 0, bytes.length, out);
    return Array.from(out.ids.subarray(0, out.length), (id) => tokens[id] ?? "?");
  };
  return { encode, bpe };
}

/** The definition: again and again, the leftmost pair of lowest rank. */
function mergeNaively(pairs: readonly (readonly [string, string])[], text: string): string[] {
  const ranks = new Map<string, number>();
  for (const [rank, pair] of pairs.entries()) if (!ranks.has(pair.join(" "))) ranks.set(pair.join(" "), rank);
  const parts = [...text];
  for (;;) {
    let best = -1;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Number.POSITIVE_INFINITY;
      if (rank < bestRank) [best, bestRank] = [i, rank];
    }
    if (best < 0) return parts;
    parts.splice(best, 2, `${parts[best]}${parts[best + 1]}`);
  }
}

describe("mergePiece", () => {
  it("merges by rank, then from the left", () => {
    const { encode } = build([
      ["a", "b"],
      ["b", "c"],
      ["a", "a"],
    ]);
    expect(encode("abc")).toEqual(["ab", "c"]);
    expect(encode("aaab")).toEqual(["aa", "ab"]);
    expect(encode("aaa")).toEqual(["aa", "a"]);
    expect(encode("xbc")).toEqual(["x", "bc"]);
  });

  it("agrees with the definition on random merges and texts", () => {
    const letters = "abc";
    const word = fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 4 });
    const property = fc.property(
      fc.array(fc.tuple(word, word), { maxLength: 25 }),
      fc.array(fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 60 }), {
        maxLength: 5,
      }),
      (wanted, texts) => {
        // Both halves of a merge must be tokens already.
        const known = new Set<string>(letters);
        const usable = wanted.filter(([left, right]) => {
          const isUsable = known.has(left) && known.has(right);
          if (isUsable) known.add(left + right);
          return isUsable;
        });
        const { encode } = build(usable);
        for (const text of texts) expect(encode(text)).toEqual(mergeNaively(usable, text));
      },
    );
    fc.assert(property, { numRuns: 500, seed: 2 });
  });

  it("costs less than six times as much for four times the text", () => {
    const pairs = Array.from({ length: 12 }, (_, i) => ["a".repeat(2 ** i), "a".repeat(2 ** i)] as const);
    const { encode, bpe } = build(pairs);
    const steps = (length: number) => {
      bpe.scratch.heapSteps = 0;
      expect(encode("a".repeat(length)).join("").length).toBe(length);
      return bpe.scratch.heapSteps;
    };
    const counts = [1000, 4000, 16_000, 64_000, 256_000].map(steps);
    for (let i = 1; i < counts.length; i++) {
      expect((counts[i] ?? 0) / (counts[i - 1] ?? 0), counts.join(" ")).toBeLessThan(6);
      expect((counts[i] ?? 0) / (counts[i - 1] ?? 0), counts.join(" ")).toBeGreaterThan(3);
    }
  });

  it("gives large working memory back", () => {
    const { encode, bpe } = build([["a", "a"]]);
    encode("a".repeat(100_000));
    expect(bpe.scratch.ids.length).toBeLessThan(1000);
  });

  it("refuses a run over 4 MiB", () => {
    const { encode } = build([["a", "a"]]);
    expect(() => encode("a".repeat(2 ** 22 + 1))).toThrowError(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });
});

describe("createMergeTable", () => {
  const vocabulary = () => {
    const tokens = [...byteTokens, "ab", "<eot>"];
    const kinds = new Uint8Array(tokens.length);
    kinds[257] = 2; // control
    return createVocabulary(byteStringsFrom(tokens), kinds, "test");
  };
  const table = (...merges: string[]) => createMergeTable(byteStringsFrom(merges), vocabulary(), "test");

  it.each(["ab", "a  b", " ab", "ab ", "a b c", "", "a \u3000"])("refuses the merge %j", (merge) => {
    expect(() => table("a b", merge)).toThrowError(expect.objectContaining({ code: "TOKENIZER_INVALID" }));
  });

  it("refuses merges of tokens that do not exist, and says which", () => {
    expect(() => table("a b", "ab c")).toThrowError(/merge 1 \("ab c"\)/);
    expect(() => table("abc a")).toThrowError(/vocabulary lacks/);
  });

  it("leaves out merges that would make a control token", () => {
    expect(
      table("a b", "<eot >", "ab <eot>")
        .slots.filter((_, i) => i % 3 === 0)
        .filter((left) => left > 0).length,
    ).toBe(1);
  });
});

describe("createVocabulary", () => {
  it("names the bytes that have no token", () => {
    const tokens = byteTokens.filter((_, byte) => byte !== 0x41 && byte !== 0xff);
    const build = () => createVocabulary(byteStringsFrom(tokens), new Uint8Array(tokens.length), "file");
    expect(build).toThrowError(/file: .*0x41, 0xff/);
    expect(build).toThrowError(expect.objectContaining({ code: "TOKENIZER_INVALID" }));
  });

  it("finds the first of two equal tokens, and no control tokens", () => {
    const tokens = [...byteTokens, "ab", "ab", "cd"];
    const kinds = new Uint8Array(tokens.length);
    kinds[258] = 2;
    const vocabulary = createVocabulary(byteStringsFrom(tokens), kinds, "test");
    const find = (text: string) => findToken(vocabulary, new TextEncoder().encode(text), 0, text.length);
    expect([find("ab"), find("cd"), find("zz")]).toEqual([256, -1, -1]);
  });

  it("refuses a vocabulary made to collide", () => {
    const mask = tableSize(256 + 600) - 1;
    const tokens = [...byteTokens];
    const bytes = new Uint8Array(6);
    for (let i = 0; tokens.length < 256 + 600; i++) {
      for (let digit = 0; digit < 6; digit++) bytes[digit] = 97 + (Math.floor(i / 16 ** digit) % 16);
      const hash = hashBytes(bytes, 0, 6);
      if (((hash ^ (hash >>> 15)) & mask) === 7) tokens.push(String.fromCharCode(...bytes));
    }
    const build = () => createVocabulary(byteStringsFrom(tokens), new Uint8Array(tokens.length), "test");
    expect(build).toThrowError(/share a hash/);
  });

  it("finds every token of a large vocabulary", () => {
    const tokens = [...byteTokens, ...Array.from({ length: 20_000 }, (_, i) => `t${i.toString(36)}`)];
    const vocabulary = createVocabulary(byteStringsFrom(tokens), new Uint8Array(tokens.length), "test");
    const encoder = new TextEncoder();
    for (let id = 256; id < tokens.length; id++) {
      const bytes = encoder.encode(tokens[id]);
      if (findToken(vocabulary, bytes, 0, bytes.length) !== id) expect.fail(`token ${id} is lost`);
    }
  });
});
