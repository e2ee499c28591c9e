/** Byte-level vocabularies as GGUF's fields and as a folder's files again: the same ids for the hostile texts of test/golden/tokenizers. */
import { expect, it } from "vitest";
import type { HfFiles } from "../formats/model-files.ts";
import { ggufTokenizerFields, tokenizerFromGguf } from "../tokenizer/from-gguf.ts";
import { tokenizerFromJson } from "../tokenizer/from-json.ts";
import { files, pairs } from "../tokenizer/published-pairs.test.kit.node.ts";
import { ggufTokenizer, hfTokenizer } from "./tokenizer-files.ts";

const { texts } = pairs;

it.each(["gpt-2", "llama-3", "qwen-2", "gpt-4o"])("%s", (kind) => {
  const json = files[kind] ?? {};
  const { metadata, changesCharacters } = ggufTokenizer({ tokenizerJson: json } as HfFiles, null);
  const before = tokenizerFromGguf(ggufTokenizerFields({ get: (key) => metadata.get(key)?.value }));
  const made = hfTokenizer(metadata, 100, null);
  const { tokenizer, tokenizerConfig: config, generationConfig } = made;
  const after = tokenizerFromJson({ tokenizer, config, generationConfig });
  const wrong = texts.filter((text) => before.encode(text).join() !== after.encode(text).join());
  expect(wrong).toEqual([]);
  expect([changesCharacters, made.changesCharacters]).toEqual([false, false]);
});

it("a normal form that a file has no word for is told", () => {
  const json = { ...files["gpt-2"], normalizer: { type: "NFC" } };
  const { changesCharacters } = ggufTokenizer({ tokenizerJson: json } as unknown as HfFiles, null);
  expect(changesCharacters).toBe(true);
});
