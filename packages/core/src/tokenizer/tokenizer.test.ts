import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byteStringsFrom } from "../base/byte-strings.ts";
import { tokenizerFromGguf } from "./from-gguf.ts";
import { tokenizerFromJson } from "./from-json.ts";
import type { Tokenizer } from "./tokenizer.ts";

const load = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../../../test/golden/${name}`, import.meta.url), "utf8"));

interface Golden {
  tokenizer: { text: string; ids: number[]; ids_plain: number[] }[];
  prompts: { text: string; ids: number[]; greedy_ids: number[]; greedy_text: string }[];
}
const golden: Golden = load("golden.json");
const file = load("hf-packed/tokenizer.json");

const fromJson = tokenizerFromJson({
  tokenizer: file,
  config: load("hf-packed/tokenizer_config.json"),
  generationConfig: load("hf-packed/generation_config.json"),
});

function fromGguf(): Tokenizer {
  const tokens: string[] = [];
  for (const [content, id] of Object.entries<number>(file.model.vocab)) tokens[id] = content;
  for (const { id, content } of file.added_tokens) tokens[id] = content;
  const tokenTypes = new Int32Array(tokens.length).fill(1);
  for (const { id } of file.added_tokens) tokenTypes[id] = 3;
  const merges = byteStringsFrom(file.model.merges);
  return tokenizerFromGguf({
    model: "gpt2",
    tokens: byteStringsFrom(tokens),
    merges,
    tokenTypes,
    bosId: 2044,
    eosId: 2045,
  });
}

const withoutLoneSurrogates = (text: string) => text.replace(/\p{Surrogate}/gu, "\ufffd");

const sources: [string, Tokenizer][] = [
  ["tokenizer.json", fromJson],
  ["gguf fields", fromGguf()],
];

describe.each(sources)("golden tokenizer from %s", (_, tokenizer) => {
  it("has the right special ids", () => {
    const { vocabSize, bosId, addBos, eosIds } = tokenizer;
    expect({ vocabSize, bosId, addBos, eosIds }).toEqual({
      vocabSize: 2048,
      bosId: 2044,
      addBos: true,
      eosIds: [2045, 2046],
    });
    expect([...tokenizer.specialTokens.values()]).toEqual([2044, 2045, 2046, 2047]);
    expect([2043, 2044, 2046, -1, 9999].map(tokenizer.isSpecial)).toEqual([false, true, true, false, false]);
  });

  it.each(golden.tokenizer)("encodes $text", ({ text, ids, ids_plain }) => {
    expect([...tokenizer.encode(text, { special: true })]).toEqual(ids);
    expect([...tokenizer.encode(text)]).toEqual(ids_plain);
    expect(tokenizer.decode(ids)).toBe(text);
  });

  it.each(golden.prompts)("encodes and continues $text", ({ text, ids, greedy_ids, greedy_text }) => {
    expect([...tokenizer.encode(text, { bos: true })]).toEqual(ids);
    expect(tokenizer.decode(greedy_ids)).toBe(greedy_text);
  });

  it("gives every well-formed text back", () => {
    const property = fc.property(fc.string({ unit: "binary", maxLength: 200 }), (text) => {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      expect(tokenizer.decode(tokenizer.encode(text, { special: true }))).toBe(text);
    });
    fc.assert(property, { numRuns: 500, seed: 3 });
  });

  it("never makes control tokens of plain text", () => {
    const unit = fc.constantFrom("<|eot_id|>", "<|begin_of_text|>", "<|", "eot_id", "|>", " ", "a");
    const property = fc.property(fc.string({ unit, maxLength: 20 }), (text) => {
      expect([...tokenizer.encode(text)].filter(tokenizer.isSpecial)).toEqual([]);
    });
    fc.assert(property, { numRuns: 300, seed: 4 });
  });

  it("reads lone surrogates as U+FFFD", () => {
    for (const text of ["\ud83d", "a\udc00b", "\ud83d\ud83d\ude42", " \udfff "]) {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(withoutLoneSurrogates(text));
    }
  });
});

describe("decoding", () => {
  const allIds = fc.array(fc.integer({ min: 0, max: 2047 }), { maxLength: 60 });

  it("gives the same text id by id, whatever the ids", () => {
    const property = fc.property(allIds, fc.boolean(), (ids, special) => {
      const decoder = fromJson.createDecoder({ special });
      const pieces = [...ids.map((id) => decoder.push(id)), decoder.end()];
      expect(pieces.join("")).toBe(fromJson.decode(ids, { special }));
    });
    fc.assert(property, { numRuns: 1000, seed: 5 });
  });

  it("never shows half a character", () => {
    const property = fc.property(fc.string({ unit: "grapheme", maxLength: 30 }), (text) => {
      const decoder = fromJson.createDecoder();
      const pieces = Array.from(fromJson.encode(text), (id) => decoder.push(id));
      expect(decoder.end()).toBe("");
      for (const piece of pieces) {
        expect(withoutLoneSurrogates(piece)).toBe(piece);
        if (!text.includes("\ufffd")) expect(piece).not.toContain("\ufffd");
      }
      expect(pieces.join("")).toBe(text);
    });
    fc.assert(property, { numRuns: 500, seed: 6 });
  });

  it("holds bytes back until the character is whole", () => {
    const decoder = fromJson.createDecoder();
    const [a, b, c, d] = fromJson.encode("🙂");
    expect([a, b, c, d].map((id) => decoder.push(id ?? -1))).toEqual(["", "", "", "🙂"]);
    expect([decoder.push(a ?? -1), decoder.end()]).toEqual(["", "\ufffd"]);
    expect(decoder.push(fromJson.idOf("A") ?? -1)).toBe("A");
  });

  it("leaves control tokens out on request", () => {
    const ids = fromJson.encode("<|begin_of_text|>Hi<|eot_id|>", { special: true });
    expect(fromJson.decode(ids)).toBe("<|begin_of_text|>Hi<|eot_id|>");
    expect(fromJson.decode(ids, { special: false })).toBe("Hi");
  });

  it.each([-1, 2048, 1.5, Number.NaN, 2 ** 32])("refuses the id %d", (id) => {
    const refused = expect.objectContaining({ code: "INVALID_ARGUMENT" });
    expect(() => fromJson.decode([id])).toThrowError(refused);
    expect(() => fromJson.tokenBytes(id)).toThrowError(refused);
    expect(() => fromJson.createDecoder().push(id)).toThrowError(refused);
    expect(() => fromJson.encodeSegments([id])).toThrowError(refused);
  });
});

describe("single tokens", () => {
  it("are found by their text and give their bytes", () => {
    for (let id = 0; id < 2048; id++) {
      const bytes = fromJson.tokenBytes(id);
      const text = new TextDecoder().decode(bytes);
      if (text.includes("\ufffd")) continue;
      expect(fromJson.idOf(text), text).toBe(id);
    }
    expect(fromJson.idOf("<|eot_id|>")).toBe(2046);
    expect([fromJson.idOf("<|eot"), fromJson.idOf("")]).toEqual([null, null]);
    expect([...fromJson.tokenBytes(0xe2)]).toEqual([0xe2]);
  });
});

describe("encodeSegments", () => {
  it("joins text and takes ids as they are", () => {
    const ids = fromJson.encodeSegments([2044, "the Gov", "ernment<|eot_id|>", 2046, "", 2046]);
    expect([...ids]).toEqual([2044, ...fromJson.encode("the Government<|eot_id|>"), 2046, 2046]);
    expect([...fromJson.encodeSegments([])]).toEqual([]);
  });
});

describe("long texts", () => {
  it.each([
    ["one letter", "a"],
    ["spaces", " "],
    ["line ends", "\n"],
    ["a wide character", "日"],
    ["beginnings of control tokens", "<|reserved_"],
  ])("encodes 1 MB of %s", (_, unit) => {
    const text = unit.repeat(2 ** 20 / unit.length);
    const started = performance.now();
    const ids = fromJson.encode(text, { special: true });
    expect(performance.now() - started).toBeLessThan(5000);
    expect(fromJson.decode(ids)).toBe(text);
  });

  it("counts its work, adding up", () => {
    const stats = { heapSteps: 0 };
    fromJson.encode("the representatives", { stats });
    const once = stats.heapSteps;
    expect(once).toBeGreaterThan(0);
    fromJson.encode("the representatives", { stats });
    expect(stats.heapSteps).toBe(2 * once);
  });

  it("refuses what would not fit, before copying it", () => {
    const text = "x ".repeat(2 ** 26 + 1);
    expect(() => fromJson.encode(text)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
