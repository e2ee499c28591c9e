/** Unigram vocabularies, carried over into GGUF's fields and back: the same ids for the hostile texts of test/golden/tokenizers. */
import { describe, expect, it } from "vitest";
import type { HfFiles } from "../formats/model-files.ts";
import { ggufTokenizerFields, tokenizerFromGguf } from "../tokenizer/from-gguf.ts";
import { tokenizerFromJson } from "../tokenizer/from-json.ts";
import { files, pairs } from "../tokenizer/published-pairs.test.kit.node.ts";
import { ggufTokenizer, hfTokenizer } from "./tokenizer-files.ts";
import { isUnigram, unigramFields } from "./unigram-files.ts";

type Json = Record<string, unknown>;

const { texts } = pairs;
const kinds = Object.keys(files).filter((kind) => isUnigram(files[kind] ?? {}));

const replace = (pattern: Json, content: string) => ({ type: "Replace", pattern, content });

/** SentencePiece's own rules for spaces, as tokenizer.json says them. */
function withSpaces(json: Json, prefixes: boolean, removes: boolean): Json {
  const added = json.added_tokens as { normalized: boolean; special: boolean }[];
  return {
    ...json,
    added_tokens: added.filter(({ special, normalized }) => special || !normalized),
    normalizer: {
      type: "Sequence",
      normalizers: [
        ...(removes ? [replace({ Regex: "^ +| +$" }, ""), replace({ Regex: " {2,}" }, " ")] : []),
        ...(prefixes ? [{ type: "Prepend", prepend: "\u2581" }] : []),
        replace({ String: " " }, "\u2581"),
      ],
    },
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        replace({ String: "\u2581" }, " "),
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(prefixes ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
      ],
    },
  };
}

it("there are such tokenizers", () => {
  expect(kinds.length).toBeGreaterThan(1);
});

const fieldsOf = (metadata: ReadonlyMap<string, { value: unknown }>) =>
  ggufTokenizerFields({ get: (key) => metadata.get(key)?.value });

const cases = kinds.flatMap((kind) =>
  [true, false].flatMap((prefixes) => [true, false].map((removes) => ({ kind, prefixes, removes }))),
);

describe.each(cases)("$kind, space in front: $prefixes, extra ones removed: $removes", (each) => {
  const json = withSpaces(files[each.kind] ?? {}, each.prefixes, each.removes);
  const before = tokenizerFromJson({ tokenizer: json });
  const metadata = unigramFields(json, before.vocabSize);
  const after = tokenizerFromGguf(fieldsOf(metadata));
  // The library finds tokens of bytes that are written out; SentencePiece does not.
  const compared = texts.filter((text) => !text.includes("<0x"));

  it("gives the folder's ids and texts", () => {
    expect(compared.length).toBeGreaterThan(450);
    for (const text of compared) {
      const ids = before.encode(text);
      expect(Array.from(after.encode(text)), JSON.stringify(text)).toEqual(Array.from(ids));
      expect(after.decode(ids)).toBe(before.decode(ids));
    }
  });

  it("and as a folder's again", () => {
    const { tokenizer, tokenizerConfig: config, generationConfig } = hfTokenizer(metadata, 100, null);
    const again = tokenizerFromJson({ tokenizer, config, generationConfig });
    for (const text of compared)
      expect(Array.from(again.encode(text)), JSON.stringify(text)).toEqual(Array.from(after.encode(text)));
    const twice = unigramFields(tokenizer, again.vocabSize);
    for (const key of ["tokens", "token_type", "add_space_prefix", "remove_extra_whitespaces"])
      expect(twice.get(`tokenizer.ggml.${key}`)).toEqual(metadata.get(`tokenizer.ggml.${key}`));
  });
});

/**
 * Texts of which both kinds of readers make the same: no marks behind letters, no line ends of two characters, no tokens that are written out, and not the
 * added token that folders find in whole words only.
 */
const isPlain = (text: string) =>
  /^[\p{L}\p{N}\p{P}\p{S} \n]*$/u.test(text) &&
  !/[<\u2581]|Word/.test(text) &&
  text === text.normalize("NFC");

describe.each(["characters-words", "characters-spaces"])("a table of changed characters: %s", (kind) => {
  const json = files[kind] ?? {};
  const folder = tokenizerFromJson({ tokenizer: json });
  const { metadata, changesCharacters } = ggufTokenizer({ tokenizerJson: json } as HfFiles, null);
  const file = tokenizerFromGguf(fieldsOf(metadata));
  const table = (json.normalizer as { normalizers?: Json[] }).normalizers?.[0] ?? (json.normalizer as Json);
  const bytes = Buffer.from(String(table.precompiled_charsmap), "base64");

  it("goes into the file as llama.cpp's converter takes it over, and back", () => {
    const found = metadata.get("tokenizer.ggml.precompiled_charsmap");
    expect(found).toEqual({ type: "array", of: "u8", value: new Uint8Array(bytes) });
    const { tokenizer } = hfTokenizer(metadata, 100, null);
    expect((tokenizer.normalizer as { normalizers: Json[] }).normalizers[0]).toEqual({
      type: "Precompiled",
      precompiled_charsmap: bytes.toString("base64"),
    });
  });

  it("gives the same ids, but for characters that the two kinds of readers look up differently, which is said", () => {
    const { tokenizer, tokenizerConfig: config, generationConfig } = hfTokenizer(metadata, 100, null);
    const again = tokenizerFromJson({ tokenizer, config, generationConfig });
    const compared = texts.filter(isPlain);
    expect(compared.length).toBeGreaterThan(100);
    const ids = (text: string) => [folder, file, again].map((each) => each.encode(text).join());
    expect(compared.filter((text) => new Set(ids(text)).size > 1)).toEqual([]);
    expect(new Set(ids("ＡＢＣ ﬁne ½")).size).toBe(1);
    expect(new Set(ids("a\r\nb")).size).toBe(2);
    expect(changesCharacters).toBe(true);
    expect(hfTokenizer(metadata, 100, null).changesCharacters).toBe(true);
  });

  it("has no place in GGUF behind another step", () => {
    const later = { ...json, normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }, table] } };
    expect(() => unigramFields(later, folder.vocabSize)).toThrow(/normalizer: a table .* not the first step/);
  });
});

it("is refused with a broken table of characters, without scores, and without a token for the unknown", () => {
  const json = withSpaces(files[kinds[0] ?? ""] ?? {}, true, false);
  const metadata = unigramFields(json, tokenizerFromJson({ tokenizer: json }).vocabSize);
  const changed = (key: string, value: unknown) => {
    const other = new Map<string, { value: unknown }>(metadata);
    other.set(`tokenizer.ggml.${key}`, { value });
    return () => tokenizerFromGguf(fieldsOf(other));
  };
  expect(changed("precompiled_charsmap", Uint8Array.of(1, 2))).toThrow(
    /precompiled_charsmap: expected a table/,
  );
  expect(changed("precompiled_charsmap", [1])).toThrow(/precompiled_charsmap: expected a list of bytes/);
  expect(changed("scores", Float32Array.of(1))).toThrow(/scores: expected \d+ entries/);
  expect(changed("unknown_token_id", 1e6)).toThrow(/unknown_token_id: expected below/);
});
