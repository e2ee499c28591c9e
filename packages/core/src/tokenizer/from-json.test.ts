import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BitNetError } from "../base/errors.ts";
import { tokenizerFromJson } from "./from-json.ts";

const source = readFileSync(
  new URL("../../../../test/golden/hf-packed/tokenizer.json", import.meta.url),
  "utf8",
);

/** The tiny model's tokenizer.json with the value at a dotted path replaced. */
function changed(path: string, value: unknown): unknown {
  const json = JSON.parse(source);
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  const parent = keys.reduce((node, key) => node[key], json);
  parent[last] = value;
  return json;
}

const read = (path: string, value: unknown) => tokenizerFromJson({ tokenizer: changed(path, value) });
const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
const added = {
  id: 2048,
  content: "<x>",
  special: false,
  lstrip: false,
  rstrip: false,
  single_word: false,
  normalized: false,
};

describe("tokenizer.json", () => {
  it("is enough alone", () => {
    const tokenizer = tokenizerFromJson({ tokenizer: JSON.parse(source) });
    const { bosId, addBos, eosIds } = tokenizer;
    // The beginning token comes from the post-processor, the ends by name.
    expect({ bosId, addBos, eosIds }).toEqual({ bosId: 2044, addBos: true, eosIds: [2045, 2046] });
  });

  it.each<[string, unknown, RegExp]>([
    ["model", null, /model: expected an object, found null/],
    ["model.type", "WordPiece", /"BPE" and "Unigram".*"WordPiece"/],
    ["model.type", "Unigram", /model.vocab: expected a list/],
    ["model.byte_fallback", true, /byte_fallback: expected false beside ByteLevel/],
    ["model.dropout", 0.1, /model.dropout: expected null, found 0.1/],
    ["model.end_of_word_suffix", "</w>", /end_of_word_suffix/],
    ["model.vocab", [], /model.vocab: expected an object, found a list of 0/],
    ["model.vocab.a", -1, /model.vocab\["a"\]: expected a token id, found -1/],
    ["model.vocab.a", 1.5, /token id/],
    ["model.vocab.a", "7", /token id, found "7"/],
    ["model.vocab.a", 98, /id 98: expected one token/],
    ["model.vocab.a", 50_000_000, /highest id/],
    ["model.merges", {}, /model.merges: expected a list/],
    ["model.merges", [7], /model.merges\[0\]: expected a merge/],
    ["model.merges", [["a", "b", "c"]], /model.merges\[0\]/],
    ["model.merges", ["x yy"], /merge 0 \("x yy"\)/],
    ["model.ignore_merges", "yes", /ignore_merges: expected true or false/],
    [
      "normalizer",
      { type: "Precompiled" },
      /normalizer.precompiled_charsmap: expected a string, found nothing/,
    ],
    [
      "normalizer",
      { type: "Precompiled", precompiled_charsmap: "AA=A" },
      /precompiled_charsmap: expected bytes in base64/,
    ],
    [
      "normalizer",
      { type: "Precompiled", precompiled_charsmap: "CAAAAAAAAAA=" },
      /precompiled_charsmap: expected a table of characters, found 8 bytes/,
    ],
    [
      "normalizer",
      { type: "Precompiled", precompiled_charsmap: "BAAAAAAAAAD//w==" },
      /precompiled_charsmap: the replacements are not UTF-8/,
    ],
    ["pre_tokenizer", { type: "WhitespaceSplit" }, /unless Metaspace follows.*"WhitespaceSplit"/],
    [
      "pre_tokenizer",
      {
        type: "Sequence",
        pretokenizers: [
          { type: "WhitespaceSplit" },
          { type: "Metaspace", replacement: "\u2581", prepend_scheme: "first", split: true },
        ],
      },
      /behind WhitespaceSplit.*"Metaspace" is not supported/,
    ],
    ["normalizer", { type: "Replace", pattern: { Regex: "a+" }, content: "" }, /Regex: expected " \{2,\}"/],
    ["pre_tokenizer", null, /decoder.type: expected a decoder for plain tokens .*found "ByteLevel"/],
    ["pre_tokenizer", { type: "Metaspace" }, /replacement: expected a string/],
    ["pre_tokenizer", { type: "Whitespace" }, /the pre_tokenizer "Whitespace" is not supported/],
    [
      "pre_tokenizer",
      { type: "Sequence", pretokenizers: [byteLevel, byteLevel] },
      /expected one ByteLevel step/,
    ],
    ["pre_tokenizer", { ...byteLevel, add_prefix_space: true }, /add_prefix_space/],
    [
      "pre_tokenizer.pretokenizers.0.pattern.Regex",
      "\\w+",
      /split pattern of llama-3 or qwen-2 or gpt-2 or gpt-4o, or a simple one, found "\\\\w\+"/,
    ],
    ["pre_tokenizer.pretokenizers.0.behavior", "Removed", /behavior/],
    ["decoder", { type: "WordPiece" }, /decoder.type/],
    ["added_tokens", {}, /added_tokens: expected a list/],
    ["added_tokens", [{ ...added, id: "x" }], /added_tokens\[0\].id/],
    ["added_tokens", [{ ...added, content: 5 }], /added_tokens\[0\].content/],
    ["added_tokens", [{ ...added, lstrip: 1 }], /added_tokens\[0\].lstrip/],
    ["added_tokens", [added, added], /1 repeated/],
    ["added_tokens", [{ ...added, id: 97 }], /added token 97/],
    ["post_processor.processors.1.single.0.SpecialToken.id", "<nope>", /SpecialToken.id/],
  ])("refuses %s = %j", (path, value, message) => {
    expect(() => read(path, value)).toThrowError(message);
    expect(() => read(path, value)).toThrowError(
      expect.objectContaining({ code: expect.stringMatching(/^(TOKENIZER_INVALID|FORMAT_UNSUPPORTED)$/) }),
    );
  });

  it.each([null, undefined, 3, "x", []])("refuses %j in its place", (tokenizer) => {
    expect(() => tokenizerFromJson({ tokenizer })).toThrowError(
      expect.objectContaining({ code: "TOKENIZER_INVALID" }),
    );
  });

  it("knows control tokens by name where the list denies or lacks them", () => {
    const json = JSON.parse(source);
    const listed = json.added_tokens.map((token: object) => ({ ...token, special: false }));
    const vocab = { ...json.model.vocab, "<|eot_id|>": 2046 };
    for (const added_tokens of [listed, listed.filter((token: { id: number }) => token.id !== 2046)]) {
      const tokenizer = tokenizerFromJson({
        tokenizer: { ...json, added_tokens, model: { ...json.model, vocab } },
      });
      expect(tokenizer.specialTokens.get("<|eot_id|>")).toBe(2046);
      expect([...tokenizer.encode("<|eot_id|>")]).not.toContain(2046);
      expect(tokenizer.eosIds).toContain(2046);
    }
  });

  it("reads merges written as pairs", () => {
    const pairs = JSON.parse(source).model.merges.map((merge: string) => merge.split(" "));
    const tokenizer = read("model.merges", pairs);
    expect([...tokenizer.encode("Hello, world!")]).toEqual([72, 1325, 111, 44, 675, 33]);
  });

  const [firstSplit] = JSON.parse(source).pre_tokenizer.pretokenizers;
  const byteLevelAlone = { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: false };
  it.each<[string, unknown]>([
    // DeepSeek's.
    ["normalizer", { type: "Sequence", normalizers: [] }],
    ["normalizer", { type: "Sequence", normalizers: [{ type: "Sequence", normalizers: [] }] }],
    // Qwen's: what is NFC already stays as it is.
    ["normalizer", { type: "NFC" }],
    ["model.continuing_subword_prefix", ""],
    ["model.end_of_word_suffix", ""],
    ["model.dropout", 0],
    ["decoder", byteLevelAlone],
    // To keep what matches is to take away what does not, where everything matches.
    ["pre_tokenizer.pretokenizers.0", { ...firstSplit, behavior: "Removed", invert: true }],
    ["post_processor.processors.0", byteLevelAlone],
  ])("accepts %s = %j, which does nothing", (path, value) => {
    const texts = ["Hello, wörld 漢字 🙂", "  123456\n\n\tx", ""];
    const [usual, tokenizer] = [tokenizerFromJson({ tokenizer: JSON.parse(source) }), read(path, value)];
    for (const text of texts) {
      const ids = tokenizer.encode(text, { bos: true });
      expect([...ids]).toEqual([...usual.encode(text, { bos: true })]);
      expect(tokenizer.decode(ids)).toBe(usual.decode(ids));
    }
  });

  it("adds no splits of GPT-2's where ByteLevel says so, and composes where a normalizer does", () => {
    const pieces = { type: "Split", pattern: { Regex: "\\p{N}{1,3}" }, behavior: "Isolated", invert: false };
    const tokenizer = read("pre_tokenizer", {
      type: "Sequence",
      pretokenizers: [pieces, { ...byteLevel, use_regex: false }],
    });
    // " the" and what follows it in one piece, as the merges go: GPT-2's rule would part them at the line ends.
    expect([...tokenizer.encode("x\n\ny")]).toEqual([120, 1897, 121]);
    const composing = read("normalizer", { type: "NFC" });
    expect([...composing.encode("e\u0301")]).toEqual([...composing.encode("\u00e9")]);
  });

  it("follows GPT-2's rule where ByteLevel splits itself", () => {
    const tokenizer = read("pre_tokenizer", byteLevel);
    // The last white space goes with the word after it; Llama 3's rule keeps line ends together.
    expect([...tokenizer.encode("x\n\ny")]).toEqual([120, 10, 10, 121]);
    expect([...tokenizerFromJson({ tokenizer: JSON.parse(source) }).encode("x\n\ny")]).toEqual([
      120, 1897, 121,
    ]);
  });

  it("prefers whole pieces over merges only when told to", () => {
    // "the" can be reached by merges only as a whole with its space: take its merge away and see.
    const merges = JSON.parse(source).model.merges.filter((merge: string) => merge !== "Ġth e");
    const withFlag = changed("model.merges", merges);
    expect([...tokenizerFromJson({ tokenizer: withFlag }).encode(" the")].length).toBe(1);
    (withFlag as { model: { ignore_merges: boolean } }).model.ignore_merges = false;
    expect([...tokenizerFromJson({ tokenizer: withFlag }).encode(" the")].length).toBeGreaterThan(1);
  });

  it("recognises added tokens that are not special always, special ones on request", () => {
    const list = JSON.parse(source).added_tokens;
    const tokenizer = read("added_tokens", [
      ...list,
      added,
      { ...added, id: 2049, content: "<y>", special: true },
    ]);
    expect([...tokenizer.encode("<x><y>")]).toEqual([2048, ...tokenizer.encode("<y>")]);
    expect([...tokenizer.encode("<x><y>", { special: true })]).toEqual([2048, 2049]);
    expect(tokenizer.decode([2048, 2049])).toBe("<x><y>");
    expect(tokenizer.vocabSize).toBe(2050);
  });

  it("leaves an added token that stands inside a word to merging", () => {
    const list = JSON.parse(source).added_tokens;
    const tokenizer = read("added_tokens", [...list, { ...added, content: "<tool", single_word: true }]);
    expect([...tokenizer.encode("a<tool b")]).toEqual([97, 60, 1140, 385, 274]);
    expect([...tokenizer.encode("a <tool b")]).toEqual([97, 32, 2048, 274]);
  });
});

