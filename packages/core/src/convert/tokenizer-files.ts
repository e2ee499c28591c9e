/**
 * The tokenizer in the other kind of file: GGUF metadata from tokenizer.json and its companions, and those from GGUF metadata. Byte-level
 * BPE, SentencePiece BPE and unigram; both directions are checked by reading the result back.
 */
import { byteStringsFrom, stringAt } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import type { GgufMetadata, GgufValue } from "../formats/gguf/values.ts";
import type { HfFiles } from "../formats/model-files.ts";
import { bitnetChatTemplate, chatTemplateSource, isWrongTemplate } from "../tokenizer/default-template.ts";
import {
  ggufPrefixesSpace,
  ggufTokenizerFields,
  tokenizerFromGguf,
  unigramModel,
} from "../tokenizer/from-gguf.ts";
import { tokenizerFromJson } from "../tokenizer/from-json.ts";
import { knownPatterns, type SplitRule } from "../tokenizer/split.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { isSentencePieceBpe, sentencePieceFields } from "./sentencepiece-files.ts";
import { sentencePieceJson, unknownOf } from "./sentencepiece-json.ts";
import { ggufTokenTypes, putAddedTokens } from "./token-types.ts";
import { isUnigram, tableKey, unigramFields, unigramJson } from "./unigram-files.ts";

type Json = Record<string, unknown>;

const splitRuleNames: Readonly<Record<SplitRule, string>> = {
  "llama-3": "llama-bpe",
  "gpt-2": "gpt-2",
  "qwen-2": "qwen2",
  "gpt-4o": "gpt-4o",
};

/** Entries `tokenizer.*` in the order in which converters write them. */
export function ggufTokenizer(
  files: HfFiles,
  usualTemplate: "bitnet" | null,
): { metadata: Map<string, GgufValue>; changesCharacters: boolean } {
  const tokenizer = tokenizerFromJson({
    tokenizer: files.tokenizerJson,
    config: files.tokenizerConfig,
    generationConfig: files.generationConfig,
  });
  const json = files.tokenizerJson as Json;
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const [eos, eot, ...more] = tokenizer.eosIds;
  const metadata = isSentencePieceBpe(json)
    ? sentencePieceFields(json, tokenizer.vocabSize)
    : isUnigram(json)
      ? unigramFields(json, tokenizer.vocabSize)
      : byteLevelFields(json, tokenizer.vocabSize);
  if (tokenizer.bosId !== null) metadata.set("tokenizer.ggml.bos_token_id", u32(tokenizer.bosId));
  if (eos !== undefined) metadata.set("tokenizer.ggml.eos_token_id", u32(eos));
  if (eot !== undefined) metadata.set("tokenizer.ggml.eot_token_id", u32(eot));
  metadata.set("tokenizer.ggml.add_bos_token", { type: "bool", value: tokenizer.addBos });
  if (tokenizer.endId !== null) metadata.set("tokenizer.ggml.add_eos_token", { type: "bool", value: true });
  const source = chatTemplateSource(files.tokenizerConfig);
  if (source instanceof BitNetError) throw source;
  const template = rightTemplate(source, usualTemplate);
  if (template !== null) metadata.set("tokenizer.chat_template", { type: "string", value: template });
  const after = tokenizerFromGguf(ggufTokenizerFields({ get: (key) => metadata.get(key)?.value }));
  checkSame(tokenizer, after, { stopsToFind: more, hasTable: metadata.has(tableKey) });
  return { metadata, changesCharacters: !hasSameIds(rareProbes, tokenizer, after) };
}

function byteLevelFields(json: Json, count: number): Map<string, GgufValue> {
  const model = json.model as Json;
  if (!Array.isArray(model.merges)) refuseKind("tokenizer.json");
  const tokens: string[] = Array.from({ length: count }, (_, id) => `[PAD${id}]`);
  const types = new Int32Array(count).fill(ggufTokenTypes.unused);
  for (const [token, id] of Object.entries(model.vocab as Record<string, number>)) {
    tokens[id] = token;
    types[id] = ggufTokenTypes.normal;
  }
  putAddedTokens(json, tokens, types);
  const merges = (model.merges as (string | string[])[]).map((merge) =>
    Array.isArray(merge) ? merge.join(" ") : merge,
  );
  const strings = (value: string[]): GgufValue => ({
    type: "array",
    of: "string",
    value: byteStringsFrom(value),
  });
  return new Map<string, GgufValue>([
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.pre", { type: "string", value: splitRuleNames[splitRuleOf(json)] }],
    ["tokenizer.ggml.tokens", strings(tokens)],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", value: types }],
    ["tokenizer.ggml.merges", strings(merges)],
  ]);
}

