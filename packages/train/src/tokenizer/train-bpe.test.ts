/** Merges equal to those of a second implementation, written the slow and obvious way; and what the files say when read back. */
import { chatTemplateFor, encodeChat, tokenizerFromJson } from "@bitnet.ts/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { controlTokens, tokenizerJson } from "./tokenizer-files.ts";
import { PieceCounter, trainBpe } from "./train-bpe.ts";

const text =
  "Once upon a time there was a little cat. The cat sat on the mat, and the mat was flat. " +
  "Tom's cat can't count to 10, 27 or 100; it counts to 3! Zoë said: “no”. 10 cats, 27 mats.\n\n  Then they slept.";

/** Counts everything anew before every merge; pieces by a regular expression. */
function slowMerges(source: string, nMerges: number): string[] {
  const pattern =
    /'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu;
  const order: string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
  let words = [...source.matchAll(pattern)].map(([piece]) =>
    Array.from(Buffer.from(piece, "utf8"), (byte) => order[byte] as string),
  );
  const merges: string[] = [];
  while (merges.length < nMerges) {
    const counts = new Map<string, number>();
    for (const word of words)
      for (let i = 1; i < word.length; i++) {
        const key = `${word[i - 1]}|${word[i]}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    const rank = (key: string) => key.split("|").map((part) => order.indexOf(part));
    const best = [...counts].sort(([a, x], [b, y]) => {
      const [[a0 = 0, a1 = 0], [b0 = 0, b1 = 0]] = [rank(a), rank(b)];
      return y - x || a0 - b0 || a1 - b1;
    })[0];
    if (best === undefined) break;
    const [left = "", right = ""] = best[0].split("|");
    merges.push(best[0]);
    order.push(`${left}${right}`);
    words = words.map((word) => {
      const out: string[] = [];
      for (let i = 0; i < word.length; i++) {
        const isPair = word[i] === left && word[i + 1] === right;
        out.push(isPair ? `${left}${right}` : (word[i] ?? ""));
        if (isPair) i++;
      }
      return out;
    });
  }
  return merges;
}

function fastMerges(source: string, nMerges: number): string[] {
  const counter = new PieceCounter();
  counter.add(source);
  const { tokens, merges } = trainBpe(counter.counts, { vocabSize: 256 + nMerges, specialTokens: [] });
  const hex = (id: number) => Buffer.from(tokens[id] ?? []).toString("hex");
  return merges.map(([left, right]) => `${hex(left)}|${hex(right)}`);
}

describe("BPE training", () => {
  it("makes the merges of the slow implementation", () => {
    expect(fastMerges(text, 120)).toEqual(slowMerges(text, 120));
  });

  it("does so on random texts, runs of one letter included", () => {
    const letters = fc.array(fc.constantFrom("a", "a", "b", "ab", " ", " a", "1", "é", "\n"), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(letters, (parts) => {
        const source = parts.join("");
        expect(fastMerges(source, 12)).toEqual(slowMerges(source, 12));
      }),
      { numRuns: 200, seed: 7 },
    );
  });

  it("does not depend on the order of texts", () => {
    const train = (texts: string[]) => {
      const counter = new PieceCounter();
      for (const each of texts) counter.add(each);
      return trainBpe(counter.counts, { vocabSize: 300, specialTokens: [] }).merges;
    };
    expect(train(["one two two", "three four"])).toEqual(train(["three four", "one two two"]));
  });

  it("makes one token of every required text", () => {
    const counter = new PieceCounter();
    counter.add(text);
    const required = Array.from({ length: 101 }, (_, n) => `${n}`);
    const vocabulary = trainBpe(counter.counts, {
      vocabSize: 256 + 150,
      specialTokens: [...controlTokens],
      required,
    });
    const tokenizer = tokenizerFromJson(tokenizerJson(vocabulary, 64));
    for (const number of required) expect(tokenizer.encode(number)).toHaveLength(1);
  });

  it("is read back by the tokenizer, which decodes what it encodes and knows the turns of a chat", () => {
    const counter = new PieceCounter();
    counter.add(text);
    const vocabulary = trainBpe(counter.counts, { vocabSize: 400, specialTokens: [...controlTokens] });
    const files = tokenizerJson(vocabulary, 64);
    const tokenizer = tokenizerFromJson(files);
    expect(tokenizer.vocabSize).toBe(vocabulary.tokens.length + 4);
    for (const each of [text, "unseen: 漢字 🙂", ""])
      expect(tokenizer.decode(tokenizer.encode(each))).toBe(each);
    const template = chatTemplateFor((files.config as { chat_template: string }).chat_template, "test");
    const { ids } = encodeChat(tokenizer, template, [{ role: "user", content: "hi" }], {
      addGenerationPrompt: true,
    });
    expect(tokenizer.decode(ids)).toBe("<|begin_of_text|>User: hi<|eot_id|>Assistant:");
    expect(tokenizer.eosIds).toContain(tokenizer.idOf("<|eot_id|>"));
  });

  it("refuses a vocabulary without room for the bytes", () => {
    expect(() => trainBpe(new Map(), { vocabSize: 257, specialTokens: ["a", "b"] })).toThrow(/no room/);
  });
});
