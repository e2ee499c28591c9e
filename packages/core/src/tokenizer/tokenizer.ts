/**
 * The tokenizer that models, generation and servers use: text to ids and back, for byte-level BPE vocabularies whatever
 * file they came from (from-json.ts, from-gguf.ts). Knows nothing of models or chat templates.
 */
import { type ByteStrings, byteStringAt, stringAt } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import { type AddedToken, checkAddedTokens } from "./added-tokens.ts";
import { createScratch } from "./bpe.ts";
import { checkedId, type EncodeOptions, type Encoder, encodeSegments, encodeText } from "./encode.ts";
import { createIncrementalDecoder, type IncrementalDecoder } from "./incremental-decoder.ts";
import { createMergeTable } from "./merges.ts";
import { pieceScanner, type SplitRule } from "./split.ts";
import { createVocabulary, findToken } from "./vocabulary.ts";

interface DecodeOptions {
  /** Render control tokens as text (the default) or leave them out. */
  special?: boolean;
}

/**
 * A byte-level BPE tokenizer. Immutable to its users and safe to share.
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

/** What the readers of files hand over. */
interface TokenizerParts {
  /** For messages: where this comes from. */
  readonly name: string;
  /** Tokens as the file spells them; index = id. */
  readonly tokens: ByteStrings;
  readonly kinds: Uint8Array; // [count], tokenKind
  /** Tokens that are looked for before splitting; all of kind `control` are among them. */
  readonly added: readonly AddedToken[];
  readonly merges: ByteStrings;
  readonly splitRule: SplitRule;
  /** A piece that is itself a token is taken whole, whether merges lead there or not. */
  readonly ignoreMerges: boolean;
  readonly bosId: number | null;
  readonly eosIds: readonly number[];
  readonly addBos: boolean;
}

const utf8 = new TextEncoder();

/** @throws BitNetError TOKENIZER_INVALID when the parts contradict each other. */
export function createTokenizer(parts: TokenizerParts): Tokenizer {
  checkAddedTokens(parts.added, parts.name);
  checkIds(parts);
  const vocabulary = createVocabulary(parts.tokens, parts.kinds, parts.name);
  const encoder: Encoder = {
    name: parts.name,
    vocabulary,
    scan: pieceScanner(parts.splitRule),
    ignoreMerges: parts.ignoreMerges,
    bosId: parts.bosId,
    added: new Map(parts.added.map((token) => [token.id, token])),
    byteIds: Int32Array.from({ length: 256 }, (_, byte) => findToken(vocabulary, Uint8Array.of(byte), 0, 1)),
    merges: createMergeTable(parts.merges, vocabulary, parts.name),
    scratch: createScratch(),
  };
  const { bosId, eosIds } = parts;
  return bindTokenizer(encoder, { bosId, eosIds, addBos: parts.addBos && bosId !== null });
}

/** Closes over the encoder alone, so that the file's own spelling of tokens and merges can be freed. */
function bindTokenizer(encoder: Encoder, ends: Pick<Tokenizer, "bosId" | "eosIds" | "addBos">): Tokenizer {
  const { vocabulary } = encoder;
  const added = [...encoder.added.values()];
  const idByContent = new Map(added.map((token) => [token.content, token.id]));
  const tokenBytes = (id: number) => byteStringAt(vocabulary.tokens, checkedId(vocabulary, id));
  const isSpecial = (id: number) => encoder.added.get(id)?.special === true;
  return {
    ...ends,
    vocabSize: vocabulary.tokens.count,
    specialTokens: new Map(added.filter((token) => token.special).map((token) => [token.content, token.id])),
    encode: (text, options = {}) => encodeText(encoder, text, options),
    encodeSegments: (segments) => encodeSegments(encoder, segments),
    decode: (ids, options = {}) => decodeIds(encoder, ids, options.special !== false),
    createDecoder(options = {}) {
      const isHidden = (id: number) => options.special === false && isSpecial(id);
      return createIncrementalDecoder((id) => (isHidden(id) ? new Uint8Array() : tokenBytes(id)));
    },
    tokenBytes,
    isSpecial,
    idOf(content) {
      const bytes = utf8.encode(content);
      const id = idByContent.get(content) ?? findToken(vocabulary, bytes, 0, bytes.length);
      return id < 0 ? null : id;
    },
  };
}

function checkIds({ name, tokens, bosId, eosIds }: TokenizerParts): void {
  for (const id of bosId === null ? eosIds : [bosId, ...eosIds]) {
    if (Number.isInteger(id) && id >= 0 && id < tokens.count) continue;
    throw new BitNetError(
      "TOKENIZER_INVALID",
      `${name}: a beginning or end token has id ${id}, but the vocabulary has ids 0 to ${tokens.count - 1}`,
      { details: { id, count: tokens.count } },
    );
  }
}

/** Without a view per token: long lists of ids are decoded at once. */
function decodeIds(encoder: Encoder, ids: ArrayLike<number>, special: boolean): string {
  const { bytes, offsets } = encoder.vocabulary.tokens;
  const isShown = (id: number) => special || encoder.added.get(id)?.special !== true;
  let total = 0;
  for (let i = 0; i < ids.length; i++) {
    const id = checkedId(encoder.vocabulary, ids[i] ?? -1);
    if (isShown(id)) total += (offsets[id + 1] ?? 0) - (offsets[id] ?? 0);
  }
  const text = new Uint8Array(total);
  let at = 0;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] ?? 0;
    const end = isShown(id) ? (offsets[id + 1] ?? 0) : 0;
    for (let from = offsets[id] ?? 0; from < end; from++) text[at++] = bytes[from] ?? 0;
  }
  return stringAt({ bytes: text, offsets: Uint32Array.of(0, total), count: 1 }, 0);
}
