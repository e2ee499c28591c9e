/**
 * A trained vocabulary as the files that others read: Hugging Face's tokenizer.json with tokenizer_config.json, and the metadata of a
 * GGUF file. Knows nothing of training.
 */
import { byteStringsFrom, type GgufValue } from "@bitnet.ts/core";
import type { BpeVocabulary, TrainedSplitRule } from "./train-bpe.ts";

/** Control tokens of every model trained here, in order of their ids. */
export const controlTokens = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|pad|>"] as const;

/**
 * BitNet b1.58 2B-4T's but for one space: `Role: content<|eot_id|>` per message, then `Assistant:`. A space at the end would be a token of
 * its own, whereas in `Assistant: Hello` it is part of the next, so that the model would be asked for what it has never seen.
 */
export const chatTemplate =
  "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}" +
  "{{ message['role'] | capitalize + ': ' + message['content'] | trim + '<|eot_id|>' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}";

const patterns: Readonly<Record<TrainedSplitRule, string>> = {
  "llama-3": String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  "gpt-2": String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
};

/** GPT-2's spelling of bytes: visible Latin-1 bytes stand for themselves, the others are numbered from U+0100 on. */
const spelling: readonly string[] = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isVisible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(isVisible ? byte : next++);
  });
})();

function spell(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => spelling[byte] ?? "").join("");
}

function spelledMerges({ tokens, merges }: BpeVocabulary): string[] {
  const text = (id: number) => spell(tokens[id] ?? new Uint8Array());
  return merges.map(([left, right]) => `${text(left)} ${text(right)}`);
}

export interface TokenizerFiles {
  readonly tokenizer: unknown;
  readonly config: unknown;
}

export function tokenizerJson(vocabulary: BpeVocabulary, contextLength: number): TokenizerFiles {
  const { tokens, specialTokens, splitRule } = vocabulary;
  const special = (content: string, i: number) => ({
    id: tokens.length + i,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const vocab = Object.fromEntries(tokens.map((bytes, id) => [spell(bytes), id]));
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: specialTokens.map(special),
      normalizer: null,
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          { type: "Split", pattern: { Regex: patterns[splitRule] }, behavior: "Isolated", invert: false },
          { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
        ],
      },
      post_processor: null,
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab,
        merges: spelledMerges(vocabulary),
      },
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: controlTokens[0],
      eos_token: controlTokens[1],
      pad_token: controlTokens[3],
      add_bos_token: true,
      model_max_length: contextLength,
      chat_template: chatTemplate,
    },
  };
}

/** `tokenizer.*` of a GGUF file. */
export function tokenizerGguf(vocabulary: BpeVocabulary): Map<string, GgufValue> {
  const { tokens, specialTokens, splitRule } = vocabulary;
  const idOf = (name: string) => tokens.length + specialTokens.indexOf(name);
  const strings = (value: string[]): GgufValue => ({
    type: "array",
    of: "string",
    value: byteStringsFrom(value),
  });
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const types = new Int32Array(tokens.length + specialTokens.length).fill(1).fill(3, tokens.length);
  return new Map<string, GgufValue>([
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.pre", { type: "string", value: splitRule === "llama-3" ? "llama-bpe" : "gpt-2" }],
    ["tokenizer.ggml.tokens", strings([...tokens.map(spell), ...specialTokens])],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", value: types }],
    ["tokenizer.ggml.merges", strings(spelledMerges(vocabulary))],
    ["tokenizer.ggml.bos_token_id", u32(idOf(controlTokens[0]))],
    ["tokenizer.ggml.eos_token_id", u32(idOf(controlTokens[1]))],
    ["tokenizer.ggml.eot_token_id", u32(idOf(controlTokens[2]))],
    ["tokenizer.ggml.padding_token_id", u32(idOf(controlTokens[3]))],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: true }],
    ["tokenizer.chat_template", { type: "string", value: chatTemplate }],
  ]);
}