const rulesByName: Readonly<Record<string, SplitRule>> = {
  "gpt-2": "gpt-2",
  "phi-2": "gpt-2",
  olmo: "gpt-2",
  default: "gpt-2",
  qwen2: "qwen-2",
  "deepseek-r1-qwen": "qwen-2",
  "gpt-4o": "gpt-4o",
  llama4: "gpt-4o",
};

function refuseKind(where: string): never {
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `${where}: this kind of tokenizer cannot be carried over to the other kind of file yet; only byte-level BPE, SentencePiece BPE and unigram can`,
  );
}

export interface HfTokenizerFiles {
  tokenizer: Json;
  tokenizerConfig: Json;
  generationConfig: Json;
  changesCharacters: boolean;
}

/** @param contextLength Goes into `model_max_length`. */
export function hfTokenizer(
  metadata: GgufMetadata,
  contextLength: number,
  usualTemplate: "bitnet" | null,
): HfTokenizerFiles {
  const fields = ggufTokenizerFields({ get: (key) => metadata.get(key)?.value });
  const prefixesSpace = ggufPrefixesSpace(fields);
  if (fields.model !== "gpt2" && prefixesSpace === null) refuseKind("tokenizer.ggml.model");
  const tokenizer = tokenizerFromGguf(fields);
  const text = (id: number) => stringAt(fields.tokens, id);
  const vocab: Json = Object.create(null);
  const added: Json[] = [];
  for (let id = 0; id < fields.tokens.count; id++) {
    const type = fields.tokenTypes?.[id] ?? ggufTokenTypes.normal;
    const isControl = tokenizer.isSpecial(id);
    if (isControl || type === ggufTokenTypes.userDefined) {
      added.push({
        id,
        content: text(id),
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: isControl,
      });
    } else if (type === ggufTokenTypes.normal) vocab[text(id)] = id;
  }
  const rule = rulesByName[fields.pre ?? ""] ?? "llama-3"; // checked below by reading the result
  const merges = Array.from({ length: fields.merges.count }, (_, i) => stringAt(fields.merges, i));
  const bos = tokenizer.bosId === null ? null : { id: tokenizer.bosId, content: text(tokenizer.bosId) };
  const template = rightTemplate(stringOrNull(metadata.get("tokenizer.chat_template")?.value), usualTemplate);
  const [eos] = tokenizer.eosIds;
  const isControl = (id: number) => tokenizer.isSpecial(id);
  const pieces =
    fields.model === unigramModel
      ? unigramJson(fields, { unknownId: unknownOf(fields) ?? 0, isControl })
      : prefixesSpace === null
        ? null
        : sentencePieceJson(fields, { isControl, prefixesSpace });
  const files = {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: added,
      normalizer: rule === "qwen-2" ? { type: "NFC" } : null,
      pre_tokenizer: preTokenizer(rule),
      post_processor: textProcessor(
        tokenizer.addBos ? bos : null,
        tokenizer.endId === null ? null : { id: tokenizer.endId, content: text(tokenizer.endId) },
      ),
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: rule === "llama-3",
        vocab,
        merges,
      },
      ...(pieces === null ? {} : { ...pieces, pre_tokenizer: null }),
    },
    tokenizerConfig: {
      ...(bos === null ? {} : { bos_token: bos.content }),
      add_bos_token: tokenizer.addBos,
      ...(eos === undefined ? {} : { eos_token: text(eos) }),
      ...(template === null ? {} : { chat_template: template }),
      model_max_length: contextLength,
      clean_up_tokenization_spaces: false,
      tokenizer_class: "PreTrainedTokenizerFast",
    },
    generationConfig: {
      ...(bos === null ? {} : { bos_token_id: bos.id }),
      eos_token_id: [...tokenizer.eosIds],
    },
  };
  const { tokenizer: json, tokenizerConfig: config, generationConfig } = files;
  const after = tokenizerFromJson({ tokenizer: json, config, generationConfig });
  checkSame(tokenizer, after, { stopsToFind: [], hasTable: metadata.has(tableKey) });
  return { ...files, changesCharacters: !hasSameIds(rareProbes, tokenizer, after) };
}

