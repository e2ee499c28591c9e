/**
 * The tokenizer that models, generation and servers use: text to ids and back, for byte-level BPE, SentencePiece
 * BPE and unigram vocabularies, whatever file they came from (from-json.ts, from-gguf.ts). Knows nothing of models or chat templates.
 */
import { type ByteStrings, byteStringAt, byteStringsFrom, stringAt } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import { type AddedToken, checkAddedTokens } from "./added-tokens.ts";
import { createScoreTable, createScratch } from "./bpe.ts";
import { checkedId, type EncodeOptions, type Encoder, encodeSegments, encodeText } from "./encode.ts";
import { createIncrementalDecoder, type IncrementalDecoder } from "./incremental-decoder.ts";
import { createMergeTable } from "./merges.ts";
import { visibleSpace } from "./normalise.ts";
import { byteOfToken, type Decoding, type LeadingSpace, type Pipeline, shownTokens } from "./pipeline.ts";
import { createUnigram } from "./unigram.ts";
import { createVocabulary, findToken, type Spelling, tokenKind, type Vocabulary } from "./vocabulary.ts";

interface DecodeOptions {
  /** Render control tokens as text (the default) or leave them out. */
  special?: boolean;
  /**
   * The ids go on a text that stands before them: where the tokenizer puts a space in front of every text, the first one of
   * these is not that space and stays. Default false.
   */
  continues?: boolean;
}

/**
 * A tokenizer. Immutable to its users and safe to share.
 * @example
 * const ids = tokenizer.encode("Hello", { bos: tokenizer.addBos });
 * const text = tokenizer.decode(ids, { special: false }); // "Hello"
 */
export interface Tokenizer {
  /** One more than the highest id. A model may have more rows than this (padding). */
  readonly vocabSize: number;
  /** The beginning-of-text token, if there is one. */
  readonly bosId: number | null;
  /** All ids that end a text or a turn; the one the file names as its end-of-text token comes first. */
  readonly eosIds: readonly number[];
  /** Whether the model expects the beginning-of-text token before every text. */
  readonly addBos: boolean;
  /** The token that the model expects behind every whole text, such as one to embed, if there is one. */
  readonly endId: number | null;
  /** Control tokens by their text. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /**
   * Lone surrogates are read as U+FFFD.
   * @returns Ids; no beginning-of-text token unless asked for.
   * @throws BitNetError INVALID_ARGUMENT when the text has over 128 MiB, or a run without a place to split over 4 MiB.
   */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /**
   * Encodes a mixture of text (control tokens off) and ids, which are taken as they are.
   * @throws BitNetError INVALID_ARGUMENT as `encode`, and for an id that is not in the vocabulary.
   */
  encodeSegments(segments: readonly (string | number)[]): Int32Array;
  /**
   * Bytes that are not UTF-8 become U+FFFD.
   * @throws BitNetError INVALID_ARGUMENT for an id that is not in the vocabulary.
   */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** Decodes id by id, for streaming. */
  createDecoder(options?: DecodeOptions): IncrementalDecoder;
  /**
   * The bytes that a token stands for; a view, not to be modified. Empty for ids that the file leaves out.
   * @throws BitNetError INVALID_ARGUMENT for an id that is not in the vocabulary.
   */
  tokenBytes(id: number): Uint8Array;
  /** Whether the id is a control token. */
  isSpecial(id: number): boolean;
  /** The id of the token that stands for exactly this text, control tokens included. */
  idOf(content: string): number | null;
}

/** How pieces become tokens. */
export type TokenModel =
  | {
      readonly kind: "bpe";
      readonly merges: ByteStrings;
      /** A piece that is itself a token is taken whole, whether merges lead there or not. */
      readonly ignoreMerges: boolean;
      /** For plain spelling. */
      readonly unknownId: number | null;
      readonly fuseUnknown: boolean;
    }
  | { readonly kind: "scored-bpe"; readonly scores: ArrayLike<number>; readonly unknownId: number | null }
  | {
      readonly kind: "unigram";
      readonly scores: ArrayLike<number>;
      readonly unknownId: number;
      /** `<0x41>` in a text is the token of that name, as in the tokenizers library; SentencePiece takes it as six characters. */
      readonly findsWrittenBytes: boolean;
    };