describe("damaged files", () => {
  /** Replaces what lies at the end of a walk through the file. */
  function damage(root: unknown, path: readonly number[], value: unknown): void {
    let node = root as Record<string, unknown>;
    for (const [depth, step] of path.entries()) {
      const keys = Object.keys(node);
      const key = keys[step % Math.max(1, keys.length)];
      if (key === undefined) return;
      const child = node[key];
      if (depth === path.length - 1 || typeof child !== "object" || child === null) node[key] = value;
      else node = child as Record<string, unknown>;
    }
  }

  it("end in errors of this project, whatever is wrong", () => {
    const junk = fc.constantFrom<unknown>(
      null,
      undefined,
      0,
      -1,
      1e9,
      1.5,
      "",
      "x",
      "a b",
      true,
      [],
      {},
      [[]],
      2044,
    );
    const small = JSON.parse(source);
    small.model.merges = small.model.merges.slice(0, 20);
    const path = fc.array(fc.nat(5000), { minLength: 1, maxLength: 5 });
    const property = fc.property(
      fc.array(fc.tuple(path, junk), { minLength: 1, maxLength: 3 }),
      (changes) => {
        const tokenizer = structuredClone(small);
        for (const [where, value] of changes) damage(tokenizer, where, value);
        try {
          tokenizerFromJson({ tokenizer }).encode("a <|eot_id|>", { special: true });
        } catch (error) {
          expect(error).toBeInstanceOf(BitNetError);
        }
      },
    );
    fc.assert(property, { numRuns: 200, seed: 8 });
  });
});

