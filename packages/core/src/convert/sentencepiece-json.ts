/**
 * SentencePiece BPE from GGUF metadata as tokenizer.json keeps it. GGUF files have a score for each token; tokenizer.json has a list of merges, which
 * are all ways to put a token together from two others, the better token's first. Source: transformers' converter of slow tokenizers.
 */
import { stringAt } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import type { GgufTokenizerFields } from "../tokenizer/from-gguf.ts";
import { visibleSpace } from "../tokenizer/normalise.ts";

type Json = Record<string, unknown>;

/** GGUF's types of tokens that text can become by merging: undefined, normal, user-defined. */
const mergedTypes: readonly number[] = [0, 1, 4];
/** Longer tokens would cost more than their length: every place to cut them is looked up. */
const maxTokenChars = 1024;

/** `normalizer`, `decoder` and `model` of tokenizer.json. */
export function sentencePieceJson(
  fields: GgufTokenizerFields,
  choices: { isControl: (id: number) => boolean; prefixesSpace: boolean },
): { normalizer: Json; decoder: Json; model: Json } {
  const { tokens, tokenTypes } = fields;
  const { prefixesSpace, isControl } = choices;
  const unknownId = unknownOf(fields);
  const isMerged = (id: number) =>
    id !== unknownId && !isControl(id) && mergedTypes.includes(tokenTypes?.[id] ?? 1);
  const vocab: Record<string, number> = Object.create(null);
  for (let id = 0; id < tokens.count; id++) {
    const content = stringAt(tokens, id);
    // A character that is not to be found in text has no place among those that are.
    const isHidden = !isMerged(id) && id !== unknownId && Array.from(content).length < 2;
    if (!isControl(id) && !isHidden) vocab[content] ??= id;
  }
  const replace = (from: string, content: string) => ({
    type: "Replace",
    pattern: { String: from },
    content,
  });
  const spaces = replace(" ", visibleSpace);
  const steps = [
    replace(visibleSpace, " "),
    { type: "ByteFallback" },
    { type: "Fuse" },
    ...(prefixesSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ];
  return {
    normalizer: prefixesSpace
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: visibleSpace }, spaces] }
      : spaces,
    decoder: { type: "Sequence", decoders: steps },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unknownId === null ? null : stringAt(tokens, unknownId),
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab,
      merges: mergesOf(fields, vocab, isMerged),
    },
  };
}

export function unknownOf({ unknownId, tokens, tokenTypes }: GgufTokenizerFields): number | null {
  if (unknownId !== undefined) return unknownId;
  for (let id = 0; id < tokens.count; id++)
    if (tokenTypes?.[id] === 2 || stringAt(tokens, id) === "<unk>") return id;
  return null;
}

interface Merge {
  left: string;
  right: string;
  score: number;
  leftId: number;
  rightId: number;
}

function mergesOf(
  { scores = [] }: GgufTokenizerFields,
  vocab: Readonly<Record<string, number>>,
  isMerged: (id: number) => boolean,
): string[] {
  const merges: Merge[] = [];
  for (const [content, id] of Object.entries(vocab)) {
    if (!isMerged(id) || content.includes(" ")) continue; // spaces are visible ones by then
    const chars = Array.from(content);
    if (chars.length > maxTokenChars)
      throw new BitNetError(
        "FORMAT_UNSUPPORTED",
        `tokenizer.ggml.tokens[${id}]: has ${chars.length} characters; merges can be found of at most ${maxTokenChars}`,
      );
    let at = 0;
    for (const char of chars.slice(0, -1)) {
      at += char.length;
      const [left, right] = [content.slice(0, at), content.slice(at)];
      const [leftId, rightId] = [vocab[left], vocab[right]];
      if (leftId === undefined || rightId === undefined || !isMerged(leftId) || !isMerged(rightId)) continue;
      merges.push({ left, right, score: scores[id] ?? 0, leftId, rightId });
    }
  }
  merges.sort((a, b) => b.score - a.score || a.leftId - b.leftId || a.rightId - b.rightId);
  return merges.map(({ left, right }) => `${left} ${right}`);
}