/** What the readers of files hand over. */
export interface TokenizerParts {
  /** For messages: where this comes from. */
  readonly name: string;
  /** Tokens as `spelling` says; index = id. */
  readonly tokens: ByteStrings;
  readonly spelling: Spelling;
  readonly kinds: Uint8Array; // [count], tokenKind
  /** Tokens that are looked for before splitting; all of kind `control` are among them. */
  readonly added: readonly AddedToken[];
  readonly model: TokenModel;
  readonly pipeline: Pipeline;
  readonly decoding: Decoding;
  readonly bosId: number | null;
  readonly eosIds: readonly number[];
  readonly addBos: boolean;
  readonly endId: number | null;
}

const utf8 = new TextEncoder();

/** @throws BitNetError TOKENIZER_INVALID when the parts contradict each other. */
export function createTokenizer(parts: TokenizerParts): Tokenizer {
  checkAddedTokens(parts.added, parts.name);
  checkIds(parts);
  const { name, spelling } = parts;
  const vocabulary = createVocabulary(parts.tokens, parts.kinds, name, spelling);
  const byteIds = spelling === "plain" ? byteTokenIds(vocabulary) : singleByteIds(vocabulary);
  const encoder: Encoder = {
    name,
    vocabulary,
    pipeline: parts.pipeline,
    bosId: parts.bosId,
    added: new Map(parts.added.map((token) => [token.id, token])),
    byteIds,
    scratch: createScratch(),
    ...createModel(parts, vocabulary, byteIds),
  };
  const shown =
    spelling === "plain"
      ? shownTokens(vocabulary, parts.decoding.showsSpaces, normalizedTexts(parts))
      : vocabulary.tokens;
  const { bosId, eosIds, endId } = parts;
  return bindTokenizer(encoder, shown, parts.decoding.leading, {
    bosId,
    eosIds,
    endId,
    addBos: parts.addBos && bosId !== null,
  });
}

/** Tokens that are looked for in normalised text took the space along that it has in front. */
function normalizedTexts({ added, pipeline: { normalise } }: TokenizerParts): Map<number, Uint8Array> {
  const changed = normalise === null ? [] : added.filter((token) => token.normalized);
  return new Map(changed.map(({ id, content }) => [id, utf8.encode(normalise?.(content))]));
}

function singleByteIds(vocabulary: Vocabulary): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => findToken(vocabulary, Uint8Array.of(byte), 0, 1));
}

function byteTokenIds({ tokens, kinds }: Vocabulary): Int32Array {
  const ids = new Int32Array(256).fill(-1);
  for (let id = 0; id < tokens.count; id++) {
    const byte = kinds[id] === tokenKind.byte ? byteOfToken(byteStringAt(tokens, id)) : null;
    if (byte !== null) ids[byte] = id;
  }
  return ids;
}

function createModel(
  { model, name, spelling }: TokenizerParts,
  vocabulary: Vocabulary,
  byteIds: Int32Array,
): Pick<Encoder, "merges" | "characters" | "unigram" | "ignoreMerges"> {
  if (model.kind === "unigram") {
    const { scores, unknownId, findsWrittenBytes } = model;
    const merges = createMergeTable(byteStringsFrom([]), vocabulary, name);
    const unigram = createUnigram(vocabulary, { scores, unknownId, byteIds, findsWrittenBytes, name });
    return { merges, unigram, ignoreMerges: false };
  }
  const { unknownId } = model;
  if (model.kind === "scored-bpe") {
    const characters = { vocabulary, unknownId, fuseUnknown: true };
    return { merges: createScoreTable(vocabulary, model.scores, name), characters, ignoreMerges: false };
  }
  const merges = createMergeTable(model.merges, vocabulary, name, spelling);
  const { ignoreMerges, fuseUnknown } = model;
  return spelling === "plain"
    ? { merges, characters: { vocabulary, unknownId, fuseUnknown }, ignoreMerges }
    : { merges, ignoreMerges };
}

