import { describe, expect, it } from "vitest";
import { byteStringsFrom } from "../base/byte-strings.ts";
import { type GgufTokenizerFields, ggufTokenizerFields, tokenizerFromGguf } from "./from-gguf.ts";

const visible = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
let next = 256;
const bytes = Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(visible(byte) ? byte : next++));
const tokens = [...bytes, "ab", "Ġab", "<|bos|>", "<|eot_id|>", "<tool>", "[PAD]"];
const types = [...new Array(258).fill(1), 3, 3, 4, 5];

const fields = (change: Partial<GgufTokenizerFields> = {}): GgufTokenizerFields => ({
  model: "gpt2",
  tokens: byteStringsFrom(tokens),
  merges: byteStringsFrom(["a b", "Ġ ab"]),
  tokenTypes: Int32Array.from(types),
  bosId: 258,
  eosId: 259,
  ...change,
});

describe("GGUF tokenizer", () => {
  it("gives every kind of token its part", () => {
    const tokenizer = tokenizerFromGguf(fields());
    expect([...tokenizer.encode("ab ab<tool><|eot_id|>[PAD]", { special: true })].slice(0, 4)).toEqual([
      256, 257, 260, 259,
    ]);
    expect([...tokenizer.encode("[PAD]<|bos|>")].every((id) => id < 256)).toBe(true);
    expect(tokenizer.decode([258, 257, 261])).toBe("<|bos|> ab[PAD]");
    expect([258, 259, 260, 261].map(tokenizer.isSpecial)).toEqual([true, true, false, false]);
  });

  it("collects the ends of texts and turns", () => {
    expect(tokenizerFromGguf(fields({ eosId: 258 })).eosIds).toEqual([258, 259]);
    expect(tokenizerFromGguf(fields({ eosId: undefined, eotId: 261 })).eosIds).toEqual([261, 259]);
  });

  it("adds the beginning token as the split rule's models do, unless told", () => {
    expect(tokenizerFromGguf(fields()).addBos).toBe(true);
    expect(tokenizerFromGguf(fields({ pre: "gpt-2" })).addBos).toBe(false);
    expect(tokenizerFromGguf(fields({ pre: "gpt-2", addBos: true })).addBos).toBe(true);
    expect(tokenizerFromGguf(fields({ bosId: undefined })).addBos).toBe(false);
    const without = tokenizerFromGguf(fields({ bosId: undefined }));
    expect(() => without.encode("a", { bos: true })).toThrowError(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it("goes by the names that the forks gave their models' rules", () => {
    const text = "He'LL pay 12345 \n\n now";
    const ids = (pre: string) => tokenizerFromGguf(fields({ pre })).encode(text).join();
    // ik_llama.cpp and bitnet.cpp read the files of Falcon-E so.
    for (const pre of ["falcon3", "falcon-h1", "falcon_e"]) {
      expect(ids(pre)).toBe(ids("llama-bpe"));
      expect(tokenizerFromGguf(fields({ pre })).addBos).toBe(true);
    }
  });

  it("knows the split rules by their names", () => {
    // Only Llama 3's rule keeps line ends with the symbols before them, and takes whole pieces before merging.
    const merges = byteStringsFrom(["Ġ ab"]);
    const count = (pre: string | undefined) => tokenizerFromGguf(fields({ pre, merges })).encode("ab").length;
    expect([undefined, "llama-bpe", "llama3", "gpt-2", "default"].map(count)).toEqual([1, 1, 1, 2, 2]);
    const qwen = tokenizerFromGguf(fields({ pre: "qwen2" }));
    // Qwen's files mean normal form C, and take digits one by one.
    expect([...qwen.encode("e\u0301")]).toEqual([...qwen.encode("é")]);
  });

  it("knows control tokens by name and by id, whatever their type", () => {
    for (const type of [1, 4, 0]) {
      const tokenTypes = types.map((was) => (was === 3 ? type : was));
      const tokenizer = tokenizerFromGguf(fields({ tokenTypes, eosId: 260, bosId: undefined, eomId: 261 }));
      expect([258, 259, 260, 261, 97].map(tokenizer.isSpecial)).toEqual([true, true, true, true, false]);
      expect(tokenizer.eosIds).toEqual([260, 261, 259]);
      expect([...tokenizer.encode("<|eot_id|>")]).not.toContain(259);
    }
  });

  it("keeps the named tokens apart where there are no types", () => {
    const tokenizer = tokenizerFromGguf(fields({ tokenTypes: undefined }));
    expect(tokenizer.isSpecial(258)).toBe(true);
    expect([...tokenizer.encode("<|bos|>")]).not.toContain(258);
  });

  it.each<[string, Partial<GgufTokenizerFields>, string, RegExp]>([
    [
      "SentencePiece without scores",
      { model: "llama" },
      "TOKENIZER_INVALID",
      /scores: expected 262.*nothing/,
    ],
    ["no merges", { merges: byteStringsFrom([]) }, "TOKENIZER_INVALID", /merges: .*found none/],
    ["another model", { model: "bert" }, "FORMAT_UNSUPPORTED", /t5 .unigram., found "bert"/],
    ["an unknown split rule", { pre: "tekken" }, "TOKENIZER_INVALID", /llama-bpe, .*gpt-2.*found "tekken"/],
    ["too few types", { tokenTypes: [1, 2] }, "TOKENIZER_INVALID", /expected 262 entries.*found 2/],
    ["an unknown type", { tokenTypes: types.map(() => 9) }, "TOKENIZER_INVALID", /token_type\[0\].*found 9/],
    ["a bos out of range", { bosId: 262 }, "TOKENIZER_INVALID", /id 262/],
    ["an eos out of range", { eosId: 4294967295 }, "TOKENIZER_INVALID", /id 4294967295/],
    ["bytes without tokens", { tokenTypes: types.map(() => 3) }, "TOKENIZER_INVALID", /0x00/],
    [
      "no tokens",
      { tokens: byteStringsFrom([]), tokenTypes: [], bosId: undefined, eosId: undefined },
      "TOKENIZER_INVALID",
      /0x00/,
    ],
    ["a merge of nothing known", { merges: byteStringsFrom(["xy z"]) }, "TOKENIZER_INVALID", /merge 0/],
  ])("refuses %s", (_, change, code, message) => {
    expect(() => tokenizerFromGguf(fields(change))).toThrowError(message);
    expect(() => tokenizerFromGguf(fields(change))).toThrowError(expect.objectContaining({ code }));
  });
});

describe("GGUF metadata", () => {
  const metadata = (change: Record<string, unknown> = {}) => {
    const values: Record<string, unknown> = {
      model: "gpt2",
      tokens: byteStringsFrom(tokens),
      merges: ["a b", "Ġ ab"],
      token_type: Int32Array.from(types),
      bos_token_id: 258n,
      eos_token_id: 259,
      add_bos_token: false,
      ...change,
    };
    return new Map(Object.entries(values).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
  };

  it("becomes a tokenizer", () => {
    const read = ggufTokenizerFields(metadata());
    expect(read).toMatchObject({ model: "gpt2", bosId: 258, eosId: 259, addBos: false, pre: undefined });
    expect([...tokenizerFromGguf(read).encode("ab")]).toEqual([256]);
    expect(ggufTokenizerFields(metadata({ merges: undefined })).merges.count).toBe(0);
  });

  it.each<[Record<string, unknown>, RegExp]>([
    [{ model: undefined }, /tokenizer.ggml.model: expected a string, found nothing/],
    [{ model: 3 }, /model/],
    [{ tokens: undefined }, /tokens: expected a list, found nothing/],
    [{ tokens: [1, 2] }, /tokens: expected strings/],
    [{ tokens: new Float32Array(3) }, /tokens/],
    [{ merges: [null] }, /merges/],
    [{ token_type: "x" }, /token_type/],
    [{ token_type: ["1"] }, /token_type/],
    [{ pre: 7 }, /pre: expected a string, found 7/],
    [{ bos_token_id: -1 }, /bos_token_id/],
    [{ bos_token_id: 2n ** 63n }, /bos_token_id/],
    [{ eos_token_id: 1.5 }, /eos_token_id/],
    [{ eot_token_id: [1] }, /eot_token_id/],
    [{ add_bos_token: 1 }, /add_bos_token: expected true or false/],
  ])("is refused with wrong fields, case %#", (change, message) => {
    expect(() => ggufTokenizerFields(metadata(change))).toThrowError(message);
    expect(() => ggufTokenizerFields(metadata(change))).toThrowError(
      expect.objectContaining({ code: "TOKENIZER_INVALID" }),
    );
  });
});
