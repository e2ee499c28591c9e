/**
 * From a model's files to its tokenizer, in two steps: what it is made of, and making it, which may happen in another thread. Apart from
 * load-model.ts so that pages, which only make one, do not carry the rest.
 */
import { BitNetError } from "../base/errors.ts";
import type { ModelFiles } from "../formats/model-files.ts";
import { type GgufTokenizerFields, ggufTokenizerFields, tokenizerFromGguf } from "../tokenizer/from-gguf.ts";
import { type TokenizerJsonFiles, tokenizerFromJson } from "../tokenizer/from-json.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ModelConfig } from "./model-config.ts";

/** What a model's tokenizer is made of: plain data of its files, which may be sent to another thread and made into one there. */
export type TokenizerSource =
  | { readonly kind: "gguf"; readonly fields: GgufTokenizerFields }
  | { readonly kind: "json"; readonly files: TokenizerJsonFiles };

/** @throws BitNetError TOKENIZER_INVALID when a field of a GGUF file is missing or has the wrong type. */
export function tokenizerSource(files: ModelFiles): TokenizerSource {
  if (files.kind === "gguf")
    return {
      kind: "gguf",
      fields: ggufTokenizerFields({ get: (key) => files.gguf.metadata.get(key)?.value }),
    };
  const { tokenizerJson: tokenizer, tokenizerConfig: config, generationConfig, config: modelConfig } = files;
  return { kind: "json", files: { tokenizer, config, generationConfig, modelConfig } };
}

/** @throws BitNetError TOKENIZER_INVALID or FORMAT_UNSUPPORTED; MODEL_INVALID when it has more tokens than the model has rows. */
export function makeTokenizer(
  source: TokenizerSource,
  { vocabSize }: Pick<ModelConfig, "vocabSize">,
): Tokenizer {
  const tokenizer =
    source.kind === "gguf"
      ? tokenizerFromGguf(source.fields)
      : tokenizerFromJson(withoutRowless(source.files, vocabSize));
  if (tokenizer.vocabSize > vocabSize) {
    throw new BitNetError(
      "MODEL_INVALID",
      `the tokenizer has ${tokenizer.vocabSize} tokens, but the model only ${vocabSize} embeddings`,
      { details: { tokens: tokenizer.vocabSize, embeddings: vocabSize } },
    );
  }
  return tokenizer;
}

/** Added tokens for which the model has no embedding, such as padding that training never saw, are no tokens: their text is text. */
function withoutRowless(files: TokenizerJsonFiles, vocabSize: number): TokenizerJsonFiles {
  const { tokenizer } = files;
  const added = (tokenizer as { added_tokens?: unknown } | null)?.added_tokens;
  if (!Array.isArray(added) || !added.some(({ id }) => id >= vocabSize)) return files;
  return {
    ...files,
    tokenizer: { ...(tokenizer as object), added_tokens: added.filter(({ id }) => !(id >= vocabSize)) },
  };
}

/** @throws BitNetError as `makeTokenizer`. */
export function readTokenizer(files: ModelFiles, config: ModelConfig): Tokenizer {
  return makeTokenizer(tokenizerSource(files), config);
}