describe("tokenizer_config.json and generation_config.json", () => {
  const tokenizer = JSON.parse(source);
  const ids = (config: unknown, generationConfig?: unknown) => {
    const { bosId, addBos, eosIds } = tokenizerFromJson({ tokenizer, config, generationConfig });
    return { bosId, addBos, eosIds };
  };

  it("name the beginning and the ends", () => {
    const config = {
      bos_token: { content: "<|reserved_special_token_0|>" },
      eos_token: "<|eot_id|>",
      add_bos_token: false,
    };
    expect(ids(config, { eos_token_id: 2045 })).toEqual({ bosId: 2047, addBos: false, eosIds: [2046, 2045] });
    expect(ids({}, { bos_token_id: 2047, eos_token_id: [2046, 2046] })).toEqual({
      bosId: 2047,
      addBos: true,
      eosIds: [2046, 2045],
    });
    // What the other files leave out, config.json may say; names count always.
    const modelConfig = { bos_token_id: 2044, eos_token_id: [2047, 2045] };
    const files = { tokenizer: JSON.parse(source), generationConfig: { eos_token_id: 2043 }, modelConfig };
    expect(tokenizerFromJson(files).eosIds).toEqual([2043, 2047, 2045, 2046]);
    expect(ids({ bos_token: null, eos_token: null })).toEqual({
      bosId: 2044,
      addBos: true,
      eosIds: [2045, 2046],
    });
  });

  it.each<[unknown, unknown]>([
    [{ bos_token: "<nope>" }, {}],
    [{ eos_token: 3 }, {}],
    [{ eos_token: { text: "x" } }, {}],
    [{}, { eos_token_id: "2045" }],
    [{}, { eos_token_id: [2045, -1] }],
    [{}, { eos_token_id: 99_999 }],
    [{}, { bos_token_id: 2048 }],
    ["x", {}],
    [{}, []],
  ])("are refused: %j %j", (config, generationConfig) => {
    expect(() => ids(config, generationConfig)).toThrowError(
      expect.objectContaining({ code: "TOKENIZER_INVALID" }),
    );
  });
});