/** Closes over the encoder alone, so that the file's own spelling of merges can be freed. */
function bindTokenizer(
  encoder: Encoder,
  shown: ByteStrings,
  leading: LeadingSpace,
  ends: Pick<Tokenizer, "bosId" | "eosIds" | "addBos" | "endId">,
): Tokenizer {
  const { vocabulary } = encoder;
  const added = [...encoder.added.values()];
  const idByContent = new Map(added.map((token) => [token.content, token.id]));
  const tokenBytes = (id: number) => byteStringAt(shown, checkedId(vocabulary, id));
  const isSpecial = (id: number) => encoder.added.get(id)?.special === true;
  const createDecoder = (options: DecodeOptions = {}) => {
    const isHidden = (id: number) => options.special === false && isSpecial(id);
    const startsWith = (id: number) => withoutLeading(vocabulary, id, tokenBytes(id), leading);
    return createIncrementalDecoder({
      bytesOf: (id) => (isHidden(id) ? null : tokenBytes(id)),
      firstBytesOf: (id) => (options.continues === true ? tokenBytes(id) : startsWith(id)),
    });
  };
  return {
    ...ends,
    vocabSize: vocabulary.tokens.count,
    specialTokens: new Map(added.filter((token) => token.special).map((token) => [token.content, token.id])),
    encode: (text, options = {}) => encodeText(encoder, text, options),
    encodeSegments: (segments) => encodeSegments(encoder, segments),
    decode(ids, options = {}) {
      const show = {
        special: options.special !== false,
        leading: options.continues === true ? "kept" : leading,
      } as const;
      return decodeIds(encoder, shown, ids, show);
    },
    createDecoder,
    tokenBytes,
    isSpecial,
    idOf(content) {
      const bytes = utf8.encode(content);
      const id = idByContent.get(content) ?? findToken(vocabulary, bytes, 0, bytes.length);
      return id < 0 ? null : id;
    },
  };
}

/** The bytes of a token that begins a text. */
function withoutLeading(
  { tokens }: Vocabulary,
  id: number,
  bytes: Uint8Array,
  leading: LeadingSpace,
): Uint8Array {
  if (leading === "kept") return bytes;
  if (leading === "dropped") return bytes[0] === 0x20 ? bytes.subarray(1) : bytes;
  const text = stringAt(tokens, id);
  return text.includes(visibleSpace) ? utf8.encode(text.replaceAll(visibleSpace, "")) : bytes;
}

function checkIds({ name, tokens, bosId, eosIds, endId }: TokenizerParts): void {
  for (const id of [bosId, endId, ...eosIds]) {
    if (id === null) continue;
    if (Number.isInteger(id) && id >= 0 && id < tokens.count) continue;
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `${name}: a beginning or end token has id ${id}, but the vocabulary has ids 0 to ${tokens.count - 1}`,
      { details: { id, count: tokens.count } },
    );
  }
}

/** Without a view per token: long lists of ids are decoded at once. */
function decodeIds(
  encoder: Encoder,
  { bytes, offsets }: ByteStrings,
  ids: ArrayLike<number>,
  { special, leading }: { special: boolean; leading: LeadingSpace },
): string {
  const isShown = (id: number) => special || encoder.added.get(id)?.special !== true;
  let total = 0;
  for (let i = 0; i < ids.length; i++) {
    const id = checkedId(encoder.vocabulary, ids[i] ?? -1);
    if (isShown(id)) total += (offsets[id + 1] ?? 0) - (offsets[id] ?? 0);
  }
  const text = new Uint8Array(total);
  let at = 0;
  let isFirst = leading !== "kept";
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] ?? 0;
    if (!isShown(id)) continue;
    const start = offsets[id] ?? 0;
    const end = offsets[id + 1] ?? 0;
    if (isFirst) {
      const first = withoutLeading(encoder.vocabulary, id, bytes.subarray(start, end), leading);
      text.set(first, at);
      at += first.length;
    } else for (let from = start; from < end; from++) text[at++] = bytes[from] ?? 0;
    isFirst = false;
  }
  return stringAt({ bytes: text, offsets: Uint32Array.of(0, at), count: 1 }, 0);
}
