/** Every kind of tokenizer against the libraries that its models are published with; see test/golden/tokenizers/make-pairs.mjs. */
import { describe, expect, it } from "vitest";
import { byteStringsFrom } from "../base/byte-strings.ts";
import { tokenizerFromGguf } from "./from-gguf.ts";
import { tokenizerFromJson } from "./from-json.ts";
import { files, pairs } from "./published-pairs.test.kit.node.ts";

/** `npm run check` takes a sixteenth of the long texts. */
const longPart = process.env.BITNET_QUICK === "1" ? 1 / 16 : 1;

describe.each(Object.keys(pairs.kinds))("tokenizer.json of kind %s", (kind) => {
  const tokenizer = tokenizerFromJson({ tokenizer: files[kind] });
  const { ids, decoded } = pairs.kinds[kind] ?? { ids: [], decoded: [] };

  it("gives the library's ids for 500 hostile texts", () => {
    expect(ids.length).toBe(500);
    const wrong = pairs.texts
      .map((text, i) => ({
        text,
        ours: [...tokenizer.encode(text, { special: true })],
        theirs: ids[i] ?? [],
      }))
      .filter(({ ours, theirs }) => ours.join() !== theirs.join());
    expect(wrong.slice(0, 3), `${wrong.length} differ`).toEqual([]);
  });

  it("gives the library's texts back, whole and in pieces", () => {
    for (const [i, list] of ids.entries()) {
      const text = decoded[i] ?? "";
      // For bytes that are no text the library writes as many U+FFFD as bytes, we one for each beginning of a character.
      if (text.includes("\ufffd")) continue;
      expect(tokenizer.decode(list)).toBe(text);
      const decoder = tokenizer.createDecoder();
      expect(list.map((id) => decoder.push(id)).join("") + decoder.end()).toBe(text);
    }
  });

  it.each([
    ["a", 2 ** 20],
    [" ", 2 ** 20],
    ["\u0301\u0323", 2 ** 18],
    ["漢", 2 ** 18],
    ["\u{e0041}", 2 ** 17],
  ])("takes linear time on %j again and again", (unit, most) => {
    const count = most * longPart;
    const stats = { heapSteps: 0 };
    const bytes = new TextEncoder().encode(unit).length * count;
    tokenizer.encode(unit.repeat(count), { stats });
    expect(stats.heapSteps).toBeLessThan(bytes * 64);
  });
});

describe.each(Object.keys(pairs.sentencePiece.models))("GGUF of the SentencePiece model %s", (name) => {
  const model = pairs.sentencePiece.models[name] as (typeof pairs.sentencePiece.models)[string];
  const tokenizer = tokenizerFromGguf({
    model: model.characters === undefined ? "llama" : "t5",
    // Converters write spaces in tokens that users defined.
    tokens: byteStringsFrom(
      model.tokens.map((token, id) => (model.types[id] === 4 ? token.replaceAll("▁", " ") : token)),
    ),
    merges: byteStringsFrom([]),
    scores: Float32Array.from(model.scores),
    tokenTypes: Int32Array.from(model.types),
    bosId: 1,
    eosId: 2,
    addSpacePrefix: model.addSpacePrefix,
    ...(model.characters === undefined
      ? {}
      : { characterMap: Buffer.from(model.characters, "base64"), removeExtraSpaces: true, addBos: true }),
  });

  it("gives SentencePiece's ids", () => {
    const wrong = pairs.sentencePiece.texts
      .map((text, i) => ({ text, ours: [...tokenizer.encode(text)], theirs: model.ids[i] ?? [] }))
      .filter(({ ours, theirs }) => ours.join() !== theirs.join());
    // It adds up log-probabilities in f32, and takes another one of several ways that are equally likely.
    const sumOf = (ids: number[]) => ids.reduce((sum, id) => sum + (model.scores[id] ?? 0), 0);
    const isAsLikely = (a: number[], b: number[]) => Math.abs(sumOf(a) - sumOf(b)) < 1e-5;
    const unlike = wrong.filter(
      ({ ours, theirs }) => model.characters === undefined || !isAsLikely(ours, theirs),
    );
    expect(unlike.slice(0, 3), `${unlike.length} differ`).toEqual([]);
    expect(wrong.length).toBeLessThan(10);
  });

  it("begins texts with the beginning token, and shows spaces as spaces", () => {
    expect(tokenizer.addBos).toBe(true);
    const text = "river  stone 漢";
    const ids = tokenizer.encode(text);
    if (name !== "bare") expect(tokenizer.decode(ids)).toBe(name === "mapped" ? "river stone 漢" : text);
    const continued = tokenizer.decode(tokenizer.encode("stone"), { continues: true });
    expect(continued).toBe(model.addSpacePrefix ? " stone" : "stone");
  });
});
