/** SentencePiece tokenizers of published models, carried over into GGUF's fields: the same ids for the hostile texts of test/golden/tokenizers. */
import { describe, expect, it } from "vitest";
import { ggufTokenizerFields, tokenizerFromGguf } from "../tokenizer/from-gguf.ts";
import { tokenizerFromJson } from "../tokenizer/from-json.ts";
import { files, pairs } from "../tokenizer/published-pairs.test.kit.node.ts";
import { isSentencePieceBpe, sentencePieceFields } from "./sentencepiece-files.ts";
import { hfTokenizer } from "./tokenizer-files.ts";

const { texts } = pairs;
const kinds = Object.keys(files).filter((kind) => isSentencePieceBpe(files[kind] ?? {}));

it("there are such tokenizers", () => {
  expect(kinds.length).toBeGreaterThan(0);
});

interface AddedToken {
  normalized: boolean;
  special: boolean;
}

/** GGUF cannot say that a token is looked for in normalised text, with the space in front of it. */
const isPlain = ({ normalized, special }: AddedToken) => special || !normalized;

describe.each(kinds)("%s", (kind) => {
  const added = files[kind]?.added_tokens as AddedToken[];
  const json = { ...files[kind], added_tokens: added.filter(isPlain) };
  const before = tokenizerFromJson({ tokenizer: json });
  const fields = sentencePieceFields(json, before.vocabSize);
  const after = tokenizerFromGguf(ggufTokenizerFields({ get: (key) => fields.get(key)?.value }));

  it("gives the ids of the folder's tokenizer", () => {
    // A pre-tokenizer that puts a space before a text leaves texts alone that have one, and what stands behind an added token; GGUF files say that
    // all get one.
    const isMetaspace = JSON.stringify(json).includes('"Metaspace"');
    const compared = texts.filter(
      (text) => !isMetaspace || (/^[^ ▁]/.test(text) && !text.includes("<think>")),
    );
    expect(compared.length).toBeGreaterThan(350);
    const ids = (tokenizer: typeof before) => compared.map((text) => [...tokenizer.encode(text)].join());
    const [ours, theirs] = [ids(after), ids(before)];
    const wrong = compared.filter((_, i) => ours[i] !== theirs[i]);
    expect(wrong.slice(0, 3), `${wrong.length} of ${compared.length} differ`).toEqual([]);
  });

  it("gives its texts back", () => {
    for (const text of texts.slice(0, 100)) {
      const ids = before.encode(text);
      expect(after.decode(ids)).toBe(before.decode(ids));
    }
  });

  it("and from GGUF as a folder's again, the same ids", () => {
    const metadata = new Map(fields);
    for (const [key, id] of [
      ["bos", before.bosId],
      ["eos", before.eosIds[0] ?? null],
    ] as const)
      if (id !== null) metadata.set(`tokenizer.ggml.${key}_token_id`, { type: "u32", value: id });
    const { tokenizer, tokenizerConfig, generationConfig } = hfTokenizer(metadata, 100, null);
    const again = tokenizerFromJson({ tokenizer, config: tokenizerConfig, generationConfig });
    expect(again.vocabSize).toBe(after.vocabSize);
    for (const text of texts) {
      const ids = [...after.encode(text)];
      expect([...again.encode(text)].slice(again.addBos ? 1 : 0), text).toEqual(
        ids.slice(after.addBos ? 1 : 0),
      );
      expect(again.decode(ids)).toBe(after.decode(ids));
    }
    const tokensOf = (of: typeof fields) => of.get("tokenizer.ggml.tokens")?.value;
    const twice = sentencePieceFields(tokenizer, again.vocabSize);
    expect(tokensOf(twice)).toEqual(tokensOf(fields));
    expect(twice.get("tokenizer.ggml.token_type")).toEqual(fields.get("tokenizer.ggml.token_type"));
  });
});