/** The model's own template, BitNet's in place of one that is known to be wrong, or the family's usual one. */
export function rightTemplate(source: string | null, usual: "bitnet" | null): string | null {
  if (source === null) return usual === "bitnet" ? bitnetChatTemplate : null;
  return isWrongTemplate(source) ? bitnetChatTemplate : source;
}

function splitRuleOf(json: Json): SplitRule {
  const text = JSON.stringify(json.pre_tokenizer);
  for (const [pattern, rule] of knownPatterns)
    if (text.includes(JSON.stringify(pattern).slice(1, -1))) return rule;
  return "gpt-2"; // ByteLevel's own pattern; others do not get past reading
}

function preTokenizer(rule: SplitRule): Json {
  const [pattern] = [...knownPatterns].find(([, known]) => known === rule) ?? [];
  const byteLevel = (useRegex: boolean) => ({
    type: "ByteLevel",
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: useRegex,
  });
  if (rule === "gpt-2" || pattern === undefined) return byteLevel(true);
  const split = { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
  return { type: "Sequence", pretokenizers: [split, byteLevel(false)] };
}

interface NamedId {
  id: number;
  content: string;
}

/** Puts the tokens before and behind every text that it is to have. */
function textProcessor(bos: NamedId | null, end: NamedId | null): Json | null {
  if (bos === null && end === null) return null;
  const around = (name: string, typeId: number) => [
    ...(bos === null ? [] : [{ SpecialToken: { id: bos.content, type_id: typeId } }]),
    { Sequence: { id: name, type_id: typeId } },
    ...(end === null ? [] : [{ SpecialToken: { id: end.content, type_id: typeId } }]),
  ];
  const special = [bos, end].flatMap((token) => token ?? []);
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(
      special.map(({ id, content }) => [content, { id: content, ids: [id], tokens: [content] }]),
    ),
  };
}

function stringOrNull(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

/** Texts that show a difference in splitting, bytes, or control tokens. */
const probes = [
  "Hello, world! It's 12345 o'clock.\n\n  x",
  "naïve café — 日本語 🙂\t\u0000\u00a0",
  "<|eot_id|> <|begin_of_text|>",
  " one space before and some  behind  ",
  "  two spaces, and unbelievably antidisestablishmentarian words: straßenbahn, übergrößenträger",
  "for (let i = 0; i < 10; i++) { return [i]; }\r\n",
  "Привет, мир! مرحبا بالعالم नमस्ते 안녕하세요",
  "ＡＢＣ １２ ﬁne ½ Ｔｏｋｙｏ",
];

/**
 * Characters with marks of their own, which normal forms join, and which readers of the two kinds of files look up differently in a table of changed
 * characters.
 */
const rareProbes = ["cafe\u0301 A\u030a s\u0323\u0307", "ﬁ\u0301n ½\u0308 Ａ\u0301", "a\r\nb"];

function hasSameIds(texts: readonly string[], before: Tokenizer, after: Tokenizer): boolean {
  return texts.every((text) => before.encode(text).join() === after.encode(text).join());
}

/** @throws BitNetError FORMAT_UNSUPPORTED when something did not survive. */
function checkSame(
  before: Tokenizer,
  after: Tokenizer,
  { stopsToFind, hasTable }: { stopsToFind: readonly number[]; hasTable: boolean },
): void {
  const problems: string[] = [];
  if (before.vocabSize !== after.vocabSize) problems.push(`${after.vocabSize} of ${before.vocabSize} tokens`);
  if (before.bosId !== after.bosId || before.addBos !== after.addBos)
    problems.push("the beginning-of-text token");
  if (before.endId !== after.endId) problems.push("the token behind every text");
  const stops = (tokenizer: Tokenizer) => [...tokenizer.eosIds].sort((a, b) => a - b).join();
  if (stops(before) !== stops(after)) {
    const lost = stopsToFind.length > 0 ? " (the format holds two besides those known by name)" : "";
    problems.push(`the tokens that end a text: ${stops(before)} became ${stops(after)}${lost}`);
  }
  // Tables make one character of the two that end a line, which is among what readers look up differently.
  for (const text of hasTable ? probes.map((each) => each.replaceAll("\r\n", "\n")) : probes)
    for (const special of [false, true])
      if (before.encode(text, { special }).join() !== after.encode(text, { special }).join())
        problems.push(`the ids of ${JSON.stringify(text)}`);
  if (problems.length === 0) return;
  throw new BitNetError("FORMAT_UNSUPPORTED", `the tokenizer cannot be carried over: ${problems.join("; ")}`);
}
